"""Streamed ranges against ONNX Runtime's calibrators, which see every activation at once."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import calibrate
from onnxruntime.quantization.base_quantizer import BaseQuantizer

from lynxbench.errors import CellError
from lynxbench.quantization.calibration import CalibrationData
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


def onnxruntimes(
    folder: Path, model: Any, feeds: list[Feed], op_types: list[str], calibrater: Any, **options: Any
) -> dict[str, tuple[float, float]]:
    """What ONNX Runtime's calibrator finds, and its quantizer then makes of it."""
    path = folder / "prepared.onnx"
    onnx.save(model, path)
    iterator = iter(feeds)
    reader = type("Reader", (), {"get_next": lambda self: next(iterator, None)})()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = calibrater(path, op_types, str(folder / "augmented.onnx"), **options)
        theirs.augment_graph()
        theirs.create_inference_session()
        theirs.collect_data(reader)
        found = theirs.compute_data()
    quantizer = BaseQuantizer(model, False, False, None, None, found, None, None, op_types, {})
    quantizer.adjust_tensor_ranges()
    return {name: tuple(float(np.ravel(end)[0]) for end in item.range_value) for name, item in found.items()}


@pytest.mark.parametrize("name", MODELS)
def test_minmax_equals_onnxruntimes_to_the_bit(name: str, tmp_path: Path) -> None:
    make, feeds = MODELS[name]
    model = prepared(tmp_path, make())
    ours = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds()), method="minmax")
    assert ours.ranges == onnxruntimes(tmp_path, model, feeds(), OP_TYPES, calibrate.MinMaxCalibrater)
    assert not ours.undefined


# Its entropy search takes a second a tensor, so it gets few.
FEW = {"conv": ["Gemm", "GlobalAveragePool"], "mlp": ["Tanh"], "transformer": ["Softmax", "Tanh"]}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_histogram_methods_equal_onnxruntimes_within_a_bin(name: str, method: str, tmp_path: Path) -> None:
    make, feeds = MODELS[name]
    model = prepared(tmp_path, make())
    if method == "percentile":
        op_types, calibrater, options = OP_TYPES, calibrate.PercentileCalibrater, {"percentile": 99.0}
    else:
        op_types, calibrater, options = FEW[name], calibrate.EntropyCalibrater, {"num_bins": BINS}
    observed = observation(model, op_types)
    widest = calibrated_ranges(model, observed, data(feeds()), method="minmax")
    ours = calibrated_ranges(model, observed, data(feeds()), method=method, percentile=99.0)
    theirs = onnxruntimes(tmp_path, model, feeds(), op_types, calibrater, **options)
    assert set(ours.ranges) == set(theirs)
    for tensor, ends in theirs.items():
        bin_width = 2 * max(-widest.ranges[tensor][0], widest.ranges[tensor][1]) / BINS
        np.testing.assert_allclose(ours.ranges[tensor], ends, rtol=0, atol=1.001 * bin_width, err_msg=tensor)


def test_methods_differ() -> None:
    feeds = MODELS["conv"][1](count=64)
    feeds[0]["x"][0, 0, 0, 0] = 40.0
    with tempfile.TemporaryDirectory() as folder:
        model = prepared(Path(folder), models.conv_net())
    observed = observation(model, OP_TYPES)
    found = {
        method: calibrated_ranges(model, observed, data(feeds), method=method, percentile=99.0).ranges["x"]
        for method in ("minmax", "percentile", "entropy")
    }
    assert found["minmax"][1] == 40.0
    assert found["entropy"][1] < 10
    assert found["percentile"][1] < 10
    assert len(set(found.values())) == 3


def test_batches_of_any_size_give_the_same_ranges(tmp_path: Path) -> None:
    model = prepared(tmp_path, models.transformer())
    observed = observation(model, ["MatMul", "Gather"])
    ids = texts(24, batch=24)[0]["ids"]
    whole = [{"ids": ids}]
    single = [{"ids": ids[index : index + 1]} for index in range(24)]
    # Not entropy: between 2,304 values in 2,048 bins it decides by the last digit, as ONNX Runtime's does.
    for method in ("minmax", "percentile"):
        one, many = (
            calibrated_ranges(model, observed, data(feeds), method=method, percentile=99.0).ranges
            for feeds in (whole, single)
        )
        assert set(one) == set(many)
        for name, ends in one.items():
            np.testing.assert_allclose(many[name], ends, rtol=0, atol=2e-3 * max(1.0, abs(ends[0]), ends[1]))


