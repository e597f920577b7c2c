"""Tiny packages and archives, made on the spot: pip and the reader take them for real ones."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from lynxbench.specs.fetched import Archive


def wheel(folder: Path, name: str, files: Mapping[str, bytes], version: str = "1.0") -> Path:
    """A wheel that pip accepts."""
    info = f"{name}-{version}.dist-info"
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}\n"
        for path, content in whole.items()
    )
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        for member, content in whole.items():
            opened.writestr(member, content)
        opened.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def tar(files: Mapping[str, bytes], *links: tuple[str, str], mode: str = "w:xz") -> bytes:
    """A tar file; `links`: name → target."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode=mode) as opened:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
        for name, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            opened.addfile(entry)
    return whole.getvalue()


def deb(path: Path, data: bytes, name: str = "data.tar.xz") -> Path:
    """A Debian package of that data."""
    whole = b"!<arch>\n"
    for member, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", tar({"./control": b"x"})), (name, data)):
        header = f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        whole += header + content + b"\n" * (len(content) % 2)
    path.write_bytes(whole)
    return path


def archive(path: Path, **changes: object) -> Archive:
    """The declaration of a package that lies at `path`."""
    name, version = path.name.split("-")[:2]
    declared = {
        "name": name,
        "kind": "pip",
        "package": name,
        "version": version,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size_bytes": path.stat().st_size,
        "licence": "MIT",
        "homepage": "https://example.org",
        "taken": "a file",
    }
    return Archive.model_validate({**declared, **changes})
