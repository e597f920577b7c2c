"""Mixed precision: what was declared to stay in float, and nothing else, does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from lynxbench.errors import CellError
from lynxbench.quantization import build_artifact
from tests.quantization.models import conv_net, saved, scheme
from tests.quantization.test_build import Built

CONVS = [node.name for node in conv_net().graph.node if node.op_type == "Conv"]


def in_float(built: Built, op_type: str) -> set[str]:
    """Nodes whose weight is not quantized."""
    return {node.name for node in built.nodes(op_type) if built.constants.get(node.input[1], None) is not None}


@pytest.mark.parametrize("declared", [(CONVS[0],), (CONVS[1], CONVS[2]), ("Conv_*",), (CONVS[0][:-1] + "?",)])
def test_static_leaves_named_nodes_in_float(declared: tuple[str, ...], tmp_path: Path) -> None:
    from fnmatch import fnmatchcase

    built = Built(tmp_path, "conv", scheme("int8-static", nodes_kept_float=declared))
    wanted = {name for name in CONVS if any(fnmatchcase(name, one) for one in declared)}
    assert in_float(built, "Conv") == wanted
    assert len(built.nodes("Conv")) == 3
    assert built.manifest.options["nodes_kept_float"] == list(declared)
    said = any(warning.startswith("nodes_kept_float are Conv_") for warning in built.manifest.warnings)
    assert said == any("*" in one or "?" in one for one in declared)
    whole = Built(tmp_path, "conv", scheme("int8-static"))
    assert built.manifest.nodes_quantized <= whole.manifest.nodes_quantized - len(wanted)


def test_dynamic_leaves_named_nodes_in_float(tmp_path: Path) -> None:
    built = Built(tmp_path, "transformer", scheme("int8-dynamic"))
    products = [node.name for node in onnx.load(built.source).graph.node if node.op_type == "MatMul"]
    mixed = Built(tmp_path, "transformer", scheme("int8-dynamic", nodes_kept_float=(products[0],)))
    assert mixed.op_types.count("MatMulInteger") == built.op_types.count("MatMulInteger") - 1
    assert products[0] in {node.name for node in mixed.nodes("MatMul")}


def test_dynamic_leaves_a_gemm_in_float(tmp_path: Path) -> None:
    assert "MatMulInteger" in Built(tmp_path, "conv", scheme("int8-dynamic")).op_types
    mixed = Built(tmp_path, "conv", scheme("int8-dynamic", nodes_kept_float=("Gemm_*",)))
    assert "MatMulInteger" not in mixed.op_types
    assert "ConvInteger" in mixed.op_types


@pytest.mark.parametrize("kind", ["int8-static", "int8-dynamic"])
def test_kept_op_types(kind: str, tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme(kind, op_types_kept_float=("Conv", "Gather")))
    assert in_float(built, "Conv") == set(CONVS)
    assert not in_float(built, "Gemm")
    assert "op_types_kept_float: the model has no Gather" in built.manifest.warnings
    other = Built(tmp_path, "conv", scheme(kind, op_types_kept_float=("Gemm",)))
    assert not in_float(other, "Conv")
    assert "MatMulInteger" not in other.op_types
    assert other.manifest.nodes_quantized > 0


def refused(folder: Path, kind: str, **options: Any) -> str:
    model, calibration = saved(folder, "conv")
    with pytest.raises(CellError) as caught:
        build_artifact(model, scheme(kind, **options), folder / "out.onnx", calibration=calibration)
    assert caught.value.status == "unsupported"
    return caught.value.reason


@pytest.mark.parametrize("kind", ["int8-static", "int8-dynamic"])
def test_unknown_names_are_errors_with_the_nearest(kind: str, tmp_path: Path) -> None:
    reason = refused(tmp_path, kind, nodes_kept_float=("Cnv_t0",))
    assert "names no node; did you mean 'Conv_t0'?" in reason
    assert "no node's name matches '/layer/*'" in refused(tmp_path, kind, nodes_kept_float=("/layer/*",))
    assert "did you mean 'Conv'?" in refused(tmp_path, kind, op_types_kept_float=("Convo",))


@pytest.mark.parametrize("kind", ["int8-static", "int8-dynamic"])
def test_all_kept_in_float_is_no_scheme(kind: str, tmp_path: Path) -> None:
    assert "changed no node" in refused(tmp_path, kind, nodes_kept_float=("*",))
