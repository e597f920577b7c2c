"""Reading files by path out of somebody else's archive: wheels (zip), tar files and Debian packages.

Nothing is ever extracted to a path that the archive chooses: members are handed over as bytes.
"""

from __future__ import annotations

import io
import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lynxbench.errors import UntrustedInput

# What is read out of one archive, at most: the largest that a suite takes is a model of 98 MB.
MOST_BYTES = 1 << 30
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60


def read_members(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Name → content of the members that are `wanted`, by name; directories are none.

    Raises `UntrustedInput` where any name is absolute or leads upwards, where a wanted member is a link, a device or
    there twice, where all of them together are larger than `MOST_BYTES`, and where the archive is damaged.
    """
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        for name, size, kind, read in _members(archive):
            plain = _plain(name, archive)
            if kind == "folder" or not wanted(plain):
                continue
            if kind != "file":
                raise _refused(archive, f"{plain} is a {kind}")
            if plain in found:
                raise _refused(archive, f"{plain} is there twice")
            if size > left:
                raise _refused(archive, f"more than {MOST_BYTES >> 20} MB are to be read out of it")
            content = read()
            if len(content) != size:
                raise _refused(archive, f"{plain} has another size than the archive says")
            left -= size
            found[plain] = content
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError) as error:
        # RuntimeError: what zipfile raises for an encrypted member.
        raise _refused(archive, f"it is damaged: {error}") from None
    return dict(sorted(found.items()))


def read_member(archive: Path, name: str) -> bytes:
    """The content of one member. Raises `UntrustedInput` as `read_members` does, and where there is none."""
    found = read_members(archive, lambda other: other == name)
    if name not in found:
        raise _refused(archive, f"it has no {name}")
    return found[name]


Member = tuple[str, int, str, Callable[[], bytes]]


def _members(archive: Path) -> Iterator[Member]:
    if archive.suffix in {".whl", ".zip"}:
        return _of_zip(archive)
    if archive.suffix == ".deb":
        return _of_deb(archive)
    return _of_tar(archive.open("rb"))


def _of_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as opened:
        for entry in opened.infolist():
            mode = entry.external_attr >> 16
            kind = "folder" if entry.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
            yield entry.filename, entry.file_size, kind, lambda entry=entry: opened.read(entry)  # type: ignore[misc]


def _of_tar(stream: IO[bytes]) -> Iterator[Member]:
    with stream, tarfile.open(fileobj=stream, mode="r|*") as opened:
        for entry in opened:
            kind = "folder" if entry.isdir() else "file" if entry.isreg() else "link or device"

            def read(entry: tarfile.TarInfo = entry) -> bytes:
                content = opened.extractfile(entry)
                return b"" if content is None else content.read()

            yield entry.name, entry.size, kind, read


def _of_deb(path: Path) -> Iterator[Member]:
    """A Debian package is an ar archive with one tar file of data in it."""
    with path.open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise _refused(path, "it is no Debian package")
        while len(header := file.read(AR_HEADER)) == AR_HEADER:
            name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
            if not size.isdigit():
                raise _refused(path, "it is damaged: a size in it is no number")
            if name.startswith("data.tar"):
                if name.endswith(".zst"):
                    return _of_tar(_unpacked_by_dpkg(path))
                data = file.read(int(size))
                if len(data) != int(size):
                    raise _refused(path, "it is damaged: it ends early")
                return _of_tar(io.BytesIO(data))
            file.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise _refused(path, "it holds no data")


def _unpacked_by_dpkg(path: Path) -> IO[bytes]:
    """The data as a plain tar file, for a compression that Python's library lacks."""
    if shutil.which("dpkg-deb") is None:
        raise _refused(path, "it is compressed with zstd, which needs dpkg-deb")
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False)
    if done.returncode != 0:
        raise _refused(path, f"dpkg-deb: {done.stderr.decode('utf-8', 'replace').strip()[:200]}")
    return io.BytesIO(done.stdout)


def _plain(name: str, archive: Path) -> str:
    """A member's name without its leading ``./``; refused where it could mean another place."""
    plain = name.removeprefix("./").rstrip("/") or "."
    parts = plain.split("/")
    if plain.startswith("/") or "\\" in plain or ":" in parts[0] or "\0" in plain or ".." in parts:
        raise _refused(archive, f"a name in it leads elsewhere: {name!r}")
    return plain


def _refused(archive: Path, why: str) -> UntrustedInput:
    return UntrustedInput(f"{archive.name}: {why}; nothing of it was used")
