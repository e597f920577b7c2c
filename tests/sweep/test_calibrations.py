"""Calibration as an axis: what a suite may declare, what reaches the quantizer, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lynxbench.datasets.corruptions import corrupt, noise
from lynxbench.datasets.samples import Samples, calibration_samples
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import build
from lynxbench.specs.load import builtin_folder, locate
from lynxbench.specs.resolve import resolve_suite
from lynxbench.specs.scheme import Calibration
from lynxbench.sweep.prepare import Material, prepare
from tests.specs.declare import problems, refused

TRAIN = {"name": "train", "source": "builtin:starter/fashion-calibration.npz", "split": "train", "count": 120}
CHAINS = {**TRAIN, "source": "builtin:starter/arithmetic-calibration.jsonl", "stratify_by": "steps"}
SUITE = """
name = "axis"
version = "1"
[[models]]
name = "resnet"
version = "1"
path = "builtin:starter/fashion-resnet8.onnx"
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "int8-static"
kind = "int8-static"
[[workloads]]
name = "classify"
rubric = "fashion-classification"
models = ["resnet"]
calibrations = ["train", "other"]
[budgets.quick]
test_set = "quick"
[[calibrations]]
name = "train"
source = "builtin:starter/fashion-calibration.npz"
split = "train"
count = 120
[[calibrations]]
name = "other"
split = "train"
"""


def chosen(declared: dict[str, Any], task: str = "image-classification", **more: Any) -> Samples:
    calibration = build(Calibration, declared | more, "suite.toml")
    file = builtin_folder("suites") / "starter.toml"
    return calibration_samples(calibration, locate(calibration.source, file), Path("suite.toml"), task)


def material(folder: Path, other: str) -> Material:
    (folder / "suite.toml").write_text(SUITE + other)
    return prepare(resolve_suite(str(folder / "suite.toml"), budget="quick"))


def one_problem(action: Any) -> Problem:
    (problem,) = refused(action)
    return problem


def test_one_class_is_only_that_class_in_the_order_of_the_whole() -> None:
    only = chosen(TRAIN, where={"label": [3]}, count=20)
    assert only.labels is not None
    assert set(only.labels.tolist()) == {3}
    assert len(only) == 20
    # ids are places in the file, not in what the filter left
    everything = chosen(TRAIN, selection="first", count=250)
    place = {identity: index for index, identity in enumerate(everything.ids.tolist())}
    shared = [identity for identity in only.ids.tolist() if identity in place]
    assert shared
    for identity in shared:
        mine = only.contents[only.ids.tolist().index(identity)]
        assert mine == everything.contents[place[identity]]


def test_a_filter_also_goes_by_a_column_and_several_values() -> None:
    long = chosen(CHAINS, "generation", where={"steps": [7, "8"]}, count=30)
    lengths = {sum(text.count(sign) for sign in "+-*") for text in long.inputs.tolist()}
    assert lengths == {7, 8}


@pytest.mark.parametrize(
    ("where", "key", "words"),
    [
        ({"label": [11]}, "where.label", "no sample of fashion-calibration.npz has this value"),
        ({"colour": ["red"]}, "where.colour", "has no such field"),
        ({"label": [1]}, "count", "more than there are"),
    ],
)
def test_a_filter_that_leaves_too_little_is_refused(where: dict[str, Any], key: str, words: str) -> None:
    problem = one_problem(lambda: chosen(TRAIN, where=where))
    assert problem.key == f"calibrations.train.{key}"
    assert words in problem.message


def test_shifted_samples_are_corrupted_as_a_view_is_and_keep_what_they_were() -> None:
    plain = chosen(TRAIN, seed=5, count=20)
    shifted = chosen(TRAIN, seed=5, count=20, corruption="contrast", severity=4)
    expected = corrupt(plain.inputs.astype(np.uint8), "contrast", 4, 5, plain.ids.tolist())
    np.testing.assert_array_equal(shifted.inputs, expected)
    np.testing.assert_array_equal(shifted.contents, plain.contents)  # so a corrupted test sample is an overlap
    assert shifted.labels is not None
    assert plain.labels is not None
    np.testing.assert_array_equal(shifted.labels, plain.labels)
    assert shifted.fingerprint() != plain.fingerprint()


def test_noise_has_the_size_of_the_samples_and_nothing_else_of_them() -> None:
    plain, random = chosen(TRAIN, count=20), chosen(TRAIN, count=20, kind="noise")
    assert random.inputs.shape == plain.inputs.shape
    assert random.inputs.dtype == np.uint8
    assert abs(random.inputs.mean() - 127.5) < 3
    assert random.labels is None
    assert not set(random.contents.tolist()) & set(plain.contents.tolist())
    assert chosen(TRAIN, count=20, kind="noise").fingerprint() == random.fingerprint()
    assert chosen(TRAIN, count=20, kind="noise", seed=1).fingerprint() != random.fingerprint()


def test_noise_as_text_uses_only_characters_that_the_samples_use() -> None:
    plain, random = chosen(CHAINS, "generation"), chosen(CHAINS, "generation", kind="noise")
    assert [len(text) for text in random.inputs.tolist()] == [len(text) for text in plain.inputs.tolist()]
    assert set("".join(random.inputs.tolist())) == set("".join(plain.inputs.tolist()))
    assert random.targets is None
    assert (random.inputs != plain.inputs).all()


def test_noise_depends_on_the_id_alone() -> None:
    images = np.zeros((3, 4, 4), dtype=np.uint8)
    whole = noise(images, 7, ["a", "b", "c"])
    np.testing.assert_array_equal(noise(images[:1], 7, ["c"])[0], whole[2])
    assert noise(np.asarray(["", "xy"]), 7, ["a", "b"]).tolist()[0] == ""


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('corruption = "blur"', "a corruption needs a severity"),
        ("severity = 2", "a corruption needs a severity"),
        ('kind = "noise"\ncorruption = "blur"\nseverity = 2', "has no effect on noise"),
        ("where = { label = [] }", "where.label is an empty list"),
    ],
)
def test_options_that_contradict_each_other_are_refused(declared: str, words: str) -> None:
    text = f'name = "c"\nsource = "x.npz"\nsplit = "train"\ncount = 3\n{declared}\n'
    assert any(words in problem.message for problem in problems(Calibration, text))


def test_text_is_not_blurred() -> None:
    problem = one_problem(lambda: chosen(CHAINS, "generation", corruption="blur", severity=2))
    assert problem.key == "calibrations.train.corruption"


def test_few_samples_and_overlap_are_errors_unless_the_suite_says_so(tmp_path: Path) -> None:
    few = 'source = "builtin:starter/fashion-calibration.npz"\ncount = 4\n'
    problem = one_problem(lambda: material(tmp_path, few))
    assert (problem.key, problem.expected) == ("calibrations[1].count", "at least 100")
    found = material(tmp_path, few + "allow_fewer = true\n").calibrations["classify", "other"]
    assert (len(found.samples), found.minimum_n, found.overlap_n) == (4, 100, 0)

    leak = 'source = "builtin:starter/fashion-test.npz"\ncount = 400\nseed = 7\n'
    problem = one_problem(lambda: material(tmp_path, leak))
    assert problem.key == "calibrations[1].source"
    assert "120 of 400 calibration samples are also in the test set" in problem.message
    found = material(tmp_path, leak + "allow_overlap = true\n").calibrations["classify", "other"]
    assert found.overlap_n == 120


def test_the_same_set_under_two_names_is_refused(tmp_path: Path) -> None:
    same = 'source = "builtin:starter/fashion-calibration.npz"\ncount = 120\n'
    with pytest.raises(DeclarationError, match="same order and batches as calibration 'train'"):
        material(tmp_path, same)
    two = material(tmp_path, same + "seed = 1\n").calibrations
    assert two["classify", "train"].digest != two["classify", "other"].digest


def test_the_record_says_what_was_done_to_the_samples() -> None:
    assert build(Calibration, TRAIN, "x").options() == {}
    given = {"where": {"label": [1]}, "corruption": "blur", "severity": 2}
    assert build(Calibration, TRAIN | given, "x").options() == given
