"""Which shared libraries a provider needs and which of them cannot be loaded, told before ONNX Runtime shrugs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import struct
from pathlib import Path
from typing import Any

from lynxbench.specs.executor import ExecutorSpec

_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_PT_LOAD, _PT_DYNAMIC = 1, 2


def needed_libraries(path: Path) -> tuple[str, ...]:
    """The sonames in DT_NEEDED of a 64-bit little-endian ELF file, in order; empty for anything else.

    Source: System V ABI, generic part, chapters 4 and 5 (ELF header, program header, dynamic section).
    """
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return ()
        table, size, count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
        file.seek(table)
        entries = [struct.unpack("<IIQQQQQQ", file.read(size)[:56]) for _ in range(count)]
        segments = [(kind, offset, address, length) for kind, _, offset, address, _, length, _, _ in entries]
        needed, strings = [], None
        for kind, offset, _, length in segments:
            if kind != _PT_DYNAMIC:
                continue
            file.seek(offset)
            for tag, value in struct.iter_unpack("<qQ", file.read(length - length % 16)):
                if tag == _DT_NULL:
                    break
                if tag == _DT_NEEDED:
                    needed.append(value)
                elif tag == _DT_STRTAB:
                    strings = value
        # The string table is given by its address in memory; the segment that maps it tells its place in the file.
        for kind, offset, address, length in segments:
            if strings is not None and kind == _PT_LOAD and address <= strings < address + length:
                return tuple(_string(file, offset + strings - address + place) for place in needed)
    return ()


def preload_toolkit(spec: ExecutorSpec, onnxruntime: Any) -> None:
    """Load the toolkit that came as wheels (cuBLAS, cuDNN, …), which no search path names; nothing where there is none.

    Without it a provider's library does not find them, and ONNX Runtime says so in its log alone.
    """
    if spec.libraries.provider is not None and hasattr(onnxruntime, "preload_dlls"):
        # It prints about what it does not find; `missing_libraries` says it better.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


def missing_libraries(spec: ExecutorSpec) -> tuple[str, ...]:
    """Sonames (or the provider's library itself) that cannot be loaded in this process, drivers first.

    `preload_toolkit` should have run.
    """
    wanted = [*spec.libraries.driver, *spec.libraries.loaded_at_run_time]
    if spec.libraries.provider is not None:
        path = site_path(spec.libraries.provider)
        if path is None:
            return (Path(spec.libraries.provider).name,)
        wanted += needed_libraries(path)
    return tuple(name for name in dict.fromkeys(wanted) if not loads(name))


def loads(name: str) -> bool:
    """True when the dynamic loader finds and loads the library `name`."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def site_path(relative: str) -> Path | None:
    """Where ``package/inner/file`` lies in this environment, or None."""
    package, _, inner = relative.partition("/")
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        path = Path(folder) / inner
        if path.is_file():
            return path
    return None


def _string(file: object, offset: int) -> str:
    file.seek(offset)  # type: ignore[attr-defined]
    raw: bytes = file.read(512)  # type: ignore[attr-defined]
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace")
