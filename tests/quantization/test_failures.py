"""What cannot be had is said, with a status and a reason that a user can act on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lynxbench.errors import CellError, StoreError
from lynxbench.quantization import build_artifact, why_unsupported
from lynxbench.quantization.failures import failing_as, plain, remarks
from tests.quantization.models import Maker, conv_net, data, info, mlp, pixels, saved, scheme, texts, transformer


def refused(status: str, match: str, *arguments: Any, **options: Any) -> CellError:
    with pytest.raises(CellError, match=match) as caught:
        build_artifact(*arguments, **options)
    assert caught.value.status == status
    return caught.value


def put(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100, b"PK\x03\x04 a zip"])
def test_what_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused("failed", "not an ONNX model", path, scheme("fp32"), tmp_path / "out.onnx", calibration=None)


def test_a_missing_model(tmp_path: Path) -> None:
    refused("failed", "there is no model", tmp_path / "gone.onnx", scheme("fp32"), tmp_path / "out", calibration=None)


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    make = Maker()
    make.op("NoSuchOp", "x")
    path = put(tmp_path, make.model([info("x", ["n", 4])], [info("t0", ["n", 4])]))
    refused("failed", "loading the source", path, scheme("fp32"), tmp_path / "out.onnx", calibration=None)


def test_a_static_scheme_without_calibration(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, "mlp")
    refused("failed", "needs a calibration set", model, scheme("int8-static"), tmp_path / "out", calibration=None)


@pytest.mark.parametrize("kind", ["fp16", "int8-dynamic", "int8-static"])
def test_a_quantized_model_is_not_quantized_again(kind: str, tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, "conv")
    build_artifact(model, scheme("int8-static"), tmp_path / "int8.onnx", calibration=calibration)
    arguments = (tmp_path / "int8.onnx", scheme(kind), tmp_path / "out.onnx")
    refused("unsupported", "is quantized already", *arguments, calibration=calibration)


@pytest.mark.parametrize("kind", ["int8-dynamic", "int8-static"])
def test_unknown_op_types_are_named_with_what_was_meant(kind: str, tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, "mlp")
    error = refused(
        "unsupported", "Matmul", model, scheme(kind, op_types=("Matmul",)), tmp_path / "out", calibration=calibration
    )
    assert "did you mean 'MatMul'?" in error.reason


@pytest.mark.parametrize("kind", ["int8-dynamic", "int8-static"])
def test_a_scheme_that_changes_nothing_is_no_scheme(kind: str, tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, "mlp")
    arguments = (model, scheme(kind, op_types=("Conv",)), tmp_path / "out.onnx")
    error = refused("unsupported", "changed no node", *arguments, calibration=calibration)
    assert "Tanh" in error.reason  # what the model does have
    assert not (tmp_path / "out.onnx").exists()


def test_a_pair_of_types_without_kernels_is_refused_before_any_work(tmp_path: Path) -> None:
    wanted = scheme("int8-static", activation_type="int8", weight_type="uint8")
    assert why_unsupported(wanted) is not None
    assert why_unsupported(scheme("int8-static")) is None
    refused("unsupported", "no kernels", tmp_path / "not even looked at", wanted, tmp_path / "out", calibration=None)


def test_infinities_leave_their_nodes_in_float(tmp_path: Path) -> None:
    """A mask of -inf, as exported attention has it, does not spoil the other nodes."""
    make = Maker()
    x = make.op("MatMul", "x", make.weight(4, 4))
    masked = make.op(
        "Where", make.op("Less", x, make.constant(np.float32(-0.5))), make.constant(np.float32(-np.inf)), x
    )
    soft = make.op("Softmax", make.op("Add", masked, make.weight(4)), axis=-1)
    y = make.op("MatMul", soft, make.weight(4, 3))
    path = put(tmp_path, make.model([info("x", ["n", 4])], [info(y, ["n", 3])]))
    feeds = [{"x": np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)}]
    out = tmp_path / "out.onnx"
    manifest = build_artifact(path, scheme("int8-static"), out, calibration=data(feeds))
    assert any("left in float" in warning and "infinity" in warning for warning in manifest.warnings)
    model = onnx.load(out)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert all(makers[node.input[1]] == "DequantizeLinear" for node in products)
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    assert "DequantizeLinear" not in [makers.get(name) for name in add.input]


def test_an_old_opset_is_raised_for_scales_a_channel(tmp_path: Path) -> None:
    make = Maker()
    x = make.op("Relu", make.op("Conv", "x", make.weight(4, 3, 3, 3), make.weight(4)))
    path = put(tmp_path, make.model([info("x", ["n", 3, 8, 8])], [info(x, ["n", 4, 6, 6])], opset=9))
    out = tmp_path / "out.onnx"
    build_artifact(path, scheme("int8-static"), out, calibration=data(pixels()))
    scales = [tensor for tensor in onnx.load(out).graph.initializer if tensor.name.endswith("_scale") and tensor.dims]
    assert any(tensor.dims[0] == 4 for tensor in scales)


def test_an_input_that_zeros_cannot_fill_is_not_run(tmp_path: Path) -> None:
    """Without calibration data the check makes up zeros; where the source itself refuses them, it says so."""
    make = Maker()
    reshaped = make.op("Reshape", "x", make.constant(np.array([-1, 7])))
    y = make.op("MatMul", reshaped, make.weight(7, 3))
    path = put(tmp_path, make.model([info("x", ["n", "m"])], [info(y, ["k", 3])]))
    manifest = build_artifact(path, scheme("int8-dynamic"), tmp_path / "out.onnx", calibration=None)
    assert not manifest.ran
    assert "refuses zeros" in manifest.warnings[-1]


def test_overflow_in_half_precision_is_remarked(tmp_path: Path) -> None:
    make = Maker()
    y = make.op("Mul", make.op("Mul", "x", make.weight(4, scale=1e3)), make.weight(4, scale=1e4))
    path = put(tmp_path, make.model([info("x", ["n", 4])], [info(y, ["n", 4])]))
    feeds = data([{"x": np.ones((1, 4), dtype=np.float32)}])
    manifest = build_artifact(path, scheme("fp16", keep_io_types=False), tmp_path / "out.onnx", calibration=feeds)
    assert manifest.warnings == (f"the first run gave NaN or infinity in {y}, where the source gave numbers",)
    assert not build_artifact(path, scheme("fp32"), tmp_path / "out.onnx", calibration=feeds).warnings


def test_a_feed_that_does_not_fit(tmp_path: Path) -> None:
    path = put(tmp_path, transformer())
    wrong = data([{"ids": np.zeros((1, 2), dtype=np.float32)}])
    refused("failed", "calibration batch 0", path, scheme("int8-static"), tmp_path / "out.onnx", calibration=wrong)
    beyond = data([{"ids": np.full((1, 2), 1000)}])
    refused("failed", "calibration batch 0", path, scheme("int8-static"), tmp_path / "out.onnx", calibration=beyond)
    good = data(texts())
    assert build_artifact(path, scheme("int8-static"), tmp_path / "out.onnx", calibration=good).ran


def test_a_file_in_the_way(tmp_path: Path) -> None:
    path = put(tmp_path, mlp())
    (tmp_path / "out.onnx").mkdir()
    with pytest.raises(StoreError, match=r"could not write .*out\.onnx"):
        build_artifact(path, scheme("fp32"), tmp_path / "out.onnx", calibration=None)
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_string_inputs_and_sequences_do_not_stop_the_check(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["words"], ["same"])],
        "words",
        [info("words", ["n"], TensorProto.STRING)],
        [info("same", ["n"], TensorProto.STRING)],
    )
    path = put(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert build_artifact(path, scheme("fp32"), tmp_path / "out.onnx", calibration=None).ran
    refused("unsupported", "changed no node", path, scheme("fp16"), tmp_path / "out.onnx", calibration=None)


def test_memory_and_kernels_have_statuses_of_their_own() -> None:
    for error, status in (
        (MemoryError(), "oom"),
        (NotImplementedError("no kernel"), "unsupported"),
        (ValueError("x"), "failed"),
    ):
        with pytest.raises(CellError, match="^" + status) as caught, failing_as("doing it"):
            raise error
        assert caught.value.reason.startswith("doing it: ")
    with pytest.raises(KeyboardInterrupt), failing_as("doing it"):
        raise KeyboardInterrupt


def test_long_messages_are_cut_to_one_line() -> None:
    assert plain(ValueError("a\n   b\tc")) == "a b c"
    assert plain(ValueError()) == "ValueError"
    assert len(plain(ValueError("x" * 1000))) == 400


def test_what_libraries_log_is_collected_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    noted: list[str] = []
    before = logging.getLogger().handlers[:]
    with remarks(noted):
        for name in "abc":
            logging.warning("no range for tensor '%s'", name)
        logging.getLogger("some.library").error("it\nbroke")
        logging.getLogger("some.library").info("all is well")
    assert noted == ["no range for tensor 'a' (and 2 more like it)", "it broke"]
    assert logging.getLogger().handlers == before
    assert capsys.readouterr() == ("", "")


def test_nothing_is_printed_by_a_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, conv_net())
    for kind in ("fp32", "fp16", "bf16", "int8-dynamic", "int8-static", "weights-only"):
        build_artifact(path, scheme(kind), tmp_path / "out.onnx", calibration=data(pixels()))
    assert capfd.readouterr() == ("", "")
