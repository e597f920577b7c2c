"""Moving averages and distributions against ONNX Runtime's calibrators; symmetric ranges and other types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from onnxruntime.quantization import calibrate

from lynxbench.quantization import build_artifact, why_unsupported
from lynxbench.quantization.histogram import BINS
from lynxbench.quantization.observe import observation
from lynxbench.quantization.ranges import calibrated_ranges
from tests.quantization import models
from tests.quantization.models import MODELS, Feed, data, scheme, texts
from tests.quantization.test_build import Built
from tests.quantization.test_ranges import OP_TYPES, onnxruntimes, peak_of_calibration, prepared


class BatchByBatch(calibrate.MinMaxCalibrater):  # type: ignore[misc]
    """ONNX Runtime's moving average moves between calls, and takes the plain mean within one."""

    def collect_data(self, data_reader: Any) -> None:
        while batch := data_reader.get_next():
            one = iter([batch])
            super().collect_data(type("One", (), {"get_next": lambda self, one=one: next(one, None)})())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("constant", [0.01, 0.5, 1.0])
def test_moving_average_equals_onnxruntimes(name: str, constant: float, tmp_path: Path) -> None:
    make, feeds = MODELS[name]
    model, batches = prepared(tmp_path, make()), feeds(count=48)
    ours = calibrated_ranges(
        model, observation(model, OP_TYPES), data(batches), method="moving-average", averaging_constant=constant
    )
    options = {"moving_average": True, "averaging_constant": constant}
    theirs = onnxruntimes(tmp_path, model, batches, OP_TYPES, BatchByBatch, **options)
    assert set(ours.ranges) == set(theirs)
    for tensor, ends in theirs.items():
        np.testing.assert_allclose(ours.ranges[tensor], ends, rtol=1e-5, atol=1e-6, err_msg=tensor)


def test_moving_average_by_hand() -> None:
    """Of the input, whose batches are known: 1, then a half of the way to 3, then a half of the way to 0."""
    feeds: list[Feed] = [{"x": np.full((1, 10), value, dtype=np.float32)} for value in (1, 3, 0)]
    model = models.mlp()
    observed = observation(model, ["MatMul"])
    found = calibrated_ranges(model, observed, data(feeds), method="moving-average", averaging_constant=0.5)
    assert found.ranges["x"] == (1.0, 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_distribution_equals_onnxruntimes_fed_all_at_once(name: str, tmp_path: Path) -> None:
    make, feeds = MODELS[name]
    model = prepared(tmp_path, make())
    ours = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds()), method="distribution")
    theirs = onnxruntimes(tmp_path, model, feeds(), OP_TYPES, calibrate.DistributionCalibrater, num_bins=BINS)
    assert set(ours.ranges) == set(theirs)
    for tensor, ends in theirs.items():
        np.testing.assert_allclose(ours.ranges[tensor], ends, rtol=1e-6, err_msg=tensor)


@pytest.mark.parametrize("method", ["moving-average", "distribution"])
def test_texts_of_different_lengths(method: str, tmp_path: Path) -> None:
    model = prepared(tmp_path, models.transformer())
    feeds = texts(48, batch=4, lengths=(3, 9, 1, 6))
    assert not calibrated_ranges(model, observation(model, OP_TYPES), data(feeds), method=method).undefined


def test_empty_batches_do_not_move_an_average(tmp_path: Path) -> None:
    make = models.Maker()
    joined = make.op("Concat", "past", make.op("MatMul", "x", make.weight(4, 4)), axis=1)
    graph_inputs = [models.info("x", [1, "n", 4]), models.info("past", [1, "p", 4])]
    model = prepared(tmp_path, make.model(graph_inputs, [models.info(joined, [1, "all", 4])]))
    x = np.ones((1, 2, 4), dtype=np.float32)
    none, two, four = (np.full((1, size, 4), size, dtype=np.float32) for size in (0, 2, 4))
    feeds = [{"x": x, "past": past} for past in (none, two, none, four, none)]
    observed = observation(model, OP_TYPES)
    found = calibrated_ranges(model, observed, data(feeds), method="moving-average", averaging_constant=0.25)
    assert found.ranges["past"] == (2.5, 2.5)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    import onnx

    onnx.save(prepared(tmp_path, models.conv_net()), tmp_path / "model.onnx")
    few, many = (peak_of_calibration(tmp_path / "model.onnx", "moving-average", batches) for batches in (8, 64))
    assert many < few * 1.3 + 4e6


