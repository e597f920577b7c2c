"""What the image tasks share: pixels to tensors."""

from __future__ import annotations

import numpy as np

from lynxbench.datasets.predictions import Column
from lynxbench.errors import CellError
from lynxbench.specs.suite import ImageInput, Model
from lynxbench.tasks.base import Feed, TensorInfo, only_input


def image_feed(images: Column, model: Model, tensors: tuple[TensorInfo, ...], task: str) -> Feed:
    """uint8 [b, h, w] or [b, h, w, c] → ``(x * scale - mean) / std`` as [b, c, h, w] in the input's own type.

    Raises `CellError` when the model declares a mean or std for another number of channels than the images have.
    """
    tensor = only_input(tensors, task)
    declared = model.image or ImageInput()
    pixels = images.astype(np.float32)
    channels_first = pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)
    channels = channels_first.shape[1]
    for name, values in (("mean", declared.mean), ("std", declared.std)):
        if len(values) not in (1, channels):
            found = f"model {model.name} declares {name} for {len(values)} channels, the images have {channels}"
            raise CellError("failed", found)
    shape = (1, -1, 1, 1)
    mean = np.asarray(declared.mean, dtype=np.float32).reshape(shape)
    std = np.asarray(declared.std, dtype=np.float32).reshape(shape)
    scaled = (channels_first * np.float32(declared.scale) - mean) / std
    return {tensor.name: np.ascontiguousarray(scaled, dtype=tensor.dtype)}
