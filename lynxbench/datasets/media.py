"""Pictures and sounds, from a file or from its bytes, as arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.predictions import Column
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import AudioFiles, ImageFiles

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})


def picture(source: Path | bytes, declared: ImageFiles, name: str) -> Column:
    """One picture as uint8 [h, w] or [h, w, 3]. Raises `DeclarationError` naming the file."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise _wrong(name, "pictures need Pillow", hint="pip install 'lynxbench[images]'") from None
    ways = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
    }
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            image: Any = ImageOps.exif_transpose(opened).convert("L" if declared.channels == 1 else "RGB")
    except Exception as error:  # Pillow raises a different type for each format
        raise _wrong(name, f"is not a readable picture: {error}") from None
    if declared.resize is not None:
        image = image.resize(_resized(image.size, declared.resize), ways[declared.interpolation])
    if declared.crop is not None:
        height, width = declared.crop
        if height > image.height or width > image.width:
            found, expected = f"{image.height}×{image.width}", f"at least {height}×{width} (height, width)"
            raise _wrong(name, "is smaller than what is to be cut out", found, expected, "resize it first")
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image, dtype=np.uint8)


def _resized(size: tuple[int, int], wanted: int | tuple[int, int]) -> tuple[int, int]:
    """Width and height; the longer side rounds to the nearest pixel."""
    if isinstance(wanted, tuple):
        return wanted[1], wanted[0]
    width, height = size
    shorter = min(width, height)
    return max(1, round(width * wanted / shorter)), max(1, round(height * wanted / shorter))


def sound(source: Path | bytes, declared: AudioFiles, name: str) -> tuple[Column, int]:
    """One sound as float32 [samples], and its rate in Hz after any resampling. Raises `DeclarationError`."""
    values, rate_hz = _read(source, name)
    if values.ndim == 2:
        values = values.mean(axis=1)
    if declared.sample_rate_hz is not None and declared.sample_rate_hz != rate_hz:
        from scipy.signal import resample_poly

        common = int(np.gcd(declared.sample_rate_hz, rate_hz))
        values = resample_poly(values, declared.sample_rate_hz // common, rate_hz // common)
        rate_hz = declared.sample_rate_hz
    if declared.duration_s is not None:
        length = round(declared.duration_s * rate_hz)
        values = np.pad(values[:length], (0, max(0, length - len(values))))
    return values.astype(np.float32), rate_hz


def _read(source: Path | bytes, name: str) -> tuple[Any, int]:
    """Values in [-1, 1], [samples] or [samples, channels], and the rate."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    if Path(name).suffix.lower() == ".wav":
        from scipy.io import wavfile

        try:
            rate_hz, values = wavfile.read(stream)
        except Exception as error:  # a broken file breaks scipy in several ways
            raise _wrong(name, f"is not a readable WAV file: {error}") from None
        if values.dtype == np.uint8:
            return (values.astype(np.float64) - 128) / 128, int(rate_hz)
        scale = 1.0 if values.dtype.kind == "f" else float(2 ** (8 * values.dtype.itemsize - 1))
        return values.astype(np.float64) / scale, int(rate_hz)
    try:
        import soundfile
    except ImportError:
        raise _wrong(name, "needs soundfile to be read", hint="pip install 'lynxbench[audio]', or WAV files") from None
    try:
        values, rate_hz = soundfile.read(stream)
    except Exception as error:
        raise _wrong(name, f"is not a readable sound: {error}") from None
    return values, int(rate_hz)


def _wrong(
    name: str, message: str, value: str | None = None, expected: str | None = None, hint: str | None = None
) -> DeclarationError:
    return DeclarationError([Problem(name, "", message, value, expected, hint)])
