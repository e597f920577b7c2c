"""DT_NEEDED by our own reader, against the linker's and a hand-made file; and what the loader finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lynxbench.execution.libraries import loads, missing_libraries, needed_libraries, site_path
from lynxbench.specs.executor import ExecutorSpec, Libraries


def shared_objects() -> list[Path]:
    """ONNX Runtime's own libraries, a NumPy kernel, and a program."""
    import numpy
    import onnxruntime

    runtime = sorted(Path(onnxruntime.__file__).parent.glob("capi/*.so*"))
    return [*runtime, *Path(numpy.__file__).parent.glob("_core/_multiarray_umath.*.so"), Path(sys.executable).resolve()]


@pytest.mark.parametrize("library", shared_objects(), ids=lambda path: path.name)
def test_needed_libraries_agree_with_the_dynamic_loader(library: Path) -> None:
    """glibc's own loader lists what an object needs, with all that those need in turn."""
    loader = next(Path("/lib64").glob("ld-linux*"), None) or next(Path("/lib").glob("ld-linux*"))
    done = subprocess.run([str(loader), "--list", str(library)], capture_output=True, text=True, check=True)
    listed = {Path(name).name for name in re.findall(r"^\s*(\S+)", done.stdout, re.MULTILINE)}
    assert set(needed_libraries(library)) <= listed
    assert needed_libraries(library)


def test_files_that_are_no_shared_objects(tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF\x01\x01" + bytes(80), b"MZ" + bytes(100), b"#!/bin/sh\n"):
        file = tmp_path / "file"
        file.write_bytes(content)
        assert needed_libraries(file) == ()


def test_loads() -> None:
    assert loads("libc.so.6")
    assert not loads("liblynxbench-nowhere.so.1")


def test_missing_libraries_name_drivers_first(cpu: ExecutorSpec) -> None:
    wanted = Libraries(driver=("libnodriver.so.1", "libc.so.6"), loaded_at_run_time=("libnotoolkit.so.2",))
    spec = cpu.model_copy(update={"libraries": wanted})
    assert missing_libraries(spec) == ("libnodriver.so.1", "libnotoolkit.so.2")
    gone = cpu.model_copy(update={"libraries": Libraries(provider="onnxruntime/capi/libgone.so")})
    assert missing_libraries(gone) == ("libgone.so",)
    shared = "onnxruntime/capi/libonnxruntime_providers_shared.so"
    assert missing_libraries(cpu.model_copy(update={"libraries": Libraries(provider=shared)})) == ()


def test_site_path() -> None:
    found = site_path("onnxruntime/capi/libonnxruntime_providers_shared.so")
    assert found is not None
    assert found.is_file()
    assert site_path("onnxruntime/none.so") is None
    assert site_path("no_such_package_here/x.so") is None
