"""Weights in blocks, unpacked again by NumPy and compared with the float ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from lynxbench.errors import CellError
from lynxbench.quantization import build_artifact, supported, why_unsupported
from tests.quantization.models import MODELS, Maker, info, saved, scheme
from tests.quantization.test_build import Built


def unpacked(built: Built, node: Any) -> np.ndarray[Any, Any]:
    """What a MatMulNBits node multiplies by, [K, N]: (value - zero point) * scale, block by block down each column."""
    given = {item.name: item.i for item in node.attribute}
    bits, size, rows, columns = given["bits"], given["block_size"], given["K"], given["N"]
    blocks = -(-rows // size)

    def fields(packed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if bits == 8:
            return packed.astype(np.int64)
        return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1).astype(np.int64)

    values = fields(built.array(node.input[1])).reshape(columns, blocks, size)
    scales = built.array(node.input[2]).reshape(columns, blocks, 1)
    points: Any = 1 << (bits - 1)
    if len(node.input) > 3 and node.input[3]:
        stored = built.array(node.input[3])
        if stored.dtype == np.uint8:
            points = fields(stored.reshape(columns, -1))[:, :blocks, None]
        else:
            points = stored.reshape(columns, blocks, 1)
    whole = ((values - points) * scales).reshape(columns, -1)[:, :rows]
    return np.asarray(whole.T, dtype=np.float32)


def weights_of(folder: Path, name: str) -> dict[str, Any]:
    model = onnx.load(folder / f"{name}.onnx")
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block_size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_weight_is_within_half_a_step(bits: int, block_size: int, symmetric: bool, tmp_path: Path) -> None:
    options = {"bits": bits, "block_size": block_size, "symmetric_weights": symmetric}
    built = Built(tmp_path, "transformer", scheme("weights-only", **options))
    nodes, floats = built.nodes("MatMulNBits"), weights_of(tmp_path, "transformer")
    assert built.manifest.nodes_quantized == len(nodes) == 6  # those of two activations stay
    assert built.op_types.count("MatMul") == 2
    for node in nodes:
        assert {item.name: item.i for item in node.attribute}["block_size"] == block_size
        assert (len(node.input) < 4) == symmetric
        weight, found = floats[node.input[1].rsplit("_", 1)[0]], unpacked(built, node)
        scales = built.array(node.input[2]).reshape(weight.shape[1], -1)
        step = np.repeat(np.abs(scales), block_size, axis=1)[:, : weight.shape[0]].T
        # A symmetric range reaches one step further on one side; a zero point is rounded, too.
        np.testing.assert_array_less(np.abs(found - weight), 1.001 * step + 1e-6)
        assert np.abs(found - weight).mean() < 0.35 * step.mean()
    assert built.likeness() > (0.95 if bits == 4 else 0.999)


@pytest.mark.parametrize("algorithm", ["rtn", "hqq", "gptq"])
@pytest.mark.parametrize("name", MODELS)
def test_the_artifact_computes_what_the_unpacked_weights_do(algorithm: str, name: str, tmp_path: Path) -> None:
    if algorithm == "hqq":
        pytest.importorskip("torch")
    built = Built(tmp_path, name, scheme("weights-only", algorithm=algorithm, block_size=32))
    assert built.manifest.options["algorithm"] == algorithm
    floats = onnx.ModelProto()
    floats.CopyFrom(built.model)
    for node in floats.graph.node:
        if node.op_type == "MatMulNBits":
            found = unpacked(built, node)
            floats.graph.initializer.append(numpy_helper.from_array(found, f"{node.name}_float"))
            node.op_type, node.domain, node.input[1] = "MatMul", "", f"{node.name}_float"
            del node.input[2:], node.attribute[:]
    ONNXModel(floats).clean_initializers()
    feed = MODELS[name][1](seed=9)[0]
    ours, wanted = (
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0] for model in (built.model, floats)
    )
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)
    assert built.likeness() > 0.95
    calibrated = built.manifest.calibration
    assert calibrated == (None if algorithm != "gptq" else {"digest": "d" * 64, "count": 24, "method": "gptq"})
    # No float weight is left behind.
    read = {name for node in built.model.graph.node for name in node.input}
    assert set(built.constants) <= read


def test_accuracy_level_is_written_and_moves_the_result(tmp_path: Path) -> None:
    levels = {}
    for level in (None, 1, 4):
        options = {} if level is None else {"accuracy_level": level}
        built = Built(tmp_path, "transformer", scheme("weights-only", **options))
        found = {item.name: item.i for item in built.nodes("MatMulNBits")[0].attribute}
        assert found.get("accuracy_level") == level
        levels[level] = built.likeness()
    assert levels[None] == levels[1] != levels[4]


@pytest.mark.parametrize("symmetric", [True, False])
def test_embeddings(symmetric: bool, tmp_path: Path) -> None:
    options = {"op_types": ("MatMul", "Gather"), "block_size": 16, "symmetric_weights": symmetric}
    built = Built(tmp_path, "transformer", scheme("weights-only", **options))
    assert built.manifest.nodes_quantized == 7
    (node,) = built.nodes("GatherBlockQuantized")
    values = numpy_helper.to_array(built.constants[node.input[0]]).astype(np.float32)
    points = 0.0 if symmetric else numpy_helper.to_array(built.constants[node.input[3]]).astype(np.float32)
    scales = built.array(node.input[2])
    table = weights_of(tmp_path, "transformer")[node.input[0].removesuffix("_Q4")]
    assert np.abs((values - points) * scales - table).max() <= 1.001 * np.abs(scales).max()
    assert built.likeness() > 0.93


def test_nodes_kept_float(tmp_path: Path) -> None:
    whole = Built(tmp_path, "transformer", scheme("weights-only"))
    kept = whole.nodes("MatMulNBits")[0].name.removesuffix("_Q4")
    built = Built(tmp_path, "transformer", scheme("weights-only", nodes_kept_float=(kept,)))
    assert built.manifest.nodes_quantized == 5
    assert kept in {node.name for node in built.nodes("MatMul")}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"algorithm": "hqq", "bits": 8}, "8 bits"),
        ({"algorithm": "gptq", "bits": 8}, "4 bits only"),
        ({"algorithm": "gptq", "symmetric_weights": False}, "symmetric_weights"),
        ({"algorithm": "gptq", "nodes_kept_float": ("a",)}, "no node in float"),
        ({"op_types": ("Conv",)}, "op type 'Conv'"),
        ({"op_types": "all", "bits": 8}, "4 bits by rtn only"),
        ({"op_types": ("Gather",), "algorithm": "gptq"}, "4 bits by rtn only"),
    ],
)
def test_what_cannot_be_had_is_said_before_any_work(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    wanted = scheme("weights-only", **options)
    assert why in (why_unsupported(wanted) or "")
    with pytest.raises(CellError, match="unsupported"):
        build_artifact(tmp_path / "not looked at", wanted, tmp_path / "out", calibration=None)


def test_hqq_without_pytorch_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supported.importlib.util, "find_spec", lambda name: None)
    assert "pip install torch" in (why_unsupported(scheme("weights-only", algorithm="hqq")) or "")


def test_gptq_needs_calibration(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, "mlp")
    wanted = scheme("weights-only", algorithm="gptq")
    assert wanted.needs_calibration
    assert not scheme("weights-only").needs_calibration
    with pytest.raises(CellError, match="needs a calibration set"):
        build_artifact(model, wanted, tmp_path / "out.onnx", calibration=None)


def test_nothing_to_quantize_and_twice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, _ = saved(tmp_path, "transformer")
    build_artifact(model, scheme("weights-only"), tmp_path / "once.onnx", calibration=None)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(CellError, match="quantized already"):
        build_artifact(tmp_path / "once.onnx", scheme("weights-only"), tmp_path / "twice.onnx", calibration=None)
    model, _ = saved(tmp_path, "conv")
    wanted = scheme("weights-only", op_types=("Gather",))
    with pytest.raises(CellError, match="changed no node"):
        build_artifact(model, wanted, tmp_path / "out.onnx", calibration=None)


def test_embeddings_raise_the_opset_of_the_whole_model(tmp_path: Path) -> None:
    """ReduceMean's axes became an input in opset 18; int4 came in 21."""
    make = Maker()
    rows = make.op("Gather", make.weight(40, 16), "ids")
    mean = make.op("ReduceMean", make.op("MatMul", rows, make.weight(16, 8)), axes=[1])
    ids = info("ids", ["n", "tokens"], onnx.TensorProto.INT64)
    onnx.save(make.model([ids], [info(mean, ["n", 1, 8])]), tmp_path / "model.onnx")
    wanted = scheme("weights-only", op_types="all", block_size=16)
    manifest = build_artifact(tmp_path / "model.onnx", wanted, tmp_path / "out.onnx", calibration=None)
    assert (manifest.nodes_quantized, manifest.ran) == (2, True)
    # Where no table is to be quantized, nothing is raised.
    model, _ = saved(tmp_path, "mlp")
    build_artifact(model, wanted, tmp_path / "out.onnx", calibration=None)
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == 17
