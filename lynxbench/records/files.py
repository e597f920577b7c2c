"""Trees of files, here or in an object store, by the few things that results need of them.

Nothing that was created is ever changed or renamed: object stores cannot rename, and readers need no locks.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lynxbench.errors import StoreError
from lynxbench.records.location import Location, Url

if TYPE_CHECKING:
    import pyarrow.fs


@dataclass(frozen=True)
class Entry:
    """One name in a folder; object stores have folders where names share a prefix up to a slash."""

    name: str
    is_folder: bool


class Files(Protocol):
    """What lies below one location. Names are relative to it, with slashes.

    Every method raises `UsageError` for what the user can mend (no such bucket, no credentials), `Unreachable` for
    what may pass, `StoreError` for the rest.
    """

    @property
    def location(self) -> Location: ...

    def entries(self, below: str = "") -> list[Entry]:
        """One folder's names, sorted; none where there is no such folder."""

    def names(self, below: str) -> list[str]:
        """Every file at any depth below a folder, sorted; none where there is no such folder."""

    def read(self, name: str) -> bytes:
        """A whole file. Raises `FileNotFoundError`."""

    def read_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Whole files, several at a time. Raises `FileNotFoundError` when any is gone."""

    def size_bytes(self, name: str) -> int:
        """Of a file. Raises `FileNotFoundError`."""

    def create(self, name: str, content: bytes) -> bool:
        """Put a new file there at one stroke; False, and nothing changed, where that name holds something else."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone are none the less gone."""

    def arrow(self) -> pyarrow.fs.FileSystem:
        """For PyArrow to read `arrow_path` by."""

    def arrow_path(self, name: str) -> str:
        """What `arrow` calls a file."""


class LocalFiles:
    """A folder of this machine, or one that it shares."""

    def __init__(self, folder: Path) -> None:
        self.location: Location = folder
        self._folder = folder

    def entries(self, below: str = "") -> list[Entry]:
        """See `Files`."""
        try:
            with os.scandir(self._folder / below) as found:
                # A link may lead back up.
                return sorted((Entry(e.name, e.is_dir(follow_symlinks=False)) for e in found), key=lambda e: e.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{self._folder / below} cannot be read: {error.strerror or error}") from None

    def names(self, below: str) -> list[str]:
        """See `Files`."""
        found = []
        for folder, _, files in os.walk(self._folder / below):
            inside = Path(folder).relative_to(self._folder).as_posix()
            found += [name if inside == "." else f"{inside}/{name}" for name in files if not name.endswith(".tmp")]
        return sorted(found)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self._folder / name} cannot be read: {error.strerror or error}") from None

    def read_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """See `Files`."""
        return {name: self.read(name) for name in names}

    def size_bytes(self, name: str) -> int:
        """See `Files`."""
        return (self._folder / name).stat().st_size

    def create(self, name: str, content: bytes) -> bool:
        """See `Files`. Flushed to disk, then linked to its name: a link, unlike a rename, never replaces."""
        path = self._folder / name
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return path.read_bytes() == content
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreError(
                f"{path} could not be written: {error.strerror or error}. What was finished before is safe; "
                "free some space or choose another place with --out, then type the same command again"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def delete(self, names: Iterable[str]) -> None:
        """See `Files`. Folders that are left empty go too."""
        for name in names:
            path = self._folder / name
            try:
                path.unlink(missing_ok=True)
                while (path := path.parent) != self._folder:
                    path.rmdir()
            except OSError:
                continue  # not empty; or not ours to remove, which a later run says again

    def arrow(self) -> pyarrow.fs.FileSystem:
        """See `Files`."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem()

    def arrow_path(self, name: str) -> str:
        """See `Files`."""
        return str(self._folder / name)


def files_at(place: Location) -> Files:
    """The tree at a location. Raises `UsageError` for a protocol that is not known, or not installed."""
    if isinstance(place, Url):
        from lynxbench.records.remote import RemoteFiles

        return RemoteFiles(place)
    return LocalFiles(place)
