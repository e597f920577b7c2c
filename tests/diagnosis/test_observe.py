"""Batches, fixed ones among them, and what is kept of them while samples go by."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from lynxbench.diagnosis.feeds import Batch, Batches
from lynxbench.diagnosis.graphs import pairs
from lynxbench.diagnosis.observe import _Strata, _Tensor, observe
from lynxbench.diagnosis.run import Diagnosis, diagnose
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.quantization.build import build_artifact
from lynxbench.quantization.prepare import prepared_model
from tests.diagnosis.test_known_truths import NUMBERS, RUBRIC
from tests.quantization.models import mlp, saved, scheme

FIXED = 8
SCENARIO = """
[[scenarios]]
name = "eights"
kind = "offline"
batch_size = 8
"""


def fed(values: np.ndarray, size: int, *, filled: bool, strata: dict[str, np.ndarray] | None = None) -> Batches:
    """`values` [n, …] as batches of input ``x``; `filled`: the last one is filled up from the start."""

    def feeds() -> Iterator[Batch]:
        for start in range(0, len(values), size):
            rows = min(size, len(values) - start)
            chosen = np.arange(start, start + (size if filled else rows)) % len(values)
            yield Batch({"x": values[chosen]}, start, rows, len(chosen))

    return Batches(feeds, len(values), strata or {})


def test_what_fills_a_batch_up_counts_for_nothing(tmp_path: Path) -> None:
    path, data = saved(tmp_path, "mlp")
    target = tmp_path / "out.onnx"
    build_artifact(path, scheme("int8-static"), target, calibration=data)
    prepared, _ = prepared_model(path, "0" * 64, None)
    artifact = onnx.load(target)
    values = np.random.default_rng(2).standard_normal((21, 10)).astype(np.float32)
    values[3] *= 50
    strata = {"sensor": np.array(["new"] * 12 + ["old"] * 9)}
    cut, filled = (
        observe(prepared, artifact, fed(values, FIXED, filled=how, strata=strata), None) for how in (False, True)
    )
    assert [one.name for one in cut] == ["x", *pairs(prepared, artifact)]
    for mine, other in zip(cut, filled, strict=True):
        assert mine.outside_share == pytest.approx(other.outside_share, abs=1e-12)
        assert (mine.low, mine.high, mine.p999) == (other.low, other.high, other.p999)
        assert mine.sqnr_db == pytest.approx(other.sqnr_db)
        assert mine.kurtosis == pytest.approx(other.kurtosis)
        assert mine.worst_outside_share == pytest.approx(other.worst_outside_share)
    # The input's own rounding and clipping is seen, and in which stratum.
    first = cut[0]
    assert first.sqnr_db is not None
    assert first.sqnr_db < 10
    assert (first.worst_field, first.worst_stratum) == ("sensor", "new")
    step = (first.represented_high - first.represented_low) / 255  # type: ignore[operator]
    beyond = (values < first.represented_low - step) | (values > first.represented_high + step)  # type: ignore[operator]
    assert first.outside_share == pytest.approx(beyond.mean())
    assert first.worst_outside_share == pytest.approx(beyond[:12].mean())


def test_single_samples_keep_what_filled_them_up_and_a_state_has_none() -> None:
    batch = Batch({"ids": np.arange(12).reshape(4, 3), "mask": np.ones((4, 3))}, 0, 3, 4)
    singles = batch.singles()
    assert singles is not None
    assert [feed["ids"].tolist() for feed in singles] == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]]]
    assert batch.own(np.zeros((4, 9))).shape == (3, 9)
    assert batch.own(np.zeros((2, 9))).shape == (2, 9)
    assert Batch({"x": np.ones((4, 3)), "state": np.ones((2, 4, 5))}, 0, 3, 4).singles() is None


def test_what_is_kept_of_a_tensor_does_not_grow_with_the_samples() -> None:
    rng = np.random.default_rng(0)

    def kept(n: int) -> int:
        batches = fed(rng.standard_normal((n, 50)).astype(np.float32), 16, filled=False,
                      strata={"half": np.array(["a", "b"] * (n // 2))})  # fmt: skip
        strata, tensor = _Strata(batches), _Tensor()
        for batch in batches:
            tensor.see(batch.feed["x"], batch, (-1.0, 1.0), strata)
        assert tensor.rows == n
        return len(pickle.dumps(tensor))

    assert kept(4096) == pytest.approx(kept(64), abs=64)  # counts have more digits


def diagnosed(folder: Path, model: onnx.ModelProto, scenario: str = "") -> Diagnosis:
    onnx.save(model, folder / "net.onnx")
    rng = np.random.default_rng(5)
    sensor = np.where(np.arange(120) % 2 == 0, "old", "new")
    for name in ("test", "train"):
        inputs = rng.standard_normal((120, 10)).astype(np.float32)
        np.savez(folder / f"{name}.npz", inputs=inputs, labels=np.arange(120) % 4, sensor=sensor)
    (folder / "suite.toml").write_text(NUMBERS.replace("count = 120", "count = 120\nbatch_size = 8") + scenario)
    (folder / "rubric.toml").write_text(RUBRIC)
    asked = subject(suite_of(str(folder / "suite.toml")), "static on net", samples=20)
    return diagnose(asked, cache=folder / "cache")


def test_a_model_of_fixed_batch_is_diagnosed_as_one_of_free_batch(tmp_path: Path) -> None:
    """20 samples in batches of 8: the last is filled up, and nobody is asked one by one."""
    model = mlp()
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].ClearField("dim_param")
        tensor.type.tensor_type.shape.dim[0].dim_value = FIXED
    for name in ("fixed", "free"):
        (tmp_path / name).mkdir()
    fixed, free = diagnosed(tmp_path / "fixed", model, SCENARIO), diagnosed(tmp_path / "free", mlp())
    assert fixed.samples == free.samples == 20
    for mine, other in zip(fixed.tensors, free.tensors, strict=True):
        assert (mine.name, mine.low, mine.high) == (other.name, other.low, other.high)
        assert mine.sqnr_db == pytest.approx(other.sqnr_db)
    assert (fixed.kernels.batch_sqnr_db, fixed.kernels.fp32_batch_sqnr_db) == (None, None)
    assert free.kernels.fp32_batch_sqnr_db is not None
    assert fixed.kernels.fused_sqnr_db == pytest.approx(free.kernels.fused_sqnr_db)
    assert fixed.time is not None
    assert fixed.time.batch_size == FIXED
