"""From declarations to option maps: pure, so that what a GPU would be told is proven where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lynxbench.execution.options import engine_key, model_digest, option_text, plan_session, profile_texts
from lynxbench.specs.executor import ExecutorSpec

Specs = Mapping[str, ExecutorSpec]


def test_threads_go_where_the_provider_looks(specs: Specs) -> None:
    cpu = plan_session(specs["cpu"], {}, threads=3)
    assert (dict(cpu.provider_options), cpu.intra_op_num_threads) == ({}, 3)
    openvino = plan_session(specs["openvino-cpu"], {}, threads=3)
    assert openvino.provider_options == {"device_type": "CPU", "num_of_threads": "3"}
    assert (
        plan_session(specs["openvino-cpu"], {"num_of_threads": 2}, threads=3).provider_options["num_of_threads"] == "2"
    )


def test_cuda_computes_float32_in_float32(specs: Specs) -> None:
    cuda = specs["cuda"]
    assert plan_session(cuda, {}, threads=1).provider_options == {"use_tf32": "0"}
    declared = plan_session(cuda, {"use_tf32": True, "enable_cuda_graph": True}, threads=1).provider_options
    assert declared == {"use_tf32": "1", "enable_cuda_graph": "1"}
    assert "use_tf32" in cuda.precision.changed_by
    assert specs["tensorrt"].variables == {"NVIDIA_TF32_OVERRIDE": "0"}


def test_tensorrt_keeps_engines_in_the_folder_it_is_given(specs: Specs, tmp_path: Path) -> None:
    plan = plan_session(specs["tensorrt"], {}, threads=1, engine_cache=tmp_path, shapes=[{"x": (1, 3, 8, 8)}])
    assert plan.provider_options == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path),
        "trt_profile_min_shapes": "x:1x3x8x8",
        "trt_profile_opt_shapes": "x:1x3x8x8",
        "trt_profile_max_shapes": "x:1x3x8x8",
    }
    assert plan.cache_folder == tmp_path
    assert plan_session(specs["cpu"], {}, threads=1, engine_cache=tmp_path).cache_folder is None


def test_tensorrt_takes_precision_from_the_scheme_alone(specs: Specs) -> None:
    schemes = specs["tensorrt"].scheme_options
    assert schemes == {"fp16": {"trt_fp16_enable": True}, "int8-static": {"trt_int8_enable": True}}
    assert not [name for name in specs["tensorrt"].allowed_options if "calibration" in name]


def test_what_the_user_gives_is_never_overwritten(specs: Specs, tmp_path: Path) -> None:
    given = {"trt_engine_cache_enable": False, "trt_profile_opt_shapes": "x:4x3x8x8"}
    options = plan_session(
        specs["tensorrt"], given, threads=1, engine_cache=tmp_path, shapes=[{"x": (1, 3, 8, 8)}]
    ).provider_options
    assert options["trt_engine_cache_enable"] == "0"
    assert options["trt_profile_opt_shapes"] == "x:4x3x8x8"


def test_a_profile_spans_all_shapes_and_is_best_at_the_first() -> None:
    shapes = [{"ids": (4, 64), "mask": (4, 64)}, {"ids": (1, 128), "mask": (1, 128)}, {"ids": (8, 32), "mask": (8, 32)}]
    assert profile_texts(shapes) == ("ids:1x32,mask:1x32", "ids:4x64,mask:4x64", "ids:8x128,mask:8x128")
    with pytest.raises(ValueError, match="same inputs"):
        profile_texts([{"x": (1, 2)}, {"x": (1, 2, 3)}])
    with pytest.raises(ValueError, match="same inputs"):
        profile_texts([{"x": (1, 2)}, {"y": (1, 2)}])


def test_texts_are_as_onnxruntime_takes_them() -> None:
    assert [option_text(value) for value in (True, False, 3, 0.5, "HWC")] == ["1", "0", "3", "0.5", "HWC"]


def test_an_engine_key_changes_with_all_that_an_engine_depends_on(specs: Specs) -> None:
    base = {"model_digest": "a", "device": "H100", "versions": {"onnxruntime": "1"}, "shapes": [{"x": (1, 2)}]}
    changes = [
        {"model_digest": "b"},
        {"device": "H200"},
        {"versions": {"onnxruntime": "2"}},
        {"shapes": [{"x": (1, 3)}]},
    ]
    tensorrt = specs["tensorrt"]
    keys = [engine_key(tensorrt, {}, **{**base, **change}) for change in ({}, *changes)]
    keys += [engine_key(tensorrt, {"trt_fp16_enable": True}, **base), engine_key(specs["tensorrt-rtx"], {}, **base)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == engine_key(tensorrt, {}, **base)


def test_a_model_digest_sees_external_data(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"graph")
    alone = model_digest(model)
    (tmp_path / "m.onnx.data").write_bytes(b"weights")
    with_data = model_digest(model)
    (tmp_path / "m.onnx.data").write_bytes(b"others")
    (tmp_path / "other.onnx").write_bytes(b"another model")
    assert len({alone, with_data, model_digest(model)}) == 3
