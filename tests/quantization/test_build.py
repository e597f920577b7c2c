"""Every option, read back from the model file that was written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from lynxbench.execution import host_facts, products_saturate
from lynxbench.quantization import CalibrationData, Manifest, build_artifact
from lynxbench.specs.scheme import Scheme
from tests.quantization.models import MODELS, data, saved, scheme

UINT8, INT8 = TensorProto.UINT8, TensorProto.INT8


class Built:
    """An artifact, opened again."""

    def __init__(self, folder: Path, name: str, wanted: Scheme) -> None:
        self.source, calibration = saved(folder, name)
        path = folder / "out" / "artifact.onnx"
        self.manifest = build_artifact(self.source, wanted, path, calibration=calibration)
        self.path, self.model = path, onnx.load(path)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.makers = {name: node for node in self.model.graph.node for name in node.output}
        self.op_types = [node.op_type for node in self.model.graph.node]

    def array(self, name: str) -> np.ndarray[Any, Any]:
        return numpy_helper.to_array(self.constants[name])

    def nodes(self, op_type: str) -> list[Any]:
        return [node for node in self.model.graph.node if node.op_type == op_type]

    def dequantized(self, node: Any) -> list[Any]:
        """The DequantizeLinear nodes that a node reads."""
        makers = [self.makers.get(name) for name in node.input]
        return [maker for maker in makers if maker is not None and maker.op_type == "DequantizeLinear"]

    def weight_of(self, node: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The quantized weight behind a Conv's, Gemm's or MatMul's second input, and its scales (QDQ form)."""
        maker = self.makers[node.input[1]]
        assert maker.op_type == "DequantizeLinear"
        return self.array(maker.input[0]), self.array(maker.input[1])

    def activation_types(self) -> set[int]:
        return {self.constants[node.input[2]].data_type for node in self.nodes("QuantizeLinear")}

    def likeness(self) -> float:
        """Cosine between the artifact's and the source's answers to unseen data."""
        feed = MODELS[self.source.stem][1](seed=9)[0]
        answers = []
        for path in (self.source, self.path):
            session = onnxruntime.InferenceSession(path)
            types = {item.name: item.type for item in session.get_inputs()}
            cast = {n: a.astype(np.float16) if types[n] == "tensor(float16)" else a for n, a in feed.items()}
            answers.append(session.run(None, cast)[0].astype(np.float64).ravel())
        return float(answers[0] @ answers[1] / np.linalg.norm(answers[0]) / np.linalg.norm(answers[1]))


@pytest.mark.parametrize("name", MODELS)
def test_fp32_is_the_file_itself(name: str, tmp_path: Path) -> None:
    built = Built(tmp_path, name, scheme("fp32"))
    assert built.path.read_bytes() == built.source.read_bytes()
    assert built.manifest.artifact_sha256 == built.manifest.model_sha256
    assert built.manifest.nodes_quantized == 0
    assert built.manifest.calibration is None


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keep_io_types", [True, False])
def test_fp16(name: str, keep_io_types: bool, tmp_path: Path) -> None:
    built = Built(tmp_path, name, scheme("fp16", keep_io_types=keep_io_types))
    floats = [item for item in built.constants.values() if item.data_type == TensorProto.FLOAT]
    assert not floats
    assert any(item.data_type == TensorProto.FLOAT16 for item in built.constants.values())
    wanted = TensorProto.FLOAT if keep_io_types else TensorProto.FLOAT16
    edge = [*built.model.graph.output, *(item for item in built.model.graph.input if item.name != "ids")]
    assert {item.type.tensor_type.elem_type for item in edge} == {wanted}
    assert built.manifest.nodes_quantized > 0
    assert built.likeness() > 0.9999


