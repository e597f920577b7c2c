"""Fashion-MNIST: reading the original files, splitting them, and writing what the suite ships."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEFAULT_SOURCE = Path(os.environ.get("FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))
"""Where the Debian package `dataset-fashion-mnist` puts the four idx files."""

PIXEL_MEAN, PIXEL_DEVIATION = 0.2860, 0.3530
"""Mean and standard deviation of the training set's pixels, scaled to 0–1."""

CLASSES = 10
VALIDATION_IMAGES = 5_000
CALIBRATION_IMAGES = 512
SPLIT_SEED, CALIBRATION_SEED = 20_26, 512

_IDX_UBYTE = 0x08


@dataclass(frozen=True)
class Images:
    """Labelled images: `pixels` uint8 [n, 28, 28], `labels` uint8 [n], `ids` int32 [n] (row in the original file)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: NDArray[np.int32]

    def take(self, rows: NDArray[np.int64]) -> Images:
        """The images at `rows`, in that order."""
        return Images(self.pixels[rows], self.labels[rows], self.ids[rows])


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped idx-ubyte file (http://yann.lecun.com/exdb/mnist/ describes the format).

    Raises:
        ValueError: the file is no idx file of unsigned bytes, or is cut short.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != bytes([0, 0, _IDX_UBYTE]):
        raise ValueError(f"{path}: expected an idx file of unsigned bytes, found the header {content[:4].hex()}")
    rank = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=rank, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path}: the header promises {tuple(shape)} values, the file holds {values.size}")
    return values.reshape(tuple(int(side) for side in shape)).copy()  # writable, unlike a view of bytes


def load_images(source: Path, part: str) -> Images:
    """All images of one original file pair; `part` is "train" (60,000) or "t10k" (10,000)."""
    pixels = read_idx(source / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{part}-labels-idx1-ubyte.gz")
    return Images(pixels, labels, np.arange(len(labels), dtype=np.int32))


def split_training(images: Images) -> tuple[Images, Images]:
    """Split the training images into 55,000 to fit and 5,000 to choose recipes by; the test file chooses nothing."""
    rows = np.random.default_rng(SPLIT_SEED).permutation(len(images.labels))
    return images.take(np.sort(rows[VALIDATION_IMAGES:])), images.take(np.sort(rows[:VALIDATION_IMAGES]))


def stratified(images: Images, count: int, seed: int) -> Images:
    """Draw `count` images with class counts that differ by one at most, in a random order."""
    generator = np.random.default_rng(seed)
    quotas = np.full(CLASSES, count // CLASSES)
    quotas[generator.permutation(CLASSES)[: count % CLASSES]] += 1
    chosen = [
        generator.choice(np.flatnonzero(images.labels == label), size=quota, replace=False)
        for label, quota in enumerate(quotas)
    ]
    # Shuffled, so that a calibration which reads only the first rows still sees every class.
    return images.take(generator.permutation(np.concatenate(chosen)))


def normalize(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the models take: uint8 [n, 28, 28] to float32 [n, 1, 28, 28], zero mean and unit deviation."""
    scaled = (pixels.astype(np.float32) / np.float32(255.0) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_DEVIATION)
    return scaled[:, None]


def write_images(images: Images, path: Path) -> None:
    """Write the arrays `images`, `labels` and `ids` as a compressed npz (the same bytes every time)."""
    np.savez_compressed(path, images=images.pixels, labels=images.labels, ids=images.ids)


def build_images(source: Path, folder: Path) -> None:
    """Write `fashion-test.npz` and `fashion-calibration.npz` into `folder`."""
    write_images(load_images(source, "t10k"), folder / "fashion-test.npz")
    calibration = stratified(load_images(source, "train"), CALIBRATION_IMAGES, CALIBRATION_SEED)
    write_images(calibration, folder / "fashion-calibration.npz")
