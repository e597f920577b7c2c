"""The one file that a bundle is: a plain tar whose every byte is decided by what it holds.

Nothing is packed, so nothing can unpack to more than its size; names come from a closed list, so none can lead
anywhere; a header that is not byte for byte what `pack` writes is refused. Two bundles of the same contents are equal.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from lynxbench.errors import UntrustedInput

MANIFEST, ATTESTATION, SYSTEM, SWEEP = "manifest.json", "attestation.json", "system.json", "sweep.json"
# What a bundle may hold, in the order in which it stands there, with the most bytes of each.
MEMBERS: Mapping[str, int] = {
    MANIFEST: 1 << 20,
    ATTESTATION: 1 << 20,
    SYSTEM: 1 << 20,
    SWEEP: 8 << 20,
    "records.parquet": 64 << 20,
    "predictions.parquet": 512 << 20,
    "latencies.parquet": 512 << 20,
}
MOST_BYTES = 1 << 30

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_COPIED = 1 << 20
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header",
    tarfile.GNUTYPE_LONGNAME: "an extended header",
    tarfile.GNUTYPE_LONGLINK: "an extended header",
}
_PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}


def pack(folder: Path, out: Path) -> None:
    """Write the members that lie in `folder` to `out`."""
    with out.open("wb") as target:
        for name in MEMBERS:
            file = folder / name
            if not file.exists():
                continue
            size = file.stat().st_size
            target.write(_header(name, size))
            with file.open("rb") as source:
                while chunk := source.read(_COPIED):
                    target.write(chunk)
            target.write(bytes(-size % _BLOCK))
        target.write(bytes(_end(target.tell())))


def unpack(bundle: Path, folder: Path) -> tuple[str, ...]:
    """Copy the members of `bundle` into the empty `folder`; returns their names. Raises `UntrustedInput`.

    What lies in `folder` after a refusal is the stranger's: the folder is the quarantine, and is thrown away.
    """
    names: list[str] = []
    with _opened(bundle) as source:
        while True:
            block = source.read(_BLOCK)
            if len(block) < _BLOCK:
                raise UntrustedInput(_no_tar(block) if not names else "the archive is cut short")
            if block == _ZEROS:
                break
            name, size = _member(block, names)
            _copy(source, folder / name, size)
            names.append(name)
        at = source.tell() - _BLOCK
        if source.read(_end(at) + 1) != bytes(_end(at) - _BLOCK):
            raise UntrustedInput("the archive does not end where its members do")
    return tuple(names)


def _opened(bundle: Path) -> BinaryIO:
    """A regular file of a size that is read at all: anything else (a pipe, a device) is not even opened for long."""
    try:
        descriptor = os.open(bundle, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UntrustedInput(f"cannot be opened: {error.strerror}") from None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_BYTES:
        os.close(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise UntrustedInput("is no regular file")
        raise UntrustedInput(f"{about.st_size:,} bytes, at most {MOST_BYTES:,} are read")
    return os.fdopen(descriptor, "rb")


def _member(block: bytes, before: list[str]) -> tuple[str, int]:
    """Name and size of the member that a header announces, or `UntrustedInput`."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError:
        raise UntrustedInput(_no_tar(block) if not before else "a member's header is damaged") from None
    name = info.name
    shown = repr(name[:80])
    if not info.isreg() or info.issparse() or info.type in _KINDS:
        raise UntrustedInput(f"member {shown} is {_KINDS.get(info.type, 'of an unknown kind')}, not a plain file")
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        raise UntrustedInput(f"member {shown} has an absolute path")
    if ".." in name.replace("\\", "/").split("/"):
        raise UntrustedInput(f"member {shown} leads out of the archive")
    if name in before:
        raise UntrustedInput(f"member {shown} is there twice")
    if name not in MEMBERS and name.lower() in before:
        raise UntrustedInput(f"member {shown} differs from another in upper and lower case alone")
    if name not in MEMBERS:
        raise UntrustedInput(f"member {shown} is no part of a bundle")
    if not 0 <= info.size <= MEMBERS[name]:
        raise UntrustedInput(f"{name}: {info.size:,} bytes, at most {MEMBERS[name]:,} are read")
    order = list(MEMBERS)
    if before and order.index(name) < order.index(before[-1]):
        raise UntrustedInput(f"member {shown} stands after {before[-1]}")
    if block != _header(name, info.size):
        raise UntrustedInput(f"member {shown} has a header that no bundle has")
    return name, info.size


def _copy(source: BinaryIO, target: Path, size: int) -> None:
    with target.open("xb") as file:
        left = size
        while left:
            chunk = source.read(min(left, _COPIED))
            if not chunk:
                raise UntrustedInput(f"the archive is cut short in {target.name}")
            file.write(chunk)
            left -= len(chunk)
    padding = -size % _BLOCK
    if source.read(padding) != bytes(padding):
        raise UntrustedInput(f"what follows {target.name} is no padding")


def _header(name: str, size: int) -> bytes:
    """The only header that a member of this name and size may have: no owner, no time, no rights but to read."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _end(at: int) -> int:
    """Zeros after the members: two blocks at least, up to a whole record."""
    return 2 * _BLOCK + -(at + 2 * _BLOCK) % tarfile.RECORDSIZE


def _no_tar(block: bytes) -> str:
    if not block:
        return "is empty"
    for magic, kind in _PACKED.items():
        if block.startswith(magic):
            return f"is packed by {kind}: a bundle is a plain tar, as `lynxbench leaderboard bundle` writes it"
    return "is no bundle: it does not begin as a tar does"
