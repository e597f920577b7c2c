"""TLS by one option: a folder with the fleet's certificate authority, and a certificate and key of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lynxbench.errors import UsageError

FILES = {"tls_ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


def check_address(address: str, folder: Path | None) -> None:
    """Raises `UsageError` unless this is a scheduler's address that goes with `folder`."""
    protocol, separator, rest = address.partition("://")
    if not separator or not rest or protocol not in ("tcp", "tls"):
        raise UsageError(f"{address}: expected the scheduler's address, e.g. tcp://{address.strip('/') or 'HOST'}:8786")
    if protocol == "tls" and folder is None:
        raise UsageError(f"{address} speaks TLS\n  try       --tls FOLDER, with {', '.join(FILES.values())} in it")
    if protocol == "tcp" and folder is not None:
        raise UsageError(f"--tls {folder}: {address} is without TLS\n  try       tls://{rest}, as the scheduler says")


def security_of(folder: Path | None) -> Any:
    """Dask's `Security` for `folder`, encryption required both ways; None without one.

    Raises `UsageError` when a file is missing.
    """
    if folder is None:
        return None
    missing = [name for name in FILES.values() if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"--tls {folder}: no {', '.join(missing)} there; expected {', '.join(FILES.values())}\n"
            "  try       docs/fleet.md shows how to make them"
        )
    from distributed.security import Security

    ca, cert, key = (str(folder / name) for name in FILES.values())
    roles = {f"tls_{role}_{part}": path for role in ("client", "worker", "scheduler")
             for part, path in (("cert", cert), ("key", key))}  # fmt: skip
    make: Any = Security  # without types
    return make(require_encryption=True, tls_ca_file=ca, **roles)