@pytest.mark.parametrize(("activation_type", "middle"), [("uint8", 128), ("int8", 0)])
def test_symmetric_activations_have_zero_in_the_middle(activation_type: str, middle: int, tmp_path: Path) -> None:
    options = {"activation_type": activation_type, "symmetric_activations": True}
    built = Built(tmp_path, "conv", scheme("int8-static", **options))
    points = {int(built.array(node.input[2])) for node in built.nodes("QuantizeLinear")}
    assert points == {middle}
    largest = max(np.abs(feed["x"]).max() for feed in models.pixels())
    assert float(built.array("x_scale")) == pytest.approx(
        largest / 127, rel=1e-3 if activation_type == "int8" else 0.01
    )


@pytest.mark.parametrize("weight_type", ["int8", "uint8"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_symmetric_weights_have_zero_in_the_middle(weight_type: str, symmetric: bool, tmp_path: Path) -> None:
    wanted = scheme("int8-static", weight_type=weight_type, symmetric_weights=symmetric, per_channel=False)
    built = Built(tmp_path, "mlp", wanted)
    middle = 0 if weight_type == "int8" else 128
    points = {int(built.array(built.makers[node.input[1]].input[2])) for node in built.nodes("Gemm")}
    assert (points == {middle}) == symmetric
    assert built.likeness() > 0.98


def test_saying_what_is_so_anyway_is_the_same_scheme() -> None:
    plain = scheme("int8-static")
    said = scheme("int8-static", symmetric_weights=True, symmetric_activations=False, nodes_kept_float=())
    assert said == plain
    assert scheme("int8-static", weight_type="uint8", symmetric_weights=False) == scheme(
        "int8-static", weight_type="uint8"
    )
    assert scheme("int8-static", symmetric_weights=False).options()["symmetric_weights"] is False


@pytest.mark.parametrize("activation_type", ["uint16", "int16"])
@pytest.mark.parametrize("name", MODELS)
def test_16_bit_activations_are_nearer(name: str, activation_type: str, tmp_path: Path) -> None:
    options = {"weight_type": "int16", "method": "minmax"}
    built = Built(tmp_path, name, scheme("int8-static", activation_type=activation_type, **options))
    assert built.activation_types() == {getattr(TensorProto, activation_type.upper())}
    assert built.likeness() > 0.997
    assert why_unsupported(scheme("int8-static", activation_type=activation_type, format="qoperator")) is not None


@pytest.mark.parametrize(("weight_type", "bits"), [("int4", 4), ("uint4", 4), ("int16", 16), ("uint16", 16)])
def test_weights_of_other_widths(weight_type: str, bits: int, tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("int8-static", weight_type=weight_type))
    for node in built.nodes("Conv"):
        tensor = built.constants[built.makers[node.input[1]].input[0]]
        assert tensor.data_type == getattr(TensorProto, weight_type.upper())
        assert len(tensor.raw_data) * 8 == bits * int(np.prod(tensor.dims))
    assert built.likeness() > 0.97
    assert why_unsupported(scheme("int8-static", weight_type=weight_type, format="qoperator")) is not None


def test_a_distribution_leaves_the_relus_in_place(tmp_path: Path) -> None:
    """ONNX Runtime removes a Relu before a quantized tensor, whose range is taken to end at zero: here it does not."""
    path, calibration = models.saved(tmp_path, "conv")
    errors = {}
    for method in ("minmax", "distribution"):
        out = tmp_path / f"{method}.onnx"
        build_artifact(path, scheme("int8-static", method=method), out, calibration=calibration)
        difference = 0.0
        for feed in calibration.feeds():
            wanted, given = (onnxruntime.InferenceSession(str(file)).run(None, feed)[0] for file in (path, out))
            difference = max(difference, float(np.abs(wanted - given).max() / np.abs(wanted).max()))
        errors[method] = difference
    # One bit of eight goes to the empty half.
    assert errors["distribution"] < 4 * errors["minmax"] + 0.01
