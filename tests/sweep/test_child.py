"""Children that hang, crash, leave or refuse: a status and a reason each, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from lynxbench.errors import CellError
from lynxbench.sweep.child import GRACE_S, Child
from tests.running import ROOT

COMMAND = (sys.executable, "-m", "tests.sweep.failing_child")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def child() -> Iterator[Child]:
    running = Child(COMMAND, ENVIRONMENT)
    yield running
    running.close()


def test_an_answer_comes_back_whatever_libraries_print(child: Child) -> None:
    big = {"numbers": list(range(200_000)), "text": "π\n"}
    assert child.ask({"do": "echo", **big}, 30) == big
    assert child.ask({"do": "echo", "again": 1}, 30) == {"again": 1}


@pytest.mark.parametrize(
    ("request_name", "status", "words"),
    [
        ("refuse", "unsupported", "not by this one"),
        ("raises", "failed", "ValueError: a reason"),
        ("hungry", "oom", "40 GB"),
        ("crash", "failed", "SIGSEGV"),
        ("leave", "failed", "exit code 7; its last words: no more of this"),
        ("killed", "oom", "SIGKILL"),
    ],
)
def test_each_failure_has_its_status(child: Child, request_name: str, status: str, words: str) -> None:
    with pytest.raises(CellError) as caught:
        child.ask({"do": request_name}, 30)
    assert caught.value.status == status
    assert words in caught.value.reason


def test_a_refusal_leaves_the_child_alive(child: Child) -> None:
    with pytest.raises(CellError, match="not by this one"):
        child.ask({"do": "refuse"}, 30)
    assert child.ask({"do": "echo", "still": True}, 30) == {"still": True}


@pytest.mark.parametrize("request_name", ["hang", "stubborn"])
def test_a_hanging_child_is_stopped_within_its_limit(child: Child, request_name: str) -> None:
    begun = time.monotonic()
    with pytest.raises(CellError) as caught:
        child.ask({"do": request_name}, 1.0)
    assert caught.value.status == "timeout"
    # The declared bound: the limit, and then at most 6 s.
    assert time.monotonic() - begun < 1.0 + 2 * GRACE_S
    assert not psutil.pid_exists(child.pid) or psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE


def test_a_child_that_takes_too_much_memory_is_stopped() -> None:
    child = Child(COMMAND, ENVIRONMENT, memory_limit_bytes=300_000_000)
    try:
        assert child.ask({"do": "echo", "small": 1}, 60) == {"small": 1}
        with pytest.raises(CellError, match=r"more than its limit of 0\.30 GB") as caught:
            child.ask({"do": "glutton"}, 300)
        assert caught.value.status == "oom"
        assert not psutil.pid_exists(child.pid) or psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    finally:
        child.close()


def test_asking_the_dead_says_how_it_died(child: Child) -> None:
    for _ in range(2):
        with pytest.raises(CellError, match="exit code 7"):
            child.ask({"do": "leave"}, 30)


def test_a_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\nfrom lynxbench.sweep.child import Child\n"
            f"c = Child({COMMAND!r})\nprint(c.ask({{'do': 'echo'}}, 30), c.pid, flush=True)\ntime.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[-1])
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.05)
