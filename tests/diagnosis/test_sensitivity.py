"""Parts tried one at a time: what is tried, in which order, how it is scored, and what the time does not allow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lynxbench.datasets.predictions import Predictions
from lynxbench.diagnosis.facts import TensorFacts
from lynxbench.diagnosis.parts import quantized_nodes
from lynxbench.diagnosis.run import diagnose
from lynxbench.diagnosis.sensitivity import NOTHING_ALONE, Attempt, Node, Sensitivity, find_sensitivity, ordered
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.errors import CellError
from lynxbench.quantization.prepare import prepared_model
from lynxbench.scoring import score
from lynxbench.specs.scheme import Scheme
from tests.diagnosis.test_causes import TENSOR
from tests.diagnosis.test_known_truths import NUMBERS, RUBRIC
from tests.quantization.models import mlp, saved, scheme
from tests.scoring.build import classified, metric, rubric

N = 200
NODES = [
    Node("a", "MatMul", ("x",), ("ta",)),
    Node("b", "MatMul", ("ta",), ("tb",)),
    Node("c", "Softmax", ("tb",), ("tc",)),
    Node("d", "Add", ("tc",), ("td",)),
    Node("e", "Add", ("td",), ("te",)),
]
# How many of the 200 samples each costs when it is quantized; together they cost the most of any.
COSTS = {"a": 0, "b": 10, "c": 60, "d": 2, "e": 0}
RUBRIC_OF_TWO = rubric(metric("top-1"))


def answers(quantized: set[str]) -> Predictions:
    wrong = max((COSTS[name] for name in quantized), default=0)
    return classified(np.arange(N) >= wrong)


@dataclass
class Machine:
    """Answers as if each build took so many seconds, on a clock of its own."""

    seconds: float = 1.0
    now: float = 100.0
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def answer(self, asked: Scheme, left_s: float) -> Predictions:
        self.asked.append(tuple(sorted(asked.nodes_kept_float or ())))
        if self.seconds > left_s:
            self.now += left_s
            raise CellError("timeout", "too slow")
        self.now += self.seconds
        kept = set(asked.nodes_kept_float or ())
        if {node.name for node in NODES} - kept == {"e"}:
            raise CellError("unsupported", "int8-static changed no node")
        return answers({node.name for node in NODES} - kept)


def found(machine: Machine, time_limit_s: float, tensors: tuple[TensorFacts, ...] = ()) -> Sensitivity:
    return find_sensitivity(
        RUBRIC_OF_TWO, scheme("int8-static"), NODES, tensors, answers(set(COSTS)), answers(set()), machine.answer,
        time_limit_s=time_limit_s, clock=machine.clock,
    )  # fmt: skip


def test_each_part_is_tried_both_ways_and_ordered_by_the_loss_that_it_causes() -> None:
    machine = Machine()
    sensitivity = found(machine, 100.0)
    assert sensitivity.not_tried == ()
    # Three op types and four nodes, as Softmax is a type of its own, both ways each.
    assert len(sensitivity.trials) == len(machine.asked) == 14
    assert sensitivity.candidate_loss == pytest.approx(60 / N)
    losses = {(one.part.name, one.how): one.loss for one in sensitivity.trials}
    assert losses["Softmax", "alone"] == losses["Softmax", "left-in-float"] + 10 / N == pytest.approx(60 / N)
    assert losses["b", "alone"] == losses["MatMul", "alone"] == pytest.approx(10 / N)
    assert losses["b", "left-in-float"] == 0.0  # the Softmax costs as much without it
    known = [one.loss for one in sensitivity.trials if one.loss is not None]
    assert known == sorted(known, reverse=True)
    assert sensitivity.of("op-type", "alone")[0].part.nodes == ("c",)
    (nothing,) = [one for one in sensitivity.trials if one.loss is None]
    assert (nothing.part.name, nothing.how, nothing.reason) == ("e", "alone", NOTHING_ALONE)
    assert sensitivity.trials[-1] == nothing


def test_the_interval_is_the_paired_one_of_the_two_that_differ_by_the_part() -> None:
    trials = {(one.part.name, one.how): one for one in found(Machine(), 100.0).trials}
    alone = score(RUBRIC_OF_TWO, answers({"c"}), answers(set()), is_reference=False).primary
    left = score(RUBRIC_OF_TWO, answers(set(COSTS)), answers(set(COSTS) - {"c"}), is_reference=False).primary
    for how, expected in (("alone", alone), ("left-in-float", left)):
        mine = trials["Softmax", how]
        assert (mine.loss, mine.loss_low, mine.loss_high) == (expected.loss, expected.loss_low, expected.loss_high)
    assert trials["Softmax", "alone"].value == pytest.approx(1 - 60 / N)
    assert trials["Softmax", "left-in-float"].value == pytest.approx(1 - 10 / N)
    assert trials["Softmax", "alone"].flip_rate == pytest.approx(60 / N)


def test_when_the_time_is_over_the_rest_is_named() -> None:
    machine = Machine()
    sensitivity = found(machine, 3.5)
    # The fourth would take a second, and half of one is left.
    assert len(sensitivity.trials) == len(machine.asked) == 3
    assert len(sensitivity.not_tried) == 11
    assert sensitivity.spent_s == pytest.approx(3.0)
    tried = {(one.part.name, one.how) for one in sensitivity.trials}
    assert not tried & {(one.part.name, one.how) for one in sensitivity.not_tried}


def test_one_that_is_cut_off_was_not_tried_and_the_limit_holds() -> None:
    machine = Machine(seconds=50.0)
    sensitivity = found(machine, 7.0)
    assert (sensitivity.trials, len(sensitivity.not_tried)) == ((), 14)
    assert machine.now == pytest.approx(107.0)


def names(attempts: list[Attempt], kind: str) -> list[str]:
    return list(dict.fromkeys(one.part.name for one in attempts if one.part.kind == kind))


def test_a_proxy_orders_the_search_op_types_first() -> None:
    plain = ordered(NODES, ())
    assert (names(plain, "op-type"), names(plain, "node")) == (["MatMul", "Softmax", "Add"], ["a", "b", "d", "e"])
    # Each op type alone, then each left in float, then nodes both ways.
    assert [one.how for one in plain[:6]] == ["alone"] * 3 + ["left-in-float"] * 3
    assert [one.how for one in plain[6:]] == ["alone", "left-in-float"] * 4
    noisy = (
        replace(TENSOR, name="tb", sqnr_db=30.0),
        replace(TENSOR, name="tc", sqnr_db=0.0),
        replace(TENSOR, name="td", sqnr_db=0.0),
        replace(TENSOR, name="te", sqnr_db=-3.0),
    )
    # Softmax takes all of the signal away, e nearly as much again, and what d passes on is not its own.
    found = ordered(NODES, noisy)
    assert (names(found, "op-type"), names(found, "node")) == (["Softmax", "Add", "MatMul"], ["e", "b", "a", "d"])
    assert names(ordered(NODES, noisy, by_node=False), "node") == []
    assert ordered(NODES[:1], ()) == []  # all of it is the candidate, and fp32


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("int8-static", {}, {"Conv", "Relu", "Clip", "Add", "GlobalAveragePool", "Gemm"}),
        ("int8-static", {"op_types": ("Conv",)}, {"Conv"}),
        ("int8-static", {"op_types_kept_float": ("Conv", "Clip")}, {"Relu", "Add", "GlobalAveragePool", "Gemm"}),
        ("int8-dynamic", {}, {"Conv", "Gemm"}),
        ("fp16", {}, {"Conv", "Relu", "Clip", "Add", "GlobalAveragePool", "Gemm"}),
        ("weights-only", {}, set()),
    ],
)
def test_the_nodes_that_a_scheme_quantizes(
    tmp_path: Path, kind: str, options: dict[str, tuple[str, ...]], expected: set[str]
) -> None:
    path, _ = saved(tmp_path, "conv")
    prepared, _ = prepared_model(path, "0" * 64, None)
    assert {node.op_type for node in quantized_nodes(prepared, scheme(kind, **options))} == expected
    if kind == "int8-static" and not options:
        first = next(node.name for node in prepared.graph.node if node.op_type == "Conv")
        left = quantized_nodes(prepared, scheme(kind, nodes_kept_float=(first,)))
        assert first not in {node.name for node in left}


def test_a_planted_fault_is_traced_to_its_node(tmp_path: Path) -> None:
    """One weight of the second layer times 1,000, one scale for all: that layer costs the accuracy, no other."""
    model = mlp()
    rng = np.random.default_rng(5)
    inputs = rng.standard_normal((240, 10)).astype(np.float32)
    first, bias, second = (numpy_helper.to_array(one).copy() for one in model.graph.initializer)
    # The unit whose weight is multiplied is off: fp32 does not notice.
    first[:, 3], bias[3] = 0.0, 0.0
    labels = np.argmax(np.tanh(inputs @ first + bias) @ second, axis=1)
    second[3, 1] *= 1000
    for tensor, values in zip(model.graph.initializer, (first, bias, second), strict=True):
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "net.onnx")
    sensor = np.where(np.arange(240) % 2 == 0, "old", "new")
    np.savez(tmp_path / "test.npz", inputs=inputs, labels=labels, sensor=sensor)
    np.savez(tmp_path / "train.npz", inputs=rng.standard_normal((200, 10)).astype(np.float32), labels=labels[:200])
    (tmp_path / "suite.toml").write_text(NUMBERS.replace("reduce_range = true", "per_channel = false"))
    (tmp_path / "rubric.toml").write_text(RUBRIC)
    asked = subject(suite_of(str(tmp_path / "suite.toml")), "static on net", samples=120)
    diagnosis = diagnose(asked, cache=tmp_path / "cache", time_limit_s=120.0)
    sensitivity = diagnosis.sensitivity
    assert sensitivity is not None
    assert sensitivity.not_tried == ()
    assert sensitivity.n == 120
    # The first product and its bias are one Gemm by now, so that either op type is one node.
    losses = {(one.part.name, one.how): one for one in sensitivity.trials}
    mine, other = losses["MatMul", "alone"], losses["Gemm", "alone"]
    assert mine.loss_low is not None
    assert mine.loss_low > 0.2
    assert other.loss == pytest.approx(0.0, abs=0.05)
    # Left in float alone, it wins back what the whole candidate lost.
    assert losses["MatMul", "left-in-float"].loss == pytest.approx(sensitivity.candidate_loss, abs=0.05)
