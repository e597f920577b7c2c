"""Streamed ranges against ONNX Runtime's calibrators, which see every activation at once."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.quantization import calibrate

from lynxbench.errors import CellError
from lynxbench.quantization.collect import Reading, count_values, find_extremes
from lynxbench.quantization.convert import quantizable_op_types
from lynxbench.quantization.histogram import BINS
from lynxbench.quantization.observe import observation
from lynxbench.quantization.prepare import prepared_model
from lynxbench.quantization.ranges import Kept, Ranges, calibrated_ranges
from tests.quantization import models
from tests.quantization.models import MODELS, Feed, Maker, data, info, scheme, texts

OP_TYPES = sorted(quantizable_op_types(scheme("int8-static")))


def prepared(folder: Path, model: onnx.ModelProto) -> Any:
    path = folder / "source.onnx"
    onnx.save(model, path)
    return prepared_model(path, "", None)[0]


def onnxruntimes(folder: Path, model: Any, feeds: list[Feed], calibrater: Any, **options: Any) -> dict[str, tuple[float, float]]:
    path = folder / "prepared.onnx"
    onnx.save(model, path)
    iterator = iter(feeds)
    reader = type("Reader", (), {"get_next": lambda self: next(iterator, None)})()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = calibrater(path, OP_TYPES, str(folder / "augmented.onnx"), **options)
        theirs.augment_graph()
        theirs.create_inference_session()
        theirs.collect_data(reader)
        found = theirs.compute_data()
    return {name: tuple(float(np.ravel(end)[0]) for end in item.range_value) for name, item in found.items()}


@pytest.mark.parametrize("name", MODELS)
def test_minmax_equals_onnxruntimes_to_the_bit(name: str, tmp_path: Path) -> None:
    make, feeds = MODELS[name]
    model = prepared(tmp_path, make())
    observed = observation(model, OP_TYPES)
    ours = calibrated_ranges(model, observed, data(feeds()), method="minmax")
    theirs = onnxruntimes(tmp_path, model, feeds(), calibrate.MinMaxCalibrater)
    assert set(observed.derived) | set(observed.fixed) == set(theirs)
    for tensor in looked_at(observed):
        assert ours.ranges[tensor] == theirs[tensor], tensor


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("method", "calibrater", "options"),
    [
        ("percentile", calibrate.PercentileCalibrater, {"percentile": 99.0}),
        ("entropy", calibrate.EntropyCalibrater, {"num_bins": BINS}),
    ],
)
def test_histogram_methods_equal_onnxruntimes_within_a_bin(
    name: str, method: str, calibrater: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    make, feeds = MODELS[name]
    # Its entropy search takes a second a tensor.
    op_types = OP_TYPES if method == "percentile" else ["Gemm", "Softmax"] if name == "conv" else ["Tanh"]
    model = prepared(tmp_path, make())
    observed = observation(model, op_types)
    extremes = calibrated_ranges(model, observed, data(feeds()), method="minmax")
    ours = calibrated_ranges(model, observed, data(feeds()), method=method, percentile=options.get("percentile"))
    if method == "entropy":
        kept = [item.root for item in observed.derived.values()]
        model = only(model, kept)
    theirs = onnxruntimes(tmp_path, model, feeds(), calibrater, **options)
    compared = [tensor for tensor in looked_at(observed) if tensor in theirs]
    assert compared
    for tensor in compared:
        width = 2 * max(-extremes.ranges[tensor][0], extremes.ranges[tensor][1]) / BINS
        np.testing.assert_allclose(ours.ranges[tensor], theirs[tensor], atol=1.001 * width, err_msg=tensor)


def looked_at(observed: Any) -> list[str]:
    """Tensors whose own values decide; what a Relu reads has by agreement the range of what it writes."""
    replaced = {"Conv"}
    return [name for name, item in observed.derived.items() if item.root == name or item.steps] if replaced else []


def only(model: Any, tensors: list[str]) -> Any:
    """The model with value types for `tensors` alone, so that ONNX Runtime looks at no others."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    kept = [item for item in cut.graph.value_info if item.name in tensors]
    del cut.graph.value_info[:]
    cut.graph.value_info.extend(kept)
    return cut
