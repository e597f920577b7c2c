"""Frame classification: one decision a frame, whatever form the scores have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.tasks import answer_all, get_task
from tests.tasks.models import FLOAT, model, opened, save

INPUTS = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
TAGS = np.array([[0, 1, -1, 1]] * 4 + [[1, -1, -1, -1]])


def sequences() -> Samples:
    ids = np.asarray([f"s{n}" for n in range(5)])
    strata = {"noise": np.asarray(["a", "b", "a", "b", "a"])}
    return Samples(
        ids=ids, source_ids=np.asarray(["x", "x", "y", "y", "z"]), inputs=INPUTS, contents=ids, strata=strata, tags=TAGS
    )


def network(path: Path, kind: str) -> Path:
    """[batch, 4, 3] → logits [batch, 4, 2], or one number a frame, a logit or its sigmoid."""
    weights = WEIGHTS if kind == "classes" else WEIGHTS[:, 1:] - WEIGHTS[:, :1]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    if kind != "classes":
        nodes.append(helper.make_node("Squeeze", ["scores", "axis"], ["one"]))
        nodes.append(helper.make_node("Sigmoid" if kind == "probabilities" else "Identity", ["one"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["scores"], ["y"]))
    shape = ["N", 4, 2] if kind == "classes" else ["N", 4]
    return save(path, nodes, {"x": (FLOAT, ["N", 4, 3])}, {"y": (FLOAT, shape)}, {"w": weights, "axis": np.array([2])})


@pytest.mark.parametrize("kind", ["classes", "logits", "probabilities"])
def test_each_frame_is_a_prediction(kind: str, tmp_path: Path) -> None:
    task, samples = get_task("frame-classification"), sequences()
    declared = model(scores="probabilities" if kind == "probabilities" else "logits")
    with opened(network(tmp_path / "m.onnx", kind)) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, declared, 2))
    frames = [(n, f) for n in range(5) for f in range(4) if TAGS[n, f] >= 0]
    assert predictions.sample_ids.tolist() == [f"s{n}/{f}" for n, f in frames]
    assert predictions.source_ids.tolist() == ["xxyyz"[n] for n, _ in frames]
    assert predictions.strata["noise"].tolist() == ["ababa"[n] for n, _ in frames]
    assert predictions.labels.tolist() == [TAGS[n, f] for n, f in frames]
    wanted = np.asarray([INPUTS[n, f] @ WEIGHTS for n, f in frames])
    assert predictions.logits.shape == wanted.shape
    # The difference of two logits is what decides, and what a sigmoid is of.
    np.testing.assert_allclose(np.diff(predictions.logits), np.diff(wanted), atol=1e-4)
    assert not predictions.failed.any()


def test_another_number_of_frames_is_refused(tmp_path: Path) -> None:
    task, samples = get_task("frame-classification"), sequences()
    with opened(network(tmp_path / "m.onnx", "classes")) as executor:
        answers = answer_all(task, executor, samples, model(), 1)
    with pytest.raises(CellError, match="the test set has 4 frames a sample, labels up to 1"):
        task.predictions(samples, {"logits": answers["logits"][:, :3]})
    with (
        pytest.raises(CellError, match=r"expects scores \[batch, frames"),
        opened(
            save(
                tmp_path / "flat.onnx",
                [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
                {"x": (FLOAT, ["N", 4, 3])},
                {"y": (FLOAT, ["N"])},
                {"axes": np.array([1, 2])},
            )
        ) as executor,
    ):
        answer_all(task, executor, samples, model(), 1)
