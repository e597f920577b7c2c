"""One quick sweep of the starter suite, shared by the tests that look at its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.running import Ran, lynxbench


@dataclass(frozen=True)
class Starter:
    home: Path
    folder: Path
    ran: Ran


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Starter:
    """The starter suite under the quick budget: run once, whichever test process comes first."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    home = shared / "starter"
    with FileLock(str(home) + ".lock"):
        if not (home / "out.txt").exists():
            home.mkdir()
            ran = lynxbench("sweep", "--budget", "quick", home=home)
            (home / "err.txt").write_text(ran.err)
            (home / "code.txt").write_text(str(ran.code))
            (home / "out.txt").write_text(ran.out)
    ran = Ran(int((home / "code.txt").read_text()), (home / "out.txt").read_text(), (home / "err.txt").read_text())
    assert ran.code == 0, ran.err
    return Starter(home, home / "results" / "starter-quick", ran)