def test_texts_of_different_lengths(tmp_path: Path) -> None:
    model = prepared(tmp_path, models.transformer())
    feeds = texts(48, batch=4, lengths=(3, 9, 1, 6))
    for method in ("minmax", "percentile", "entropy"):
        found = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds), method=method, percentile=99.9)
        assert found.ranges
        assert not found.undefined


def test_activations_beyond_the_bound_are_read_in_several_passes(tmp_path: Path) -> None:
    model, feeds = prepared(tmp_path, models.conv_net()), models.pixels()
    tensors = observation(model, OP_TYPES).tensors
    reads = []

    def again() -> Any:
        reads.append(1)
        return iter(feeds)

    counted = {}
    for bound in (1 << 30, 20_000):
        reading = Reading(model, CalibrationData(again, 24, "d"), activation_bytes=bound)
        extremes = find_extremes(reading, tensors)
        reads.clear()
        counted[bound] = count_values(reading, tensors, extremes)
        assert len(reads) == 1 if bound == 1 << 30 else len(reads) > 2
    np.testing.assert_array_equal(counted[1 << 30], counted[20_000])


def test_unlike_batches_are_counted_again(tmp_path: Path) -> None:
    """When the first batch does not tell where a percentile falls, the answer is still that of all values at once."""
    model = prepared(tmp_path, models.mlp())
    rng = np.random.default_rng(0)
    feeds = [{"x": (rng.standard_normal((50, 10)) * scale).astype(np.float32)} for scale in (20.0, *[0.01] * 60)]
    ours = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds), method="percentile", percentile=98.0)
    theirs = onnxruntimes(tmp_path, model, feeds, OP_TYPES, calibrate.PercentileCalibrater, percentile=98.0)
    width = 2 * max(np.abs(feed["x"]).max() for feed in feeds) / BINS
    np.testing.assert_allclose(ours.ranges["x"], theirs["x"], rtol=0, atol=1.001 * width)


def with_infinity() -> onnx.ModelProto:
    """`x` [n, 4], of which what is below zero becomes -inf, and a MatMul beside."""
    make = Maker()
    mask = make.op("Where", make.op("Less", "x", make.constant(np.float32(0))), make.constant(np.float32(-np.inf)), "x")
    masked = make.op("Add", mask, make.weight(4))
    product = make.op("MatMul", "x", make.weight(4, 3))
    return make.model([info("x", ["n", 4])], [info(masked, ["n", 4]), info(product, ["n", 3])])


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_a_tensor_with_infinities_has_no_range(method: str, tmp_path: Path) -> None:
    model = prepared(tmp_path, with_infinity())
    feeds = [{"x": np.array([[-1, 2, 3, 4]], dtype=np.float32)}]
    found = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds), method=method, percentile=99.0)
    assert found.ranges["x"][0] <= 0
    assert set(found.undefined.values()) == {"it held an infinity"}
    assert not set(found.undefined) & set(found.ranges)


def test_empty_tensors_wait_for_a_batch_that_fills_them(tmp_path: Path) -> None:
    make = Maker()
    joined = make.op("Concat", "past", make.op("MatMul", "x", make.weight(4, 4)), axis=1)
    graph_inputs = [info("x", [1, "n", 4]), info("past", [1, "p", 4])]
    model = prepared(tmp_path, make.model(graph_inputs, [info(joined, [1, "all", 4])]))
    observed = observation(model, OP_TYPES)
    x = np.ones((1, 2, 4), dtype=np.float32)
    none, some = np.empty((1, 0, 4), dtype=np.float32), np.full((1, 3, 4), -2.0, dtype=np.float32)
    for method in ("minmax", "percentile"):
        alone = calibrated_ranges(model, observed, data([{"x": x, "past": none}]), method=method, percentile=100.0)
        assert alone.undefined["past"] == "it held no number in any batch"
        feeds = [{"x": x, "past": none}, {"x": x, "past": some}]
        assert calibrated_ranges(model, observed, data(feeds), method=method, percentile=100.0).ranges["past"] == (
            -2,
            -2,
        )


