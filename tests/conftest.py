"""What every test needs: caches and configuration that are nobody's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.object_server import ObjectServer, object_server

# The machines that run these tests share their cores: a slow example is no failure, and a failure must come back.
settings.register_profile("lynxbench", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lynxbench")


@pytest.fixture(autouse=True)
def nobodys_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches and configuration below a temporary folder, so that a test neither sees nor leaves anything outside."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("LYNXBENCH_CACHE", str(home / "cache"))
    monkeypatch.setenv("LYNXBENCH_CONFIG", str(home / "config"))
    return home


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A real S3 server, started for those who ask."""
    with object_server(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def s3(objects: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The same, with this process's environment set for it."""
    for name, value in objects.environment.items():
        monkeypatch.setenv(name, value)
    return objects
