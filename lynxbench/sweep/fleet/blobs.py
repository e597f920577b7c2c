"""Files by their SHA-256: what a node's cache holds of what a group needs, and how the rest gets there.

A name is never believed: a file is hashed when it arrives, and again before each use.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lynxbench.errors import StoreError, UntrustedInput

CHUNK_BYTES = 4 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of(file: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def chunks(file: Path) -> Iterator[tuple[int, bytes, bool]]:
    """A file in pieces: offset, content, whether it is the last. Raises `StoreError` when it cannot be read."""
    try:
        size, offset = file.stat().st_size, 0
        with file.open("rb") as opened:
            while True:
                piece = opened.read(CHUNK_BYTES)
                last = offset + len(piece) >= size or not piece
                yield offset, piece, last
                if last:
                    return
                offset += len(piece)
    except OSError as error:
        raise StoreError(f"{file} cannot be read any more: {error.strerror or error}") from error


class BlobCache:
    """Files in a folder, each under its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arriving: dict[str, tuple[Path, int]] = {}

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Which of `digests` are not here, whole and unchanged; a damaged file is removed."""
        lacking = []
        for digest in dict.fromkeys(digests):
            file = self._path(digest)
            if file.is_file() and sha256_of(file) == digest:
                continue
            file.unlink(missing_ok=True)
            lacking.append(digest)
        return lacking

    def holds(self, digest: str) -> bool:
        """Whether it is here; it was whole when it came."""
        return self._path(digest).is_file()

    def add(self, digest: str, offset: int, piece: bytes, *, last: bool) -> None:
        """A piece of a file; the last one puts it in its place. Raises `UntrustedInput` for content of another digest.

        A file begun twice starts over with the piece at offset 0.
        """
        file = self._path(digest)
        if offset == 0:
            self._drop(digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._arriving[digest] = (file.with_name(f".{digest}.{secrets.token_hex(6)}.tmp"), 0)
        temporary, held = self._arriving.get(digest, (file, -1))
        if held != offset:
            self._drop(digest)
            raise UntrustedInput(f"pieces of file {digest} came out of order: offset {offset}, expected {held}")
        with temporary.open("ab") as opened:
            opened.write(piece)
        self._arriving[digest] = (temporary, offset + len(piece))
        if last:
            found = sha256_of(temporary)
            if found != digest:
                self._drop(digest)
                raise UntrustedInput(f"a file that was sent as {digest} has the SHA-256 {found}; it was thrown away")
            temporary.replace(file)
            del self._arriving[digest]

    def materialise(self, files: Iterable[tuple[str, str]], folder: Path) -> list[Path]:
        """Put files (name, digest) below `folder` under their names, each checked once more as it is copied.

        Raises `UntrustedInput` for a name that leads elsewhere, or content that has changed.
        """
        placed = []
        for name, digest in files:
            relative = PurePosixPath(name)
            if relative.is_absolute() or not relative.parts or ".." in relative.parts or "\\" in name or "\0" in name:
                raise UntrustedInput(f"{name!r} is no file name inside a folder")
            target = folder.joinpath(*relative.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._path(digest), target)
            found = sha256_of(target)
            if found != digest:
                raise UntrustedInput(f"the cache's file {digest} has the SHA-256 {found}; type the same command again")
            placed.append(target)
        return placed

    def _path(self, digest: str) -> Path:
        if not _SHA256.fullmatch(digest):
            raise UntrustedInput(f"{digest[:80]!r} is no SHA-256")
        return self._folder / digest[:2] / digest

    def _drop(self, digest: str) -> None:
        if digest in self._arriving:
            with suppress(OSError):
                self._arriving[digest][0].unlink(missing_ok=True)
            del self._arriving[digest]
