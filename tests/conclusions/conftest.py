"""One quick sweep of two models, shared by the tests that draw conclusions from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.running import lynxbench

ONLY = "model=fashion-resnet8,fashion-embedder,scheme=fp32,int8-static,int8-dynamic,fp16"


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Two models under four schemes and two scenarios, measured once, whichever test process comes first."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    home = shared / "conclusions"
    with FileLock(str(home) + ".lock"):
        if not home.exists():
            home.mkdir()
            ran = lynxbench("sweep", "--budget", "quick", "--only", ONLY, home=home)
            assert ran.code == 0, ran.err
    return home / "results" / "starter-quick"
