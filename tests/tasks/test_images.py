"""Pixels to tensors, batches to answers, answers to predictions: on real sessions, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from lynxbench.errors import CellError
from lynxbench.specs.suite import ImageInput
from lynxbench.tasks import answer_all, batches, get_task
from lynxbench.tasks.base import only_output
from lynxbench.tasks.images import image_feed
from tests.tasks.models import FLOAT, INT64, batch_mean, flatten, images, model, opened, projection, save

CLASSIFY = get_task("image-classification")


@given(total=st.integers(1, 60), batch_size=st.integers(1, 70))
def test_batches_are_full_cover_all_and_start_over(total: int, batch_size: int) -> None:
    found = list(batches(total, batch_size))
    assert {len(positions) for positions in found} == {batch_size}
    flat = np.concatenate(found)
    assert flat[:total].tolist() == list(range(total))
    assert flat[total:].tolist() == [k % total for k in range(total, len(flat))]
    assert len(flat) - total < batch_size


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_what_the_model_is_fed_is_the_declared_normalisation(tmp_path: Path, batch_size: int) -> None:
    samples = images(7, channels=3)
    declared = ImageInput(scale=0.01, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    with opened(flatten(tmp_path / "m.onnx", pixels=48)) as executor:
        answers = answer_all(CLASSIFY, executor, samples, model(image=declared), batch_size)
    logits = CLASSIFY.predictions(samples, answers).logits
    expected = (samples.inputs * 0.01 - np.asarray(declared.mean)) / np.asarray(declared.std)
    assert logits is not None
    np.testing.assert_allclose(logits, expected.transpose(0, 3, 1, 2).reshape(7, 48), rtol=1e-5, atol=1e-6)


def test_grey_pictures_and_the_default_scale(tmp_path: Path) -> None:
    samples = images(5)
    with opened(flatten(tmp_path / "m.onnx", pixels=16)) as executor:
        answers = answer_all(CLASSIFY, executor, samples, model(), 2)
    predictions = CLASSIFY.predictions(samples, answers)
    assert predictions.logits is not None
    np.testing.assert_allclose(predictions.logits, samples.inputs.reshape(5, 16) / 255, rtol=1e-6)
    assert predictions.labels is samples.labels
    assert predictions.sample_ids.tolist() == samples.ids.tolist()
    assert predictions.strata == samples.strata
    assert not predictions.failed.any()


def test_the_input_gets_the_type_that_it_has(tmp_path: Path) -> None:
    samples = images(2)
    with opened(flatten(tmp_path / "m.onnx", pixels=16, element=10)) as executor:  # float16
        feed = CLASSIFY.feed(samples.inputs, model(), executor.inputs)
        assert feed["x"].dtype == np.float16
        logits = CLASSIFY.predictions(samples, answer_all(CLASSIFY, executor, samples, model(), 2)).logits
    assert logits is not None
    assert logits.dtype == np.float32


@pytest.mark.parametrize(("mean", "std"), [((0.1, 0.2, 0.3), (1.0,)), ((0.5,), (1.0, 1.0, 1.0))])
def test_three_channels_declared_for_grey_pictures(
    tmp_path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    declared = model(image=ImageInput(mean=mean, std=std))
    path, said = flatten(tmp_path / "m.onnx", pixels=16), "for 3 channels, the images have 1"
    with opened(path) as executor, pytest.raises(CellError, match=said):
        image_feed(images(2).inputs, declared, executor.inputs, "image-classification")


def test_the_last_batch_is_filled_up_from_the_start(tmp_path: Path) -> None:
    samples = images(5)
    flat = (samples.inputs.reshape(5, 16) / 255).astype(np.float32)
    with opened(batch_mean(tmp_path / "m.onnx", pixels=16)) as executor:
        logits = answer_all(CLASSIFY, executor, samples, model(), 2)["y"]
    pairs = [[0, 1], [0, 1], [2, 3], [2, 3], [4, 0]]  # sample 4 is asked together with sample 0
    expected = np.stack([flat[i] - flat[pair].mean(axis=0) for i, pair in enumerate(pairs)])
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_a_batch_larger_than_the_test_set_repeats_it(tmp_path: Path) -> None:
    samples = images(3)
    flat = (samples.inputs.reshape(3, 16) / 255).astype(np.float32)
    with opened(batch_mean(tmp_path / "m.onnx", pixels=16)) as executor:
        logits = answer_all(CLASSIFY, executor, samples, model(), 8)["y"]
    np.testing.assert_allclose(logits, flat - flat[[0, 1, 2, 0, 1, 2, 0, 1]].mean(axis=0), atol=1e-6)


def test_a_nan_is_a_failed_sample_not_a_lost_one(tmp_path: Path) -> None:
    samples = images(4)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Div", ["f", "f"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["N", 1, 4, 4])}, {"y": (FLOAT, ["N", 16])})
    samples.inputs[samples.inputs == 0] = 1
    samples.inputs[2] = 0  # 0 / 0
    with opened(path) as executor:
        predictions = CLASSIFY.predictions(samples, answer_all(CLASSIFY, executor, samples, model(), 2))
    assert predictions.failed.tolist() == [False, False, True, False]
    assert len(predictions) == 4


def test_outputs_of_the_wrong_shape(tmp_path: Path) -> None:
    samples = images(4)
    inputs = {"x": (FLOAT, ["N", 1, 4, 4])}
    reduced = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0, 1, 2, 3], keepdims=0)]
    scalar = save(tmp_path / "scalar.onnx", reduced, inputs, {"y": (FLOAT, [])})
    over_batch = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)]
    one = save(tmp_path / "one.onnx", over_batch, inputs, {"y": (FLOAT, [1, 1, 4, 4])})
    picture = save(
        tmp_path / "picture.onnx", [helper.make_node("Relu", ["x"], ["y"])], inputs, {"y": (FLOAT, ["N", 1, 4, 4])}
    )
    for path, said in (
        (scalar, r"output y has shape \[\] for a batch of 2"),
        (one, r"\[1, 1, 4, 4\] for a batch of 2"),
    ):
        with opened(path) as executor, pytest.raises(CellError, match=said):
            answer_all(CLASSIFY, executor, samples, model(), 2)
    with opened(picture) as executor:
        answers = answer_all(CLASSIFY, executor, samples, model(), 2)
    with pytest.raises(
        CellError, match=r"expects an output \[samples, k\] of numbers, k at least 3; .* \[4, 1, 4, 4\]"
    ):
        CLASSIFY.predictions(samples, answers)


def test_fewer_classes_than_labels(tmp_path: Path) -> None:
    samples = images(4)
    with opened(projection(tmp_path / "m.onnx", np.ones((16, 2), np.float32))) as executor:
        answers = answer_all(CLASSIFY, executor, samples, model(), 2)
    with pytest.raises(CellError, match=r"k at least 3; the model gave float32 \[4, 2\]"):
        CLASSIFY.predictions(samples, answers)


def test_whole_numbers_are_scores_and_text_is_none() -> None:
    assert only_output({"y": np.asarray([[1, 2]])}, "t").dtype == np.float32
    with pytest.raises(CellError, match="of numbers"):
        only_output({"y": np.asarray([["a"]])}, "t")


def test_one_input_is_fed(tmp_path: Path) -> None:
    both = {"a": (FLOAT, ["N", 1, 4, 4]), "b": (FLOAT, ["N", 1, 4, 4])}
    path = save(tmp_path / "m.onnx", [helper.make_node("Add", ["a", "b"], ["y"])], both, {"y": (FLOAT, ["N", 1, 4, 4])})
    with opened(path) as executor, pytest.raises(CellError, match="feeds one input, the model has 2: a, b") as caught:
        answer_all(CLASSIFY, executor, images(2), model(), 2)
    assert caught.value.status == "unsupported"


def test_a_model_of_fixed_batch_says_so(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Flatten", ["x"], ["y"])],
        {"x": (FLOAT, [1, 1, 4, 4])},
        {"y": (FLOAT, [1, 16])},
    )
    with opened(path) as executor:
        assert answer_all(CLASSIFY, executor, images(3), model(), 1)["y"].shape == (3, 16)
        with pytest.raises(CellError, match=r"input x has shape \[1, 1, 4, 4\], the feed has \[2, 1, 4, 4\]"):
            answer_all(CLASSIFY, executor, images(3), model(), 2)


def test_an_integer_model_is_fed_integers(tmp_path: Path) -> None:
    declared = model(image=ImageInput(scale=1.0))
    with opened(flatten(tmp_path / "m.onnx", pixels=16, element=INT64)) as executor:
        samples = images(2)
        answers = answer_all(CLASSIFY, executor, samples, declared, 1)
    np.testing.assert_array_equal(answers["y"], samples.inputs.reshape(2, 16))
