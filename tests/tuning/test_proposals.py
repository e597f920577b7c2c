"""What a diagnosis makes worth trying, and how changes of a scheme add up."""

from __future__ import annotations

from typing import Any

import pytest

from lynxbench.diagnosis.causes import Cause, Finding
from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, TensorFacts, WeightFacts
from lynxbench.diagnosis.run import Diagnosis
from lynxbench.diagnosis.sensitivity import Attempt, Part, Sensitivity, Trial
from lynxbench.specs.scheme import Scheme
from lynxbench.tuning.proposals import Change, all_mends, changed, single_changes, usual_changes


def scheme(**options: Any) -> Scheme:
    return Scheme.model_validate({"name": "static", "kind": "int8-static", **options})


def tensor(name: str, producer: str, readers: tuple[str, ...]) -> TensorFacts:
    return TensorFacts(
        name, producer, 20.0, 0.9, -1.0, 1.0, 3.0, 1.0, represented_low=-1.0, represented_high=1.0, node=f"/{name}",
        readers=readers,
    )  # fmt: skip


def weight(name: str, op_type: str) -> WeightFacts:
    return WeightFacts(
        name, f"/{name}", op_type, (8, 8), channel_range_ratio=2.0, top_share=0.1, effective_rank=6.0,
        outlier_ratio=2.0, scales=1, sqnr_db=30.0, bulk_sqnr_db=30.0,
    )  # fmt: skip


def diagnosis(*causes: tuple[Cause, str], sensitivity: Sensitivity | None = None) -> Diagnosis:
    return Diagnosis(
        candidate="static on net",
        candidate_id="0",
        workload="w",
        rubric="r 1",
        executor="cpu",
        cpu="any",
        samples=10,
        test_set_n=10,
        calibration_samples=10,
        scores=None,  # type: ignore[arg-type]
        findings=tuple(Finding(cause, where, "said", {}) for cause, where in causes),
        tensors=(
            tensor("proj", "MatMul", ("/scores",)),
            tensor("scores", "MatMul", ("/masked",)),
            tensor("masked", "Add", ("/soft",)),
            tensor("soft", "Softmax", ("/context",)),
        ),
        weights=(weight("proj", "MatMul"),),
        masks=(MaskFacts("mask", -1e4, "masked", "/soft", 40.0, True),),
        kernels=KernelFacts(None, None, None, None, None),
        op_types={"MatMul": 3, "Add": 1, "Softmax": 1},
        time=None,
        reference_time=None,
        sensitivity=sensitivity,
    )


def by_name(changes: list[Change]) -> dict[str, dict[str, Any]]:
    return {change.name: dict(change.options) for change in changes}


def test_changes_add_to_what_is_kept_in_float_and_replace_the_rest() -> None:
    base = scheme(nodes_kept_float=("/a",), method="percentile", percentile=99.9)
    one = Change("b", {"nodes_kept_float": ["/a", "/b"]}, "b")
    two = Change("minmax", {"method": "minmax"}, "ranges")
    found = changed(base, (one, two))
    assert found is not None
    assert found.scheme.nodes_kept_float == ("/a", "/b")
    assert (found.scheme.method, found.scheme.percentile) == ("minmax", None)
    assert (found.scheme.name, found.why) == ("static+b+minmax", "b: b; minmax: ranges")


def test_a_change_of_kind_begins_anew_and_what_cannot_be_is_none() -> None:
    dynamic = changed(scheme(nodes_kept_float=("/a",)), (Change("dynamic", {"kind": "int8-dynamic"}, "other"),))
    assert dynamic is not None
    assert (dynamic.scheme.kind, dynamic.scheme.nodes_kept_float) == ("int8-dynamic", None)
    assert changed(dynamic.scheme, (Change("smooth", {"smooth_alpha": 0.5}, "no option of it"),)) is None
    assert changed(scheme(), (Change("per-channel", {"per_channel": True}, "so already"),)) is None


def test_a_mask_is_mended_by_everything_that_touches_its_tensor() -> None:
    found = diagnosis((Cause.MASK_CONSTANT_STRETCHES_RANGE, "mask"))
    changes = by_name(single_changes(scheme(), found, calibrated=True))
    assert changes["mask-float"] == {"nodes_kept_float": ["/masked", "/soft"]}
    assert changes["softmax-float"] == {"op_types_kept_float": ["Add", "Softmax"]}
    # The product of two activations, and not the one with a weight.
    assert changes["linear"] == {"op_types": ["MatMul"], "nodes_kept_float": ["/scores"]}
    assert next(iter(changes)) == "mask-float"


