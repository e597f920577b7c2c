"""Deterministic corruptions of sounds, severities 1 to 5: white noise, and bands that a telephone would cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float64]

# One parameter a severity. Band limits are shares of half the sample rate, so that no rate need be known.
SIGNAL_TO_NOISE_DB = (30.0, 20.0, 10.0, 5.0, 0.0)
LOW_PASS = (0.7, 0.5, 0.35, 0.2, 0.1)
HIGH_PASS = (0.01, 0.02, 0.05, 0.1, 0.2)
FILTER_ORDER = 4


def _white_noise(sound: Sound, level: int, random: np.random.Generator) -> Sound:
    power = float((sound**2).mean()) * 10 ** (-SIGNAL_TO_NOISE_DB[level] / 10)
    return sound + random.normal(0.0, np.sqrt(power), sound.shape)


def _low_pass(sound: Sound, level: int, random: np.random.Generator) -> Sound:
    return _filtered(sound, LOW_PASS[level], "lowpass")


def _high_pass(sound: Sound, level: int, random: np.random.Generator) -> Sound:
    return _filtered(sound, HIGH_PASS[level], "highpass")


def _filtered(sound: Sound, share: float, kind: str) -> Sound:
    from scipy.signal import butter, sosfilt

    sections: Any = butter(FILTER_ORDER, share, kind, output="sos")
    return np.asarray(sosfilt(sections, sound), dtype=np.float64)


AUDIO_CORRUPTIONS: dict[str, Callable[[Sound, int, np.random.Generator], Sound]] = {
    "white-noise": _white_noise,
    "low-pass": _low_pass,
    "high-pass": _high_pass,
}
