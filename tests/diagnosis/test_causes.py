"""Each cause from facts alone: found beyond its threshold, at the right place, and not below it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lynxbench.diagnosis.causes import Cause, Evidence, Finding
from lynxbench.diagnosis.conclude import find_causes
from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, OpTime, TensorFacts, TimeFacts, WeightFacts
from lynxbench.specs.scheme import Scheme

STATIC = Scheme.model_validate({"name": "static", "kind": "int8-static"})
TENSOR = TensorFacts(
    name="t", producer="MatMul", sqnr_db=30.0, cosine=1.0, low=-4.0, high=4.0, kurtosis=3.0, p999=3.3,
    represented_low=-4.0, represented_high=4.0, calibration_low=-4.0, calibration_high=4.0, outside_share=0.0,
    worst_field="sensor", worst_stratum="old", worst_outside_share=0.0, distance=0.05,
)  # fmt: skip
WEIGHT = WeightFacts(
    name="w", node="/MatMul", op_type="MatMul", shape=(16, 8), channel_range_ratio=1.5, top_share=0.05,
    effective_rank=7.0, outlier_ratio=1.5, scales=8, sqnr_db=42.0, bulk_sqnr_db=40.0,
)  # fmt: skip
MASK = MaskFacts("mask", -1e4, "scores", "/Softmax", unmasked_largest=20.0, quantized=True)
KERNELS = KernelFacts(30.0, 30.0, float("inf"), 120.0, float("inf"))


def time(run_ns: float, *ops: tuple[str, float, str]) -> TimeFacts:
    found = tuple(OpTime(name, 2, ns, (reads,)) for name, ns, reads in ops)
    return TimeFacts(run_ns, run_ns * 2, sum(op.ns for op in found), 50, 1, found)


FP32_TIME = time(100e3, ("MatMul", 60e3, "float float"), ("Softmax", 20e3, "float"))


def evidence(**changes: Any) -> Evidence:
    nothing = Evidence(
        scheme=STATIC, tensors=(TENSOR,), weights=(WEIGHT,), masks=(), kernels=KERNELS, saturates=True, on_x86=True,
        time=time(70e3, ("QLinearMatMul", 30e3, "uint8 float uint8 int8 float int8")), reference_time=FP32_TIME,
    )  # fmt: skip
    return replace(nothing, **changes)


def only(found: tuple[Finding, ...], cause: Cause) -> Finding:
    assert [one.cause for one in found] == [cause]
    return found[0]


def test_with_nothing_wrong_nothing_is_found() -> None:
    assert find_causes(evidence()) == ()


@pytest.mark.parametrize(
    ("cause", "where", "wrong", "right"),
    [
        (Cause.MASK_CONSTANT_STRETCHES_RANGE, "mask", {"masks": (MASK,)}, {"masks": (replace(MASK, quantized=False),)}),
        (
            Cause.EXTREME_WEIGHT, "w",
            {"weights": (replace(WEIGHT, outlier_ratio=33.0, bulk_sqnr_db=5.0),)},
            {"weights": (replace(WEIGHT, outlier_ratio=31.0, bulk_sqnr_db=5.0),)},
        ),
        (
            Cause.EXTREME_WEIGHT, "w",
            {"weights": (replace(WEIGHT, outlier_ratio=33.0, bulk_sqnr_db=5.0),)},
            {"weights": (replace(WEIGHT, outlier_ratio=65.0, bulk_sqnr_db=25.0),)},  # a channel of its own
        ),
        (
            Cause.CALIBRATION_MISSES_RANGE, "t",
            {"tensors": (replace(TENSOR, outside_share=0.02),)}, {"tensors": (replace(TENSOR, outside_share=0.005),)},
        ),
        (
            Cause.CALIBRATION_MISSES_RANGE, "t",
            {"tensors": (replace(TENSOR, worst_outside_share=0.2),)},
            {"tensors": (replace(TENSOR, worst_outside_share=0.2, represented_low=None, outside_share=None),)},
        ),
        (
            Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION, "t",
            {"tensors": (replace(TENSOR, distance=0.4),)}, {"tensors": (replace(TENSOR, distance=0.2),)},
        ),
        (
            Cause.ACTIVATION_OUTLIER, "t",
            {"tensors": (replace(TENSOR, represented_high=40.0, sqnr_db=10.0),)},
            {"tensors": (replace(TENSOR, represented_high=40.0, sqnr_db=30.0),)},  # it does no harm
        ),
        (
            Cause.ACTIVATION_OUTLIER, "t",
            {"tensors": (replace(TENSOR, represented_high=40.0, sqnr_db=10.0),)},
            {"tensors": (replace(TENSOR, represented_high=4.0, sqnr_db=10.0),)},  # something else did it
        ),
        (
            Cause.PER_TENSOR_WEIGHTS, "w",
            {"weights": (replace(WEIGHT, scales=1, channel_range_ratio=9.0),)},
            {"weights": (replace(WEIGHT, scales=8, channel_range_ratio=9.0),)},
        ),
        (
            Cause.PRODUCTS_SATURATE, "integer kernels",
            {"kernels": replace(KERNELS, fused_sqnr_db=8.0)},
            {"kernels": replace(KERNELS, fused_sqnr_db=8.0), "saturates": False},
        ),
        (
            Cause.PRODUCTS_SATURATE, "integer kernels",
            {"kernels": replace(KERNELS, fused_sqnr_db=8.0)},
            {"kernels": replace(KERNELS, fused_sqnr_db=8.0, as_written_sqnr_db=None)},  # it cannot be told
        ),
        (
            Cause.BATCH_DEPENDENT_SCALES, "outputs",
            {"kernels": replace(KERNELS, batch_sqnr_db=30.0)},
            {"kernels": replace(KERNELS, batch_sqnr_db=30.0, fp32_batch_sqnr_db=30.0)},  # so does fp32
        ),
        (
            Cause.TYPES_OFF_FAST_PATH, "QLinearMatMul",
            {"time": time(150e3, ("QLinearMatMul", 120e3, "int8 float int8 int8 float int8"))},
            {"time": time(90e3, ("QLinearMatMul", 120e3, "int8 float int8 int8 float int8"))},  # it is faster
        ),
        (
            Cause.SLOW_INTEGER_KERNEL, "MatMulInteger",
            {"time": time(150e3, ("MatMulInteger", 120e3, "uint8 int8 uint8 int8"))},
            {"time": time(150e3, ("MatMulInteger", 70e3, "uint8 int8 uint8 int8"))},  # hardly slower than fp32's 60
        ),
        (
            Cause.UNFUSED_QDQ, "QuantizeLinear and DequantizeLinear",
            {"time": time(150e3, ("MatMul", 60e3, "float float"), ("DequantizeLinear", 40e3, "uint8 float uint8"))},
            {"time": time(150e3, ("MatMul", 60e3, "float float"), ("DequantizeLinear", 4e3, "uint8 float uint8"))},
        ),
    ],
)  # fmt: skip
def test_a_cause_beyond_its_threshold_and_none_without_it(
    cause: Cause, where: str, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    assert only(find_causes(evidence(**wrong)), cause).where == where
    assert find_causes(evidence(**right)) == ()


def test_other_types_beside_it_tell_whether_the_types_are_why() -> None:
    mine = time(80e3, ("Conv", 50e3, "float float"), ("DequantizeLinear", 7e3, "int8 float int8"))
    fast, alike = time(50e3, ("QLinearConv", 20e3, "uint8 int8")), time(70e3, ("Conv", 45e3, "float float"))
    # Said of a candidate that is faster than fp32, too: it could be faster still.
    finding = only(find_causes(evidence(time=mine, other_types_time=fast)), Cause.TYPES_OFF_FAST_PATH)
    assert (finding.where, finding.numbers["other_types_run_ns"]) == ("Conv", 50e3)
    assert find_causes(evidence(time=mine, other_types_time=alike)) == ()


def test_types_off_the_fast_path_are_so_on_x86_alone() -> None:
    slow = time(150e3, ("QLinearMatMul", 120e3, "int8 float int8 int8 float int8"))
    assert only(find_causes(evidence(time=slow, on_x86=False)), Cause.SLOW_INTEGER_KERNEL)


def test_the_worst_place_speaks_and_the_others_are_named_the_gravest_cause_first() -> None:
    tensors = (
        replace(TENSOR, name="a", distance=0.4), replace(TENSOR, name="b", distance=0.6),
        replace(TENSOR, name="c", outside_share=0.5),
    )  # fmt: skip
    found = find_causes(evidence(tensors=tensors, masks=(MASK,)))
    assert [(one.cause, one.where, one.others) for one in found] == [
        (Cause.MASK_CONSTANT_STRETCHES_RANGE, "mask", ()),
        (Cause.CALIBRATION_MISSES_RANGE, "c", ()),
        (Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION, "b", ("a",)),
    ]
    assert "249" not in found[0].said
    assert found[0].numbers["range_ratio"] == 500


def test_one_kernel_takes_and_several_take() -> None:
    slow = time(150e3, ("MatMulInteger", 120e3, "uint8 int8 uint8 int8"))
    one = replace(slow, ops=tuple(replace(op, kernels=1) for op in slow.ops))
    said = [only(find_causes(evidence(time=facts)), Cause.SLOW_INTEGER_KERNEL).said for facts in (one, slow)]
    assert said[0].startswith("1 kernel MatMulInteger on uint8 int8 uint8 int8 takes 120 µs")
    assert said[1].startswith("2 kernels MatMulInteger on uint8 int8 uint8 int8 take 120 µs")
