"""What placements and differences mean, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lynxbench.execution.placement import judge
from lynxbench.execution.threads import busy_threads, thread_cpu_ns
from lynxbench.execution.verification import Caution, compare, is_finite, other_precision, wrong_outputs
from lynxbench.specs.executor import ExecutorSpec

CPU = "CPUExecutionProvider"
Nodes = Mapping[str, Mapping[str, int]]


def test_cpu_alone_is_ok(cpu: ExecutorSpec) -> None:
    assert judge(cpu, {CPU: {"Conv": 3}}).status == "ok"
    assert judge(cpu, {}).status == "ok"  # everything was folded into constants
    assert judge(cpu, {"XnnpackExecutionProvider": {"Conv": 1}, CPU: {"Conv": 2}}).status == "rejected"


def test_listed_but_unused_is_rejected(specs: Mapping[str, ExecutorSpec]) -> None:
    found = judge(specs["nxrt"], {CPU: {"Conv": 2, "Relu": 1}})
    assert found.status == "rejected"
    assert found.reason == f"cpu_ep took none of the 3 nodes (3 on {CPU})"
    assert judge(specs["nxrt"], {}).status == "rejected"


def test_partly_on_the_cpu_names_the_op_types(specs: Mapping[str, ExecutorSpec]) -> None:
    found = judge(specs["nxrt"], {"cpu_ep": {"Conv": 2}, CPU: {"Det": 2, "Relu": 1}})
    assert found.status == "partial"
    assert found.reason == f"3 of 5 nodes ran on {CPU}: Det ×2, Relu ×1"
    assert found.cpu_node_share_ratio == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("left", "status"),
    [({"Shape": 1}, "ok"), ({"Shape": 2}, "partial"), ({"Conv": 1}, "partial"), ({"Shape": 1, "Conv": 1}, "partial")],
)
def test_what_a_declaration_tolerates(specs: Mapping[str, ExecutorSpec], left: dict[str, int], status: str) -> None:
    spec = specs["webgpu"]
    assert spec.placement.cpu_share == 0.25
    assert judge(spec, {spec.provider: {"Conv": 4}, CPU: left}).status == status


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_equal_outputs_do_not_differ(array: np.ndarray) -> None:
    found = compare({"y": array}, {"y": array.copy()})
    assert (found.absolute, found.relative_max, found.relative_rms) == (0, 0, 0)


@given(arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)), arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)))
def test_differences_are_those_of_numpy(first: np.ndarray, second: np.ndarray) -> None:
    found = compare({"y": first}, {"y": second})
    assert found.absolute == pytest.approx(np.abs(first - second).max())
    if np.abs(second).max() > 1e-3:
        assert found.relative_max == pytest.approx(np.abs(first - second).max() / np.abs(second).max())
        assert found.relative_rms == pytest.approx(np.linalg.norm(first - second) / np.linalg.norm(second))


def test_what_cannot_be_compared() -> None:
    one = np.ones(3)
    nan = np.array([1, np.nan, 1])
    assert compare({"y": nan}, {"y": one}).absolute is None
    assert compare({"y": one}, {"y": nan}).absolute is None
    assert compare({"y": nan}, {"y": nan}).absolute == 0
    assert compare({"y": np.array([np.inf])}, {"y": np.array([1.0])}).absolute is None
    assert compare({"y": np.array([-np.inf, 1.0])}, {"y": np.array([-np.inf, 2.0])}).absolute == 1
    assert compare({"y": one}, {"z": one}).absolute is None
    assert compare({"y": one}, {"y": np.ones(4)}).absolute is None
    assert compare({"y": np.ones(0)}, {"y": np.ones(0)}).absolute == 0


def test_outputs_are_wrong_only_when_no_reference_agrees() -> None:
    reference = np.linspace(-1, 1, 50)
    near, far = compare({"y": reference * 1.02}, {"y": reference}), compare({"y": -reference}, {"y": reference})
    assert wrong_outputs([], "fp32") is None
    assert wrong_outputs([near, far], "fp32") is None
    assert "differ from every reference by 200%" in str(wrong_outputs([far, far], "int8-static")).replace(
        "differs", "differ"
    )
    tenth = compare({"y": reference * 1.1}, {"y": reference})
    assert wrong_outputs([tenth], "fp32") is not None
    assert wrong_outputs([tenth], "fp16") is None
    assert wrong_outputs([tenth], "int8-dynamic") is None


def test_half_precision_shows_in_a_float32_model() -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(size=(8, 256)), random.normal(size=(256, 16))
    exact = {"y": x @ w}
    single = {"y": (x.astype(np.float32) @ w.astype(np.float32)).astype(np.float64)}
    half = {"y": x.astype(np.float16).astype(np.float64) @ w.astype(np.float16).astype(np.float64)}
    assert not other_precision([compare(single, exact)], "fp32")
    assert other_precision([compare(half, exact)], "fp32")
    assert not other_precision([compare(half, exact)], "fp16")
    assert not other_precision([], "fp32")


def test_finite_looks_at_floats_only() -> None:
    assert is_finite({"y": np.ones(2), "ids": np.array([1, 2])})
    assert not is_finite({"y": np.array([np.nan])})


def test_busy_threads_are_shares_of_the_busiest() -> None:
    assert busy_threads({1: 100}, {1: 200, 2: 100}) == 2
    assert busy_threads({1: 100, 2: 50}, {1: 200, 2: 75}) == pytest.approx(1.25)
    assert busy_threads({}, {}) is None
    assert busy_threads({1: 5}, {1: 5}) is None
    assert all(time_ns >= 0 for time_ns in thread_cpu_ns().values())
    assert thread_cpu_ns()


def test_every_caution_gives_advice() -> None:
    assert all(caution.advice.endswith(".") for caution in Caution)
