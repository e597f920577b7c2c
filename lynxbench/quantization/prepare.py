"""A model made ready for rewriting: shapes inferred, constants folded, every node named. Once a model."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization.artifacts import METHOD_VERSION, OnDamage, digest_of, ignored, keep, kept, libraries
from lynxbench.quantization.check import ELEMENT_TYPES, session
from lynxbench.quantization.failures import failing_as, plain, remarks
from lynxbench.quantization.graphs import element_types, name_nodes

# DequantizeLinear has an axis, hence one scale a channel, from here on.
_LEAST_OPSET = 13
# Protobuf cannot hold more in one file.
LARGEST_MODEL_BYTES = 2**31 - 2**20


def prepared_model(
    model_path: Path, model_sha256: str, cache_dir: Path | None, on_damage: OnDamage = ignored
) -> tuple[Any, list[str]]:
    """The prepared onnx.ModelProto and remarks on its preparation; taken from `cache_dir` where it lies there.

    Optimizes by ONNX Runtime's `quant_pre_process`, whose graph rewrites are the basic ones, the same for every
    provider. Raises `CellError`.
    """
    import onnx

    path = None if cache_dir is None else _kept_at(model_sha256, cache_dir)
    content = None if path is None else kept(path, on_damage)
    said = None if path is None or content is None else kept(path.with_suffix(".remarks"), on_damage)
    if content is not None and said is not None:
        return onnx.load_from_string(content), list(json.loads(said))
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lynxbench-prepare-") as folder, remarks(notes):
        model = _prepare(model_path, Path(folder), notes)
    if path is not None:
        # The remarks first: without them, the model is prepared again.
        keep(path.with_suffix(".remarks"), json.dumps(notes).encode())
        keep(path, model.SerializeToString(deterministic=True))
    return model, notes


def kept_model(model_sha256: str, cache_dir: Path) -> Any | None:
    """The prepared onnx.ModelProto of a model, where `cache_dir` holds it."""
    import onnx

    content = kept(_kept_at(model_sha256, cache_dir), ignored)
    return None if content is None else onnx.load_from_string(content)


def _kept_at(model_sha256: str, cache_dir: Path) -> Path:
    key = digest_of({"method_version": METHOD_VERSION, "prepared": model_sha256, "libraries": libraries()})
    return cache_dir / f"{key}.prepared"


def _prepare(model_path: Path, folder: Path, notes: list[str]) -> Any:
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with failing_as(f"reading {model_path.name}"):
        model = onnx.load(model_path)
        if model.ByteSize() > LARGEST_MODEL_BYTES:
            raise CellError("unsupported", f"{model_path.name} is larger than 2 GB, more than one ONNX file can hold")
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), _LEAST_OPSET)
    if opset < _LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _LEAST_OPSET)
        except Exception as error:  # onnx raises types of its own
            notes.append(f"opset {opset} could not be raised to {_LEAST_OPSET}: {plain(error)}")
    # The quantizer and its optimizer write beside their source, so they get a copy of their own.
    source, ready = folder / "source.onnx", folder / "prepared.onnx"
    onnx.save(model, source)
    try:
        # Where symbolic inference gives up it leaves the whole model in the current folder, which is the user's.
        with contextlib.chdir(folder):
            quant_pre_process(str(source), str(ready))
    except Exception as error:  # symbolic inference gives up on models that the rest can handle
        notes.append(f"symbolic shape inference failed, some tensors may stay in float: {plain(error)}")
        with failing_as(f"preparing {model_path.name}"):
            quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    model = onnx.load(ready)
    name_nodes(model)
    _type_the_untyped(model)
    _flatten_biases(model)
    return model


def _flatten_biases(model: Any) -> None:
    """Give biases of Gemm the shape [n] where they are [1, n], as scikit-learn's exporter writes them.

    To Gemm it is the same; ONNX Runtime's quantizer takes them channel by channel and finds a whole row.
    """
    import onnx

    constants = {item.name: item for item in model.graph.initializer}
    flat: dict[str, str] = {}
    for node in model.graph.node:
        bias = constants.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) == 3 else None
        if bias is None or len(bias.dims) != 2 or bias.dims[0] != 1:
            continue
        if bias.name not in flat:
            # Others may read it as it is.
            values = onnx.numpy_helper.to_array(bias).reshape(-1)
            flat[bias.name] = f"{bias.name}_flat"
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, flat[bias.name]))
        node.input[2] = flat[bias.name]
    used = {name for node in model.graph.node for name in node.input}
    for name in flat.keys() - used:
        model.graph.initializer.remove(constants[name])


def _type_the_untyped(model: Any) -> None:
    """Declare the type and rank of tensors that shape inference knows nothing of, as ONNX Runtime finds them.

    Inference gives up behind operators of other domains, such as scikit-learn's Scaler; the quantizer then fails on
    everything that follows, and the float16 converter writes a graph that does not load.
    """
    import onnx

    known = element_types(model)
    untyped = [name for node in model.graph.node for name in node.output if name and not known.get(name)]
    if not untyped:
        return
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in untyped)
    try:
        found = {item.name: item for item in session(asked.SerializeToString(), 1).get_outputs()}
    except Exception:  # the check of the artifact will say what is wrong with the model
        return
    wanted = set(untyped)
    kept = [info for info in model.graph.value_info if info.name not in wanted]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    for name in untyped:
        kind = ELEMENT_TYPES.get(found[name].type)
        if kind is not None:
            # No shape rather than a guess: what is a sequence or has no rank stays so.
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, None))