def test_fp16_keeps_op_types_float(tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("fp16", op_types_kept_float=("Conv", "LSTM")))
    for node in built.nodes("Conv"):
        assert built.constants[node.input[1]].data_type == TensorProto.FLOAT
    (gemm,) = built.nodes("Gemm")
    assert built.constants[gemm.input[1]].data_type == TensorProto.FLOAT16
    assert built.manifest.warnings == ("op_types_kept_float: the model has no LSTM",)


@pytest.mark.parametrize("weight_type", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_dynamic_weights(weight_type: str, per_channel: bool, tmp_path: Path) -> None:
    built = Built(tmp_path, "transformer", scheme("int8-dynamic", weight_type=weight_type, per_channel=per_channel))
    products = built.nodes("MatMulInteger")
    assert len(products) == 6  # those of two activations stay float
    assert built.op_types.count("MatMul") == 2
    assert "DynamicQuantizeLinear" in built.op_types
    for node in products:
        weight = built.constants[node.input[1]]
        assert weight.data_type == (INT8 if weight_type == "int8" else UINT8)
        scales = built.array(weight.name.replace("_quantized", "_scale"))
        assert scales.size == (weight.dims[1] if per_channel else 1)
    assert built.manifest.nodes_quantized >= 6
    # Where products saturate, full-range signed weights are another, coarser model.
    saturated = weight_type == "int8" and products_saturate(host_facts())
    assert built.likeness() > (0.9 if saturated else 0.98)


def test_dynamic_convolutions_have_one_scale_and_say_so(tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("int8-dynamic", op_types=("Conv",)))
    assert built.op_types.count("ConvInteger") == 3
    assert "Gemm" in built.op_types or "MatMul" in built.op_types
    assert any("per_channel had no effect" in warning for warning in built.manifest.warnings)


@pytest.mark.parametrize(("op_types", "products"), [(("Gemm",), 1), (("MatMul",), 0), (("MatMul", "Gemm"), 1)])
def test_dynamic_takes_gemm_and_matmul_for_what_the_model_calls_them(
    op_types: tuple[str, ...], products: int, tmp_path: Path
) -> None:
    wanted = scheme("int8-dynamic", op_types=(*op_types, "Conv"))
    built = Built(tmp_path, "conv", wanted)
    assert built.op_types.count("MatMulInteger") == products


@pytest.mark.parametrize(("activation_type", "weight_type"), [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")])
@pytest.mark.parametrize("per_channel", [True, False])
def test_qdq_types_and_channels(weight_type: str, activation_type: str, per_channel: bool, tmp_path: Path) -> None:
    wanted = scheme("int8-static", weight_type=weight_type, activation_type=activation_type, per_channel=per_channel)
    built = Built(tmp_path, "conv", wanted)
    assert built.activation_types() == {UINT8 if activation_type == "uint8" else INT8}
    for node in built.nodes("Conv"):
        weight, scales = built.weight_of(node)
        assert weight.dtype == weight_type
        assert scales.size == (weight.shape[0] if per_channel else 1)
        bias = built.makers[node.input[2]] if len(node.input) > 2 else None
        assert bias is None or built.array(bias.input[0]).dtype == np.int32
    assert built.likeness() > 0.98


def test_reduce_range_leaves_weights_seven_bits(tmp_path: Path) -> None:
    for reduce_range, bound in ((True, 64), (False, 127)):
        built = Built(tmp_path, "conv", scheme("int8-static", reduce_range=reduce_range))
        assert max(np.abs(built.weight_of(node)[0].astype(int)).max() for node in built.nodes("Conv")) == bound


@pytest.mark.parametrize("format", ["qdq", "qoperator"])
def test_formats(format: str, tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("int8-static", format=format))
    if format == "qdq":
        assert built.op_types.count("Conv") == 3
        assert all(len(built.dequantized(node)) >= 2 for node in built.nodes("Conv"))
        assert "QLinearConv" not in built.op_types
    else:
        assert built.op_types.count("QLinearConv") == 3
        assert "Conv" not in built.op_types
    assert built.likeness() > 0.98


@pytest.mark.parametrize("format", ["qdq", "qoperator"])
@pytest.mark.parametrize(
    ("name", "op_type", "count"), [("conv", "Conv", 3), ("conv", "Gemm", 1), ("transformer", "MatMul", 8)]
)
def test_only_declared_op_types_are_quantized(format: str, name: str, op_type: str, count: int, tmp_path: Path) -> None:
    built = Built(tmp_path, name, scheme("int8-static", op_types=(op_type,), format=format))
    assert built.manifest.nodes_quantized == count
    if format == "qdq":
        full = [node.op_type for node in built.model.graph.node if len(built.dequantized(node)) >= 2]
        assert set(full) - {"Add"} == {op_type}  # an Add may read two dequantized products, and stays float
    else:
        assert not [kind for kind in built.op_types if kind.startswith(("QLinear", "QGemm")) and op_type not in kind]


def test_methods_choose_other_scales(tmp_path: Path) -> None:
    scales = {}
    for name, options in {
        "minmax": {},
        "percentile 99.99": {"method": "percentile", "percentile": 99.99},
        "percentile 90": {"method": "percentile", "percentile": 90.0},
        "entropy": {"method": "entropy"},
    }.items():
        built = Built(tmp_path, "conv", scheme("int8-static", **options))
        scales[name] = float(built.array("x_scale"))
        assert built.manifest.calibration == {
            "digest": "d" * 64,
            "count": 24,
            "method": options.get("method", "minmax"),
        }
    assert scales["minmax"] > scales["percentile 99.99"] > scales["percentile 90"]
    assert scales["entropy"] != scales["minmax"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("format", ["qdq", "qoperator"])
def test_the_model_is_the_one_that_onnxruntime_makes(name: str, format: str, tmp_path: Path) -> None:
    """With its own calibration in place of ours, `quantize_static` writes the same numbers."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    built = Built(tmp_path, name, scheme("int8-static", format=format))
    quant_pre_process(str(built.source), str(tmp_path / "prepared.onnx"))
    iterator = iter(MODELS[name][1]())
    quantize_static(
        tmp_path / "prepared.onnx",
        tmp_path / "theirs.onnx",
        type("Reader", (), {"get_next": lambda self: next(iterator, None)})(),
        quant_format=QuantFormat.QDQ if format == "qdq" else QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    theirs = {item.name: numpy_helper.to_array(item) for item in onnx.load(tmp_path / "theirs.onnx").graph.initializer}
    assert set(theirs) == set(built.constants)
    for tensor, values in theirs.items():
        np.testing.assert_array_equal(built.array(tensor).reshape(-1), values.reshape(-1), err_msg=tensor)


def test_equal_inputs_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from lynxbench.quantization import build_artifact
from tests.quantization.models import saved, scheme
folder = Path(sys.argv[1])
folder.mkdir()
model, calibration = saved(folder, "transformer")
for kind in ("fp16", "int8-dynamic", "int8-static"):
    build_artifact(model, scheme(kind), folder / kind, calibration=calibration)
"""
    for seed in ("1", "2"):
        arguments = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(arguments, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
    for kind in ("fp16", "int8-dynamic", "int8-static"):
        assert (tmp_path / "1" / kind).read_bytes() == (tmp_path / "2" / kind).read_bytes(), kind


def test_many_builds_from_one_source_at_a_time(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, "transformer")
    code = f"""
import sys
from pathlib import Path
from lynxbench.quantization import build_artifact
from tests.quantization.models import data, scheme, texts
for round in range(3):
    build_artifact(Path({str(model)!r}), scheme("int8-static"), Path(sys.argv[1]), calibration=data(texts()),
                   cache_dir=Path({str(tmp_path / "kept")!r}))
"""
    outs = [tmp_path / f"out-{index}" / "artifact.onnx" for index in range(3)]
    running = [subprocess.Popen([sys.executable, "-c", code, str(out)], stderr=subprocess.PIPE) for out in outs]
    for process in running:
        assert process.wait() == 0, process.stderr.read().decode() if process.stderr else ""
        assert process.stderr is not None
        process.stderr.close()
    assert len({out.read_bytes() for out in outs}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "out-0", "out-1", "out-2", "transformer.onnx"]
    for out in outs:
        assert sorted(path.name for path in out.parent.iterdir()) == ["artifact.onnx", "artifact.onnx.json"]


def test_the_cache_changes_no_byte_and_saves_the_passes(tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, "conv")
    wanted = scheme("int8-static", method="percentile")
    reads = []

    def counted() -> Any:
        reads.append(1)
        return calibration.feeds()

    from dataclasses import replace

    watched = replace(calibration, feeds=counted)
    written = []
    for index in range(2):
        out = tmp_path / f"{index}.onnx"
        build_artifact(model, wanted, out, calibration=watched, cache_dir=tmp_path / "kept")
        written.append(out.read_bytes())
    assert len(reads) == 2 + 2  # two passes and a first batch to check with, then only that
    build_artifact(model, wanted, tmp_path / "bare.onnx", calibration=calibration)
    assert written[0] == written[1] == (tmp_path / "bare.onnx").read_bytes()


def test_the_manifest_beside_tells_how(tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("int8-static", method="percentile", percentile=99.5))
    manifest = Manifest.from_json((tmp_path / "out" / "artifact.onnx.json").read_text())
    assert manifest == built.manifest
    assert manifest.options["percentile"] == 99.5
    assert "name" not in manifest.options
    assert manifest.libraries == {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    assert manifest.op_types_before == {
        "Add": 1,
        "Clip": 1,
        "Conv": 3,
        "Flatten": 1,
        "Gemm": 1,
        "GlobalAveragePool": 1,
        "Relu": 1,
    }
    assert manifest.op_types_after["QuantizeLinear"] > 0
    assert set(manifest.seconds) == {"read", "prepare", "calibrate", "convert", "check", "write"}
    assert manifest.model_bytes == built.source.stat().st_size
    assert manifest.artifact_bytes == built.path.stat().st_size
    assert manifest.ran
    assert manifest.warnings == ()


STARTER = sorted((Path(__file__).parents[2] / "lynxbench" / "suites" / "starter").glob("*.onnx"))


@pytest.mark.parametrize("path", STARTER, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["fp16", "int8-dynamic", "int8-static"])
def test_the_starter_suites_models(path: Path, kind: str, tmp_path: Path) -> None:
    (item,) = onnx.load(path).graph.input
    shape = [size.dim_value or 4 for size in item.type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    words = item.type.tensor_type.elem_type == TensorProto.INT64
    values = rng.integers(0, 18, shape) if words else rng.random(shape, dtype=np.float32)
    manifest = build_artifact(path, scheme(kind), tmp_path / "out.onnx", calibration=data([{item.name: values}]))
    assert manifest.ran
    assert manifest.nodes_quantized > 0


def test_what_follows_an_operator_of_another_domain_is_quantized(tmp_path: Path) -> None:
    """Shape inference gives up behind scikit-learn's Scaler; quantizing failed then, and float16 did not load."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", scale=[1.0] * 8, offset=[0.0] * 8),
        helper.make_node("MatMul", ["scaled", "w"], ["product"]),
        helper.make_node("Softmax", ["product"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(random.normal(size=(8, 4)).astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    feed = {"x": random.normal(size=(16, 8)).astype(np.float32)}
    data = CalibrationData(feeds=lambda: iter([feed]), count=16, digest="0" * 64)
    for kind in ("int8-dynamic", "int8-static", "fp16"):
        scheme = Scheme.model_validate({"name": kind, "kind": kind})
        out = tmp_path / f"{kind}.onnx"
        manifest = build_artifact(
            tmp_path / "m.onnx", scheme, out, calibration=data if scheme.needs_calibration else None
        )
        assert manifest.nodes_quantized > 0
        assert manifest.ran
