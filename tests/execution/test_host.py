"""Host facts: read for real here, and the container limits from made-up trees of both kinds."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from lynxbench.execution import host_facts, products_saturate, usable_threads
from lynxbench.execution.host import memory_limit_bytes, usable_cores


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_this_machine() -> None:
    facts = host_facts()
    assert facts.machine == platform.machine()
    assert facts.cpu_model
    assert facts.logical_cores == os.cpu_count()
    assert 0 < facts.usable_cores <= len(os.sched_getaffinity(0))
    assert 1 <= usable_threads() <= facts.usable_cores or usable_threads() == 1
    assert facts.memory_bytes == psutil.virtual_memory().total
    assert facts.python == platform.python_version()
    assert facts.onnxruntime is not None


def largest_error(weights: np.ndarray, activations: np.ndarray) -> int:
    """Of ONNX Runtime's integer product, against NumPy's."""
    elements = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", elements[str(activations.dtype)], list(activations.shape))],
        [helper.make_tensor_value_info("y", TensorProto.INT32, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"a": activations})
    return int(np.abs(found - activations.astype(np.int64) @ weights.astype(np.int64)).max())


def test_whether_products_saturate_is_what_onnxruntime_does_here() -> None:
    """On whichever processor this runs: full-range u8 × s8 is exact or not, as said; nothing else ever is wrong."""
    random = np.random.default_rng(0)
    unsigned = random.integers(200, 256, (8, 64)).astype(np.uint8)
    signed = random.integers(100, 128, (8, 64)).astype(np.int8)
    weights = random.integers(100, 128, (64, 16))
    assert (largest_error(weights.astype(np.int8), unsigned) > 0) == products_saturate(host_facts())
    assert largest_error((weights // 2).astype(np.int8), unsigned) == 0
    assert largest_error(weights.astype(np.uint8), unsigned) == 0
    assert largest_error(weights.astype(np.int8), signed) == 0


def test_only_x86_without_vnni_saturates() -> None:
    here = host_facts()
    for machine, flags, saturates in (
        ("x86_64", ("avx2",), True),
        ("AMD64", ("avx2", "avx512f"), True),
        ("x86_64", ("avx2", "avx_vnni"), False),
        ("x86_64", ("avx2", "avx512f", "avx512_vnni"), False),
        ("x86_64", ("avx512f", "amx_int8"), False),
        ("aarch64", ("asimddp",), False),
    ):
        assert products_saturate(replace(here, machine=machine, isa_flags=flags)) is saturates, (machine, flags)


@pytest.mark.parametrize(("flag", "feature"), [("avx2", "AVX2"), ("avx512f", "AVX512F"), ("asimddp", "ASIMDDP")])
def test_flags_agree_with_numpy(flag: str, feature: str) -> None:
    """NumPy asks the processor itself, not /proc/cpuinfo."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    known = {name.upper() for name in [*found["baseline"], *found.get("found", [])]}
    covered = {name.upper() for names in found.values() for name in names}
    levels = {"AVX2": "X86_V3", "AVX512F": "X86_V4"}
    names = {feature, levels.get(feature, feature)}
    if names & covered:
        assert (flag in host_facts().isa_flags) == bool(names & known)
    else:
        assert flag not in host_facts().isa_flags


def test_cgroup_v2_with_a_limit_on_a_parent(tmp_path: Path) -> None:
    proc = tree(tmp_path / "proc", **{"self/cgroup": "0::/pod/box\n"})
    cgroup = tree(
        tmp_path / "cgroup",
        **{
            "pod/cpu.max": "50000 100000\n",
            "pod/box/cpu.max": "max 100000\n",
            "pod/memory.max": "max\n",
            "pod/box/memory.max": "1073741824\n",
        },
    )
    assert usable_cores(cgroup, proc) == 0.5
    assert memory_limit_bytes(cgroup, proc) == 1 << 30


def test_cgroup_v1(tmp_path: Path) -> None:
    proc = tree(tmp_path / "proc", **{"self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n"})
    cgroup = tree(
        tmp_path / "cgroup",
        **{
            "cpu/box/cpu.cfs_quota_us": "150000\n",
            "cpu/box/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "memory/box/memory.limit_in_bytes": "2147483648\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert usable_cores(cgroup, proc) == min(1.5, len(os.sched_getaffinity(0)))
    assert memory_limit_bytes(cgroup, proc) == 2 << 30


def test_no_limits(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path) == len(os.sched_getaffinity(0))
    assert memory_limit_bytes(tmp_path, tmp_path) is None


def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