def test_every_cause_with_a_mend_in_a_scheme_has_one() -> None:
    names = {
        Cause.EXTREME_WEIGHT: "weight-float",
        Cause.CALIBRATION_MISSES_RANGE: "minmax",
        Cause.PRODUCTS_SATURATE: "7-bit",
        Cause.ACTIVATION_OUTLIER: "outlier-float",
        Cause.PER_TENSOR_WEIGHTS: "per-channel",
        Cause.TYPES_OFF_FAST_PATH: "u8s8",
        Cause.SLOW_INTEGER_KERNEL: "matmul-float",
        Cause.UNFUSED_QDQ: "products",
    }
    base = scheme(method="entropy", per_channel=False, activation_type="int8")
    for cause, name in names.items():
        where = {"weight-float": "proj", "outlier-float": "scores", "matmul-float": "MatMulInteger"}.get(name, "x")
        assert by_name(single_changes(base, diagnosis((cause, where)), calibrated=True)).keys() >= {name}, cause
    dynamic = Scheme.model_validate({"name": "d", "kind": "int8-dynamic"})
    mends = single_changes(dynamic, diagnosis((Cause.BATCH_DEPENDENT_SCALES, "outputs")), calibrated=True)
    assert mends[0].options["kind"] == "int8-static"
    assert "static" not in by_name(single_changes(dynamic, diagnosis(), calibrated=False))


def test_all_mends_answer_each_cause_of_a_loss_once() -> None:
    found = diagnosis(
        (Cause.MASK_CONSTANT_STRETCHES_RANGE, "mask"),
        (Cause.PER_TENSOR_WEIGHTS, "proj"),
        (Cause.UNFUSED_QDQ, "QuantizeLinear"),
    )
    assert [one.name for one in all_mends(scheme(per_channel=False), found, calibrated=True)] == [
        "mask-float",
        "per-channel",
    ]


def test_parts_that_cost_most_are_left_in_float_one_after_the_other() -> None:
    nodes = [Part("node", f"/n{i}", "MatMul", (f"/n{i}",)) for i in range(6)]
    types = [Part("op-type", name, name, (f"/{name}",)) for name in ("Softmax", "Add")]
    tried = [(types[0], 0.5), (types[1], 0.1), (nodes[3], 0.4), (nodes[0], 0.2)]
    sensitivity = Sensitivity(
        metric="top-1", unit="fraction", confidence=0.95, n=10, candidate_loss=0.5, time_limit_s=1.0, spent_s=1.0,
        trials=tuple(Trial(part, "left-in-float", 0.1, loss=lost) for part, lost in tried),
        not_tried=tuple(Attempt(nodes[i], "left-in-float") for i in (5, 1, 2, 4)),
    )  # fmt: skip
    changes = by_name(single_changes(scheme(), diagnosis(sensitivity=sensitivity), calibrated=True))
    assert changes["Softmax-float"] == {"op_types_kept_float": ["Softmax"]}
    assert changes["Softmax+Add-float"] == {"op_types_kept_float": ["Softmax", "Add"]}
    assert changes["1-float"] == {"nodes_kept_float": ["/n3"]}
    assert changes["2-float"] == {"nodes_kept_float": ["/n3", "/n0"]}
    assert "4-float" not in changes  # more than half of them


def test_what_loses_nothing_is_tried_faster() -> None:
    assert "per-tensor" in by_name(usual_changes(scheme()))
    assert "percentile" not in by_name(usual_changes(Scheme.model_validate({"name": "d", "kind": "int8-dynamic"})))


@pytest.mark.parametrize(
    ("kernel", "op_type"),
    [
        ("QGemm", "Gemm"), ("QLinearConv", "Conv"), ("QLinearMatMul", "MatMul"), ("MatMulInteger", "MatMul"),
        ("MatMulIntegerToFloat", "MatMul"), ("DynamicQuantizeMatMul", "MatMul"), ("ConvInteger", "Conv"),
        ("Conv", "Conv"),
    ],
)  # fmt: skip
def test_what_is_left_in_float_is_an_op_type_of_the_model(kernel: str, op_type: str) -> None:
    found = by_name(single_changes(scheme(), diagnosis((Cause.SLOW_INTEGER_KERNEL, kernel)), calibrated=True))
    assert found[f"{op_type.lower()}-float"] == {"op_types_kept_float": [op_type]}
