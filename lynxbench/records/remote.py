"""Trees of objects that fsspec opens: S3 by s3fs (the extra `s3`), and whatever else is installed.

s3fs rather than PyArrow's own S3 client: only it can ask the server to create an object or else leave the one that is
there (If-None-Match), on which rests that a cell is never written twice and that of two compactions one wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lynxbench.errors import StoreError, Unreachable, UsageError
from lynxbench.records.files import Entry
from lynxbench.records.location import Location, Url
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pyarrow.fs

# What s3fs and its neighbours raise of a network that does not answer, by the modules of their own exceptions.
_NETWORK = ("aiohttp.", "urllib3.", "requests.", "httpx.")
_BOTOCORE_NETWORK = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "ProxyConnectionError",
        "SSLError",
        "HTTPClientError",
        "ResponseStreamingError",
    }
)
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound"})


class RemoteFiles:
    """What lies below a URL; see `files.Files` for the methods."""

    def __init__(self, url: Url) -> None:
        self.location: Location = url
        self._url = url
        self._filesystem = _filesystem(url)
        self._root: str = self._filesystem._strip_protocol(url.text).rstrip("/")

    def entries(self, below: str = "") -> list[Entry]:
        """See `Files`."""
        with self._told(below):
            try:
                found = self._filesystem.ls(self._path(below), detail=True)
            except (FileNotFoundError, NotADirectoryError) as error:
                self._bucket_is_there(error)
                return []
        entries = [Entry(self._name(one["name"], below), one["type"] == "directory") for one in found]
        return sorted((e for e in entries if e.name and "/" not in e.name), key=lambda e: e.name)

    def names(self, below: str) -> list[str]:
        """See `Files`."""
        with self._told(below):
            try:
                found = self._filesystem.find(self._path(below))
            except FileNotFoundError as error:
                self._bucket_is_there(error)
                return []
        # Some stores tell of a folder that was emptied, by its own name or with a slash at its end.
        inside = f"{below}/" if below else ""
        names = (self._name(path, "") for path in found)
        return sorted(name for name in names if name.startswith(inside) and name.strip("/") and name[-1] != "/")

    def read(self, name: str) -> bytes:
        """See `Files`."""
        with self._told(name):
            content: bytes = self._filesystem.cat_file(self._path(name))
        return content

    def read_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """See `Files`."""
        if len(names) < 2:
            return {name: self.read(name) for name in names}
        with self._told(names[0]):
            contents = self._filesystem.cat([self._path(name) for name in names], on_error="raise")
        return {self._name(path, ""): content for path, content in contents.items()}

    def size_bytes(self, name: str) -> int:
        """See `Files`."""
        with self._told(name):
            return int(self._filesystem.size(self._path(name)))

    def create(self, name: str, content: bytes) -> bool:
        """See `Files`."""
        with self._told(name):
            try:
                self._filesystem.pipe_file(self._path(name), content, mode="create")
            except OSError as error:
                if not _is_there_already(error):
                    raise
                # It may be our own, put by a request whose answer was lost.
                self._filesystem.invalidate_cache()
                return bool(self._filesystem.cat_file(self._path(name)) == content)
        return True

    def delete(self, names: Iterable[str]) -> None:
        """See `Files`."""
        for name in names:
            with self._told(name):
                try:
                    self._filesystem.rm_file(self._path(name))
                except FileNotFoundError:
                    continue

    def arrow(self) -> pyarrow.fs.FileSystem:
        """See `Files`."""
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        return PyFileSystem(FSSpecHandler(_AsArrowReads(self._filesystem)))

    def arrow_path(self, name: str) -> str:
        """See `Files`."""
        return self._path(name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _name(self, path: str, below: str) -> str:
        """A path of fsspec's, relative to the folder `below`; empty for the folder itself."""
        return path.lstrip("/").removeprefix(self._path(below).lstrip("/")).removeprefix("/")

    def _bucket_is_there(self, error: OSError) -> None:
        if "bucket" in str(error).lower():
            bucket = self._url.path.partition("/")[0]
            raise UsageError(
                f"{self._url}: there is no bucket {bucket}\n"
                "  try       the bucket's name and AWS_ENDPOINT_URL, or create it first: LynxBench creates none"
            ) from None

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What the store says, as one of our errors; `FileNotFoundError` is the caller's."""
        where = self._url / name
        self._filesystem.invalidate_cache()
        try:
            yield
        except FileNotFoundError as error:
            self._bucket_is_there(error)
            raise
        except PermissionError as error:
            raise UsageError(f"{where}: refused: {error}\n  try       other credentials, or their rights") from None
        except (ConnectionError, TimeoutError) as error:
            raise Unreachable(f"{where}: {error or type(error).__name__}") from None
        except OSError as error:
            raise StoreError(f"{where}: {error.strerror or error}") from None
        except (StoreError, UsageError):
            raise
        except Exception as error:
            raise _foreign(where, error) from None


def _foreign(where: Url, error: Exception) -> Exception:
    """An exception of a library below fsspec as ours; such libraries need not be installed, so names have to do."""
    kind = type(error)
    text = f"{where}: {str(error) or kind.__name__}"
    if kind.__name__ in _NO_CREDENTIALS:
        return UsageError(
            f"{text}\n  try       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or fsspec's configuration"
        )
    if kind.__name__ in _BOTOCORE_NETWORK or f"{kind.__module__}.".startswith(_NETWORK):
        return Unreachable(text)
    if kind.__name__ in {"ParamValidationError", "InvalidRegionError", "ValueError"}:
        return UsageError(text)
    return StoreError(text)


def _is_there_already(error: OSError) -> bool:
    """Whether a conditional write was refused for what is there: by fsspec's own word, or the server's."""
    if isinstance(error, FileExistsError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in {"PreconditionFailed", "412", "ConditionalRequestConflict"}


def _filesystem(url: Url) -> Any:
    try:
        import fsspec
    except ImportError:
        extra = "lynxbench[s3]" if url.protocol in {"s3", "s3a"} else "fsspec"
        raise UsageError(f"{url} needs fsspec\n  try       pip install '{extra}'") from None
    try:
        # What was listed before tells nothing: others write there too. s3fs would look it up even to read an object.
        options = {"use_listings_cache": False} if url.protocol in {"s3", "s3a"} else {}
        return fsspec.core.url_to_fs(url.text, **options)[0]
    except ImportError as error:
        if url.protocol in {"s3", "s3a"}:
            raise UsageError(f"{url} needs s3fs\n  try       pip install 'lynxbench[s3]'") from None
        raise UsageError(f"{url}: {error}") from None
    except OSError as error:  # some connect as soon as they are made
        raise UsageError(f"{url}: {error.strerror or error or type(error).__name__}") from None
    except ValueError as error:
        if url.protocol in fsspec.available_protocols():
            raise UsageError(f"{url}: {error}") from None
        hint = did_you_mean(url.protocol, fsspec.available_protocols())
        raise UsageError(f"{url}: unknown protocol {url.protocol}; {hint or 'such as: s3://BUCKET/PREFIX'}") from None


class _AsArrowReads:
    """A filesystem whose files read what is asked for: PyArrow knows which ranges it wants."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)

    def open(self, path: str, mode: str = "rb") -> Any:
        return self._filesystem.open(path, mode=mode, cache_type="none")
