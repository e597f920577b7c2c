"""TLS by one option: a folder with the fleet's certificate authority, and a certificate and key of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lynxbench.errors import UsageError

FILES = {"tls_ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


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
