"""What several tests of this room need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from lynxbench.execution import Executor
from lynxbench.specs.executor import ExecutorSpec
from tests.execution.environments import catalogue

Run = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def specs() -> Mapping[str, ExecutorSpec]:
    return catalogue()


@pytest.fixture(scope="session")
def cpu(specs: Mapping[str, ExecutorSpec]) -> ExecutorSpec:
    return specs["cpu"]


@pytest.fixture
def references(cpu: ExecutorSpec) -> Callable[[Path, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """The outputs of a model by the CPU provider, optimized and not."""

    def both(model: Path, feed: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        outputs = []
        for optimization in ("all", "disabled"):
            with Executor(cpu, threads=1, optimization=optimization) as executor:
                executor.open(model)
                outputs.append(executor.run(feed))
        return outputs

    return both