def test_all_zeros_has_the_range_zero(tmp_path: Path) -> None:
    model = prepared(tmp_path, models.mlp())
    feeds = [{"x": np.zeros((2, 10), dtype=np.float32)}]
    for method in ("minmax", "percentile", "entropy"):
        found = calibrated_ranges(model, observation(model, OP_TYPES), data(feeds), method=method, percentile=99.0)
        assert found.ranges["x"] == (0.0, 0.0)


def test_no_batch_and_missing_inputs_are_said(tmp_path: Path) -> None:
    model = prepared(tmp_path, models.mlp())
    observed = observation(model, OP_TYPES)
    with pytest.raises(CellError, match="yields no batch"):
        calibrated_ranges(model, observed, data([]), method="minmax")
    with pytest.raises(CellError, match="batch 0 has no input x"):
        calibrated_ranges(model, observed, data([{"y": np.zeros((1, 10), dtype=np.float32)}]), method="minmax")
    feeds = [{"x": np.zeros((1, width), dtype=np.float32)} for width in (10, 11)]
    with pytest.raises(CellError, match="calibration batch 1"):
        calibrated_ranges(model, observed, data(feeds), method="minmax")


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_passes_are_kept_and_shared(method: str, tmp_path: Path) -> None:
    model, feeds = prepared(tmp_path, models.mlp()), models.rows()
    observed, cache = observation(model, OP_TYPES), Kept(tmp_path / "kept", "a" * 64)
    reads = []

    def again() -> Any:
        reads.append(1)
        return iter(feeds)

    def ranges(kind: str, digest: str = "d") -> Ranges:
        kept_data = CalibrationData(again, 24, digest)
        return calibrated_ranges(model, observed, kept_data, method=kind, percentile=99.0, cache=cache)

    first = ranges(method)
    passes = 1 if method == "minmax" else 2
    assert len(reads) == passes
    assert ranges(method) == first
    assert len(reads) == passes  # nothing is read again
    ranges("minmax")
    assert len(reads) == passes  # the first pass serves every method
    ranges("minmax", digest="e")
    assert len(reads) == passes + 1  # other data
    for path in cache.folder.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert ranges(method) == first
    assert len(reads) == 2 * passes + 1  # damage is found


def test_threads_change_nothing_but_time(tmp_path: Path) -> None:
    model, feeds = prepared(tmp_path, models.conv_net()), models.pixels()
    observed = observation(model, OP_TYPES)
    for method in ("minmax", "percentile"):
        one, two = (
            calibrated_ranges(model, observed, data(feeds), method=method, percentile=99.0, threads=threads).ranges
            for threads in (1, 2)
        )
        for name, ends in one.items():
            np.testing.assert_allclose(two[name], ends, rtol=1e-5, atol=1e-5)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    """Peak of a process that streams, beyond what it held before: with eight times the samples not a third more."""
    onnx.save(prepared(tmp_path, models.conv_net()), tmp_path / "model.onnx")
    for method in ("minmax", "percentile", "entropy"):
        few, many = (peak_of_calibration(tmp_path / "model.onnx", method, batches) for batches in (8, 64))
        # All activations of the many would take 70 MB more than those of the few.
        assert many < few * 1.3 + 4e6, (method, few, many)


def peak_of_calibration(model: Path, method: str, batches: int) -> float:
    code = f"""
import numpy as np, onnx, re
from pathlib import Path
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.observe import observation
from lynxbench.quantization.ranges import calibrated_ranges
model = onnx.load({str(model)!r})
observed = observation(model, {OP_TYPES!r})
rng = np.random.default_rng(0)
def feeds():
    for _ in range({batches}):
        yield {{"x": rng.standard_normal((128, 3, {models.PIXELS}, {models.PIXELS}), dtype=np.float32)}}
def status(key):
    return int(re.search(key + ":[^0-9]+([0-9]+)", Path("/proc/self/status").read_text())[1]) * 1024
data = CalibrationData(feeds, 0, "d")
import onnxruntime
before = status("VmRSS")
calibrated_ranges(model, observed, data, method={method!r}, percentile=99.0)
print(status("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)
