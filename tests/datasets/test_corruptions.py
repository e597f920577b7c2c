"""Corruptions: the same for a sample whatever stands beside it, heavier with severity, and pinned to the byte."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.corruptions import CORRUPTIONS, corrupt
from lynxbench.specs.rubric import View

SEED = 7
# SciPy and libjpeg may round otherwise in another version: their pictures are pinned by what an eye would notice.
BY_LIBRARIES = {"blur", "rotation", "jpeg"}


def gradient(size: int = 28) -> np.ndarray:
    """A bright disc on a ramp: edges, flat parts and every level."""
    y, x = np.mgrid[:size, :size]
    disc = (y - size / 2) ** 2 + (x - size / 3) ** 2 < (size / 4) ** 2
    return np.where(disc, 220, (x + y) * 255 // (4 * size)).astype(np.uint8)


def one(corruption: str, severity: int) -> np.ndarray:
    return corrupt(gradient()[None], corruption, severity, SEED, ["picture"])[0]


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 12, 12), dtype=np.uint8)


every_corruption = pytest.mark.parametrize("corruption", CORRUPTIONS)


def test_every_corruption_that_may_be_declared_is_there() -> None:
    for corruption in CORRUPTIONS:
        View(name="v", corruption=corruption, severity=5)


@every_corruption
@given(data=st.data())
def test_a_picture_is_corrupted_by_its_id_alone(corruption: str, data: st.DataObject) -> None:
    images, ids = pictures(6), [f"id{i}" for i in range(6)]
    severity = data.draw(st.integers(1, 5))
    order = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True))
    whole = corrupt(images, corruption, severity, SEED, ids)
    part = corrupt(images[order], corruption, severity, SEED, [ids[i] for i in order])
    np.testing.assert_array_equal(part, whole[order])


@pytest.mark.parametrize("corruption", ["gaussian-noise", "shot-noise"])
def test_another_id_seed_or_severity_is_another_stream(corruption: str) -> None:
    image = gradient()[None]
    base = corrupt(image, corruption, 2, SEED, ["a"])
    for other in (
        corrupt(image, corruption, 2, SEED, ["b"]),
        corrupt(image, corruption, 2, SEED + 1, ["a"]),
        corrupt(image, corruption, 3, SEED, ["a"]),
    ):
        assert (other != base).mean() > 0.2


@every_corruption
def test_heavier_is_farther_from_the_original(corruption: str) -> None:
    ids = [f"id{i}" for i in range(16)]  # a shift has a random direction: the average over several is what grows
    original = np.repeat(gradient()[None], len(ids), axis=0)
    changed = [corrupt(original, corruption, severity, SEED, ids).astype(float) for severity in range(1, 6)]
    distances = [np.sqrt(np.mean((images - original) ** 2)) for images in changed]
    assert distances == sorted(distances)
    assert distances[0] > 0.5
    assert distances[4] > 1.5 * distances[0]


@every_corruption
def test_shape_type_and_input_stay(corruption: str) -> None:
    colours = np.repeat(pictures(3)[..., None], 3, axis=3)
    before = colours.copy()
    changed = corrupt(colours, corruption, 3, SEED, ["a", "b", "c"])
    assert (changed.shape, changed.dtype) == (colours.shape, np.uint8)
    np.testing.assert_array_equal(colours, before)
    if corruption not in {"gaussian-noise", "shot-noise"}:  # noise is drawn for every channel
        np.testing.assert_array_equal(changed[..., 0], changed[..., 2])


def test_a_clean_view_is_the_picture_itself() -> None:
    images = pictures(2)
    assert corrupt(images, "none", None, SEED, ["a", "b"]) is images


GOLDEN_SHA256 = {
    ("gaussian-noise", 1): "b5419ed64d8a22f8",
    ("gaussian-noise", 2): "8347ceb64a64caa8",
    ("gaussian-noise", 3): "1a0b55c2737d0fc8",
    ("gaussian-noise", 4): "b963b455f7d4657d",
    ("gaussian-noise", 5): "922d4205f23f79c9",
    ("shot-noise", 1): "de8b1f8f78af6f3a",
    ("shot-noise", 2): "8ecd3877b1d672ee",
    ("shot-noise", 3): "5ee1329cf6654a6d",
    ("shot-noise", 4): "64e802b1109564b3",
    ("shot-noise", 5): "87b0548087a20493",
    ("contrast", 1): "fc6302dc2dffa988",
    ("contrast", 2): "2fb74f45315a020c",
    ("contrast", 3): "3435b61c9804af6a",
    ("contrast", 4): "c3201216eec2b5fb",
    ("contrast", 5): "33462788f8c37a95",
    ("brightness", 1): "4b64f30580cc7f5c",
    ("brightness", 2): "33812834c85e5333",
    ("brightness", 3): "76552a96ef673a05",
    ("brightness", 4): "37ba60c7539c98a6",
    ("brightness", 5): "c29445239c47eb10",
    ("shift", 1): "44fb4cff42a2a1b9",
    ("shift", 2): "8d44ae7db34b4888",
    ("shift", 3): "073592e592c12ed5",
    ("shift", 4): "3aeb0f0fa9adb01d",
    ("shift", 5): "68be2d67782ea859",
}
# corruption, severity: mean, standard deviation, and the value of one pixel
GOLDEN_LEVELS = {
    ("blur", 1): (93.37, 64.48, 220),
    ("blur", 2): (93.36, 62.02, 219),
    ("blur", 3): (93.37, 60.14, 213),
    ("blur", 4): (93.38, 56.29, 193),
    ("blur", 5): (93.37, 52.28, 174),
    ("rotation", 1): (88.70, 68.25, 220),
    ("rotation", 2): (86.84, 69.53, 220),
    ("rotation", 3): (85.26, 70.49, 220),
    ("rotation", 4): (82.78, 72.02, 220),
    ("rotation", 5): (80.86, 73.02, 220),
    ("jpeg", 1): (93.68, 67.04, 218),
    ("jpeg", 2): (93.28, 66.59, 254),
    ("jpeg", 3): (93.32, 65.77, 243),
    ("jpeg", 4): (94.34, 65.96, 232),
    ("jpeg", 5): (93.81, 65.25, 217),
}


@pytest.mark.parametrize(("corruption", "severity"), GOLDEN_SHA256)
def test_the_same_bytes_on_every_machine(corruption: str, severity: int) -> None:
    found = hashlib.sha256(one(corruption, severity).tobytes()).hexdigest()
    assert found[:16] == GOLDEN_SHA256[corruption, severity]


@pytest.mark.parametrize(("corruption", "severity"), GOLDEN_LEVELS)
def test_the_same_picture_with_every_version_of_a_library(corruption: str, severity: int) -> None:
    image = one(corruption, severity).astype(float)
    mean, deviation, pixel = GOLDEN_LEVELS[corruption, severity]
    assert image.mean() == pytest.approx(mean, abs=0.2)
    assert image.std() == pytest.approx(deviation, abs=0.2)
    assert image[10, 6] == pytest.approx(pixel, abs=1)


def test_nothing_goes_unpinned() -> None:
    pinned = {*GOLDEN_SHA256, *GOLDEN_LEVELS}
    assert pinned == {(corruption, severity) for corruption in CORRUPTIONS for severity in range(1, 6)}
    assert {corruption for corruption, _ in GOLDEN_LEVELS} == BY_LIBRARIES
