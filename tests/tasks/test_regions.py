"""Detection, segmentation and transcription, by models whose answers stand in their inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import BoxOutput, ImageInput, SpelledOutput
from lynxbench.tasks import answer_all, get_task
from tests.tasks.models import FLOAT, INT64, model, opened, save

AS_IS = ImageInput(scale=1.0)


def samples_of(inputs: np.ndarray, **more: object) -> Samples:
    ids = np.asarray([f"s{n}" for n in range(len(inputs))])
    strata = {"view": np.asarray(["clean"] * len(inputs))}
    return Samples(ids=ids, source_ids=ids, inputs=inputs, contents=ids, strata=strata, **more)  # type: ignore[arg-type]


def detector(path: Path) -> Path:
    """x [N, 1, D, 6] → boxes [N, D, 4], scores [N, D] (hundredths), labels [N, D]: what the pixels say."""
    nodes = [
        helper.make_node("Squeeze", ["x", "one"], ["rows"]),
        helper.make_node("Split", ["rows", "sizes"], ["boxes", "s", "l"], axis=2),
        helper.make_node("Squeeze", ["s", "two"], ["whole"]),
        helper.make_node("Div", ["whole", "hundred"], ["scores"]),
        helper.make_node("Squeeze", ["l", "two"], ["real"]),
        helper.make_node("Cast", ["real"], ["labels"], to=INT64),
    ]
    weights = {
        "one": np.array([1]),
        "two": np.array([2]),
        "sizes": np.array([4, 1, 1]),
        "hundred": np.array(100, dtype=np.float32),
    }
    outputs = {"boxes": (FLOAT, ["N", "D", 4]), "scores": (FLOAT, ["N", "D"]), "labels": (INT64, ["N", "D"])}
    return save(path, nodes, {"x": (FLOAT, ["N", 1, "D", 6])}, outputs, weights)


@pytest.mark.parametrize("form", ["xyxy", "xywh", "cxcywh"])
def test_boxes(tmp_path: Path, form: str) -> None:
    rows = np.array([[[10, 20, 30, 60, 50, 2], [4, 4, 8, 10, 90, 1]]], dtype=np.uint8)
    task, declared = get_task("detection"), model(image=AS_IS, boxes=BoxOutput(format=form, first_class=1))
    samples = samples_of(rows, objects=np.zeros((1, 1, 6), dtype=np.float32))
    with opened(detector(tmp_path / "m.onnx")) as executor:
        found = task.predictions(samples, answer_all(task, executor, samples, declared, 1)).detections
    expected = {
        "xyxy": [[4, 4, 4, 6], [10, 20, 20, 40]],
        "xywh": [[4, 4, 8, 10], [10, 20, 30, 60]],
        "cxcywh": [[0, -1, 8, 10], [-5, -10, 30, 60]],
    }[form]
    assert found is not None
    np.testing.assert_allclose(found[0, :2, :4], expected)
    np.testing.assert_allclose(found[0, :2, 4:], [[0, 0.9], [1, 0.5]])  # the best first
    assert np.isnan(found[0, 2:]).all()


def test_shares_of_the_image_become_pixels(tmp_path: Path) -> None:
    rows = np.array([[[0, 0, 1, 1, 50, 0], [0, 0, 1, 2, 40, 0]]], dtype=np.uint8)  # an image 2 high, 6 wide
    task, declared = get_task("detection"), model(image=AS_IS, boxes=BoxOutput(unit="share"))
    samples = samples_of(rows, objects=np.zeros((1, 1, 6), dtype=np.float32))
    with opened(detector(tmp_path / "m.onnx")) as executor:
        answers = answer_all(task, executor, samples, declared, 1)
        np.testing.assert_allclose(
            task.predictions(samples, answers).detections[0, :2, :4], [[0, 0, 6, 2], [0, 0, 6, 4]]
        )
        with pytest.raises(CellError, match="the model has no output bboxes"):
            answer_all(task, executor, samples, model(image=AS_IS, boxes=BoxOutput(boxes="bboxes")), 1)


def test_a_class_for_each_pixel(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["hundred", "x"], ["rest"]),
        helper.make_node("Concat", ["rest", "x"], ["y"], axis=1),
    ]
    weights = {"hundred": np.array(100, dtype=np.float32)}
    size = ["N", 1, "H", "W"]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, size)}, {"y": (FLOAT, ["N", 2, "H", "W"])}, weights)
    random = np.random.default_rng(0)
    images = random.integers(0, 101, (5, 4, 6), dtype=np.uint8)
    masks = random.integers(0, 3, (5, 4, 6), dtype=np.uint8)
    masks[0, 0] = 255
    task, samples = get_task("segmentation"), samples_of(images, masks=masks)
    with opened(path) as executor:
        pixels = task.predictions(samples, answer_all(task, executor, samples, model(image=AS_IS), 2)).region_pixels
    assert pixels is not None
    for index in range(5):
        told, scored = images[index] > 50, masks[index] != 255
        for k in range(3):
            mine = (told == k) & scored
            expected = [(mine & (masks[index] == k)).sum(), mine.sum(), ((masks[index] == k) & scored).sum()]
            assert pixels[index, k].tolist() == expected


def test_symbols_are_merged_and_blanks_dropped(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["N", "T", 4])}, {"y": (FLOAT, ["N", "T", 4])})
    steps = [[1, 1, 0, 1, 2, 2, 3], [0, 0, 0, 0, 0, 0, 0], [3, 0, 3, 3, 0, 0, 1], [2, 2, 2, 2, 2, 2, 2]]
    scores = np.eye(4, dtype=np.float32)[np.asarray(steps)]
    task = get_task("transcription")
    samples = samples_of(scores, targets=np.asarray(["aabc", "", "cca", "b"]))
    with opened(path) as executor:
        for blank, expected in ((0, ["aabc", "", "cca", "b"]), (3, ["babc", "a", "aab", "c"])):
            declared = model(spelling=SpelledOutput(vocabulary="abc", blank=blank))
            predictions = task.predictions(samples, answer_all(task, executor, samples, declared, 3))
            assert predictions.texts.tolist() == expected
        with pytest.raises(CellError, match=r"expects scores \[batch, time, 3\]"):
            answer_all(task, executor, samples, model(spelling=SpelledOutput(vocabulary="ab")), 1)
