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
from lynxbench.sweep.child import GRACE_S, LEAVE_S, Child
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
    with pytest.raises(CellError) as caught:
        child.ask({"do": request_name}, 1.0)
    assert caught.value.status == "timeout"
    assert gone(child.pid)


def test_stopping_takes_less_than_six_seconds() -> None:
    assert LEAVE_S + 2 * GRACE_S < 6


def test_what_a_child_leaves_behind_is_ended_with_it(child: Child) -> None:
    pid = child.ask({"do": "leaves_a_child"}, 60)["pid"]
    assert psutil.pid_exists(pid)
    child.close()  # the child itself leaves when its pipe ends
    end = time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < end, "a grandchild outlived its parent"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("request_name", ["glutton", "parent_of_a_glutton"])
def test_a_child_that_takes_too_much_memory_is_stopped(request_name: str) -> None:
    child = Child(COMMAND, ENVIRONMENT, memory_limit_bytes=300_000_000)
    try:
        assert child.ask({"do": "echo", "small": 1}, 60) == {"small": 1}
        with pytest.raises(CellError, match=r"more than its limit of 0\.30 GB") as caught:
            child.ask({"do": request_name}, 300)
        assert caught.value.status == "oom"
        assert gone(child.pid)
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
