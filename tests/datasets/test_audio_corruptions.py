"""Corruptions of sounds against what a meter would show."""

from __future__ import annotations

import numpy as np
import pytest

from lynxbench.datasets.audio_corruptions import AUDIO_CORRUPTIONS, HIGH_PASS, LOW_PASS, SIGNAL_TO_NOISE_DB
from lynxbench.datasets.corruptions import corrupt

N = 16_000
every_severity = pytest.mark.parametrize("severity", range(1, 6))


def tone(share: float) -> np.ndarray:
    """A sine at a share of half the sample rate, [1, N]."""
    return np.sin(np.pi * share * np.arange(N))[None].astype(np.float32)


def heard(sound: np.ndarray, corruption: str, severity: int) -> np.ndarray:
    return corrupt(sound, corruption, severity, 3, ["clip"])


def gain_db(corruption: str, severity: int, share: float) -> float:
    settled = slice(N // 2, None)
    before, after = tone(share)[0, settled], heard(tone(share), corruption, severity)[0, settled]
    return float(10 * np.log10((after.astype(float) ** 2).mean() / (before.astype(float) ** 2).mean()))


@every_severity
def test_noise_is_as_loud_as_declared(severity: int) -> None:
    sound = tone(0.1)
    noise = heard(sound, "white-noise", severity).astype(float) - sound
    ratio = 10 * np.log10((sound.astype(float) ** 2).mean() / (noise**2).mean())
    assert ratio == pytest.approx(SIGNAL_TO_NOISE_DB[severity - 1], abs=0.3)
    flat = np.abs(np.fft.rfft(noise[0])) ** 2
    assert flat[: N // 4].mean() == pytest.approx(flat[N // 4 :].mean(), rel=0.1)


@every_severity
def test_bands_are_cut_where_declared(severity: int) -> None:
    low, high = LOW_PASS[severity - 1], HIGH_PASS[severity - 1]
    # Butterworth of order 4: 3 dB at the limit, and far beyond it 80 dB a decade or more (the bilinear transform).
    assert gain_db("low-pass", severity, low) == pytest.approx(-3.01, abs=0.1)
    assert gain_db("low-pass", severity, low / 4) == pytest.approx(0.0, abs=0.1)
    assert gain_db("low-pass", severity, min(0.98, low * 1.4)) < -11
    assert gain_db("high-pass", severity, high) == pytest.approx(-3.01, abs=0.1)
    assert gain_db("high-pass", severity, min(0.9, high * 4)) == pytest.approx(0.0, abs=0.1)
    assert gain_db("high-pass", severity, high / 2) < -22


@pytest.mark.parametrize("corruption", AUDIO_CORRUPTIONS)
def test_the_same_clip_sounds_the_same_and_silence_stays(corruption: str) -> None:
    clips = np.random.default_rng(0).normal(size=(3, 800)).astype(np.float32)
    whole = corrupt(clips, corruption, 4, 7, ["a", "b", "c"])
    assert whole.dtype == np.float32
    assert whole.shape == clips.shape
    np.testing.assert_array_equal(corrupt(clips[1:2], corruption, 4, 7, ["b"]), whole[1:2])
    assert not corrupt(np.zeros((1, 100), np.float32), corruption, 5, 7, ["a"]).any()
