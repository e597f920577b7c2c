"""Deterministic corruptions, severities 1 to 5: the out-of-distribution strata of a test set. Here those of images.

A sample's corruption depends on the seed and on its own id alone, never on what else was selected, so the same
image is corrupted the same way in a quick run and in a thorough one. The severities follow the idea of
ImageNet-C (Hendrycks and Dietterich, 2019), scaled for small images; values are on the 0–255 scale. Texts and sounds
have modules of their own.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.audio_corruptions import AUDIO_CORRUPTIONS
from lynxbench.datasets.text_corruptions import TEXT_CORRUPTIONS
from lynxbench.errors import UsageError

Image = npt.NDArray[np.float64]

# One parameter a severity.
GAUSSIAN_SD = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
CONTRAST_FACTOR = (0.75, 0.5, 0.4, 0.3, 0.15)
BRIGHTNESS_OFFSET = (0.1, 0.2, 0.3, 0.4, 0.5)
BLUR_SD_PIXELS = (0.5, 0.75, 1.0, 1.5, 2.0)
SHIFT_PIXELS = (1, 2, 3, 4, 5)
ROTATION_DEGREES = (5.0, 10.0, 15.0, 25.0, 40.0)
JPEG_QUALITY = (50, 30, 18, 10, 5)


def corrupt(
    inputs: npt.NDArray[Any], corruption: str, severity: int | None, seed: int, ids: Sequence[str]
) -> npt.NDArray[Any]:
    """Corrupt each input by a stream of its own: images ([n, h, w] or [n, h, w, c] uint8), texts ([n] str) or sounds
    ([n, samples] floating point); returns the same shape and type (texts may need more room).

    Raises `UsageError` when the corruption is not for this kind of input, or needs a library that is not there.
    """
    if corruption == "none" or severity is None:
        return inputs
    kind = input_kind(inputs)
    if corruption not in CORRUPTIONS_OF[kind]:
        raise UsageError(
            f"corruption {corruption!r} is not for {kind}; {', '.join(CORRUPTIONS_OF[kind]) or 'none'} are"
        )
    streams = [_stream(seed, corruption, severity, identity) for identity in ids]
    if kind == "texts":
        texts = zip(inputs.tolist(), streams, strict=True)
        return np.asarray([TEXT_CORRUPTIONS[corruption](text, severity - 1, random) for text, random in texts])
    corrupted = np.empty_like(inputs)
    for index, random in enumerate(streams):
        if kind == "sounds":
            corrupted[index] = AUDIO_CORRUPTIONS[corruption](inputs[index].astype(np.float64), severity - 1, random)
        else:
            image = CORRUPTIONS[corruption](inputs[index].astype(np.float64) / 255.0, severity - 1, random)
            corrupted[index] = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return corrupted


def input_kind(inputs: npt.NDArray[Any]) -> str:
    """Which corruptions apply: ``texts``, ``images``, ``sounds`` (floats, [n, samples]), or none (``arrays``)."""
    if inputs.dtype.kind == "U":
        return "texts"
    if inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
        return "images"
    return "sounds" if inputs.dtype.kind == "f" and inputs.ndim == 2 else "arrays"


def noise(inputs: npt.NDArray[Any], seed: int, ids: Sequence[str]) -> npt.NDArray[Any]:
    """Random inputs of the same shape and type, each from a stream of its own id: what no sample looks like.

    Images ([n, …] uint8): every value uniform on 0–255. Other numbers: uniform between the extremes of `inputs`. Text
    ([n] str): as many characters as the sample has, drawn uniformly from all that occur in `inputs`, so that a model's
    vocabulary still knows them.
    """
    random = np.empty_like(inputs)
    characters = sorted(set("".join(inputs.tolist()))) if inputs.dtype.kind == "U" else []
    for index, identity in enumerate(ids):
        stream = _stream(seed, "noise", 0, identity)
        if inputs.dtype.kind == "U":
            random[index] = "".join(stream.choice(characters, size=len(inputs[index]))) if inputs[index] else ""
        elif inputs.dtype == np.uint8:
            random[index] = stream.integers(0, 256, inputs[index].shape, dtype=np.uint8)
        else:
            random[index] = stream.uniform(inputs.min(), inputs.max(), inputs[index].shape)
    return random


def _stream(seed: int, corruption: str, severity: int, identity: str) -> np.random.Generator:
    word = hashlib.sha256(f"{seed}\0{corruption}\0{severity}\0{identity}".encode()).digest()
    return np.random.default_rng(np.frombuffer(word, dtype="<u4"))


def _gaussian_noise(image: Image, level: int, random: np.random.Generator) -> Image:
    return image + random.normal(0.0, GAUSSIAN_SD[level], image.shape)


def _shot_noise(image: Image, level: int, random: np.random.Generator) -> Image:
    photons = SHOT_PHOTONS[level]
    return np.asarray(random.poisson(image * photons) / photons, dtype=np.float64)


def _contrast(image: Image, level: int, random: np.random.Generator) -> Image:
    mean = image.mean()
    return np.asarray((image - mean) * CONTRAST_FACTOR[level] + mean, dtype=np.float64)


def _brightness(image: Image, level: int, random: np.random.Generator) -> Image:
    return image + BRIGHTNESS_OFFSET[level]


def _blur(image: Image, level: int, random: np.random.Generator) -> Image:
    from scipy.ndimage import gaussian_filter

    spread = BLUR_SD_PIXELS[level]
    return np.asarray(gaussian_filter(image, sigma=(spread, spread, *([0] * (image.ndim - 2)))), dtype=np.float64)


def _shift(image: Image, level: int, random: np.random.Generator) -> Image:
    distance = SHIFT_PIXELS[level]
    down, right = random.choice([-distance, 0, distance], size=2)
    if down == 0 and right == 0:
        down = distance
    height, width = image.shape[:2]
    shifted = np.zeros_like(image)
    shifted[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return shifted


def _rotation(image: Image, level: int, random: np.random.Generator) -> Image:
    from scipy.ndimage import rotate

    degrees = ROTATION_DEGREES[level] * random.choice([-1.0, 1.0])
    return np.asarray(rotate(image, degrees, axes=(1, 0), reshape=False, order=1, mode="constant"), dtype=np.float64)


def _jpeg(image: Image, level: int, random: np.random.Generator) -> Image:
    try:
        from PIL import Image as Pictures
    except ImportError:
        raise UsageError('corruption "jpeg" needs Pillow: pip install "lynxbench[images]"') from None
    levels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    # One and three channels are what JPEG knows; of any other number each is a picture of its own.
    if levels.ndim == 3 and levels.shape[2] != 3:
        return np.stack([_jpeg(image[:, :, channel], level, random) for channel in range(image.shape[2])], axis=2)
    buffer = io.BytesIO()
    Pictures.fromarray(levels).save(buffer, "JPEG", quality=JPEG_QUALITY[level])
    return np.asarray(Pictures.open(buffer), dtype=np.float64) / 255.0


CORRUPTIONS: dict[str, Callable[[Image, int, np.random.Generator], Image]] = {
    "gaussian-noise": _gaussian_noise,
    "shot-noise": _shot_noise,
    "contrast": _contrast,
    "brightness": _brightness,
    "blur": _blur,
    "shift": _shift,
    "rotation": _rotation,
    "jpeg": _jpeg,
}
CORRUPTIONS_OF: dict[str, tuple[str, ...]] = {
    "images": tuple(CORRUPTIONS),
    "texts": tuple(TEXT_CORRUPTIONS),
    "sounds": tuple(AUDIO_CORRUPTIONS),
    "arrays": (),
}
