"""Corrupted views of images: what the embedding model learns to see through, and is scored on."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

ROTATION_DEGREES = 15.0
SHIFT_PIXELS = 3.0
BLUR_SIGMA_PIXELS = 1.0
CONTRAST = 0.4
BRIGHTNESS = 0.15
NOISE_DEVIATION = 0.15


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _move(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    count, _, side, _ = pixels.shape
    angle = _uniform(count, -1, 1, generator) * math.radians(ROTATION_DEGREES) * strength
    # affine_grid measures in half-widths of the image.
    shift = torch.rand(count, 2, generator=generator).mul(2).sub(1) * (2 * SHIFT_PIXELS * strength / side)
    sine, cosine = angle.sin(), angle.cos()
    rows = [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


def _blur(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    count, _, height, width = pixels.shape
    sigma = _uniform(count, 0.05, BLUR_SIGMA_PIXELS * strength, generator)[:, None]
    taps = torch.exp(-(torch.arange(-2.0, 3.0)[None] ** 2) / (2 * sigma**2))
    taps = taps / taps.sum(1, keepdim=True)
    kernels = (taps[:, :, None] * taps[:, None, :])[:, None]
    return functional.conv2d(pixels.reshape(1, count, height, width), kernels, padding=2, groups=count).reshape_as(
        pixels
    )


def corrupt(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Rotate, shift, blur, and change contrast and brightness at random, then add Gaussian noise.

    Args:
        pixels: float [n, 1, 28, 28], 0–1.
        strength: scales every range; 1 is the moderate corruption that the model is scored on.
        generator: the source of all randomness.

    Returns:
        float [n, 1, 28, 28], clipped to 0–1.
    """
    count = len(pixels)
    viewed = _blur(_move(pixels, strength, generator), strength, generator)
    contrast = 1 + _uniform(count, -1, 1, generator).reshape(-1, 1, 1, 1) * CONTRAST * strength
    brightness = _uniform(count, -1, 1, generator).reshape(-1, 1, 1, 1) * BRIGHTNESS * strength
    middle = viewed.mean((2, 3), keepdim=True)
    viewed = (viewed - middle) * contrast + middle + brightness
    deviation = _uniform(count, 0, NOISE_DEVIATION, generator).reshape(-1, 1, 1, 1) * strength
    viewed = viewed + torch.randn(viewed.shape, generator=generator) * deviation
    return viewed.clamp(0, 1)
