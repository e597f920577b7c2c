"""Where results lie, as it was typed: a path of this machine, or the URL of a filesystem that fsspec opens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lynxbench.errors import UsageError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)(.*)", re.DOTALL)


@dataclass(frozen=True, order=True)
class Url:
    """``s3://bucket/prefix``, without a slash at its end."""

    text: str

    @property
    def protocol(self) -> str:
        """``s3``."""
        return self.text.partition("://")[0]

    @property
    def path(self) -> str:
        """``bucket/prefix``."""
        return self.text.partition("://")[2]

    @property
    def name(self) -> str:
        """The last segment."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> Url:
        """Without the last segment."""
        return Url(f"{self.protocol}://{PurePosixPath(self.path).parent}")

    def __truediv__(self, below: str) -> Url:
        return Url(f"{self.text}/{below}") if below else self

    def __str__(self) -> str:
        return self.text


Location = Path | Url


def location(given: str | PathLike[str] | Url) -> Location:
    """What was typed, as a place: ``file://`` URLs are paths. Raises `UsageError` for a URL that names no place.

    A URL that went through `Path`, which folds slashes, is taken as it was meant.
    """
    if isinstance(given, Url):
        return given
    parts = _parts(given)
    if parts is None:
        return Path(given)
    protocol, path = parts
    if protocol == "file":
        return Path(unquote("/" + path.lstrip("/")))
    if not path.strip("/"):
        raise UsageError(f"{fspath(given)} names no place\n  try       {protocol}://BUCKET/PREFIX")
    return Url(f"{protocol}://{path}")


def is_of_objects(given: str | PathLike[str] | Url) -> bool:
    """Whether what was typed asks for one object a cell: any URL does, ``file://`` too."""
    return isinstance(given, Url) or _parts(given) is not None


def _parts(given: str | PathLike[str]) -> tuple[str, str] | None:
    """Protocol and path of a URL; None for a path. Of a `Path` one slash is enough."""
    found = _URL.fullmatch(fspath(given))
    if found is None or not (found[2] or isinstance(given, Path)):
        return None
    return found[1].lower(), found[3].rstrip("/")
