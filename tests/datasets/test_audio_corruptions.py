"""Corruptions of sounds against what a meter would show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("corruption", AUDIO_CORRUPTIONS)
@given(length=st.integers(1, 300), severity=st.integers(1, 5), seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_any_clip_keeps_its_length_and_is_reproducible(
    corruption: str, length: int, severity: int, seed: int, scale: float
) -> None:
    clip = scale * np.random.default_rng(seed).normal(size=(1, length))
    before = clip.copy()
    seen = corrupt(clip, corruption, severity, seed, ["clip"])
    np.testing.assert_array_equal(seen, corrupt(clip, corruption, severity, seed, ["clip"]))
    np.testing.assert_array_equal(clip, before)
    assert seen.shape == clip.shape
    assert np.isfinite(seen).all()
    assert (seen != clip).any()
    # Noise follows the clip's own loudness, and filters are linear: twice as loud in, twice as loud out.
    np.testing.assert_allclose(corrupt(2 * clip, corruption, severity, seed, ["clip"]), 2 * seen, rtol=1e-9)


@pytest.mark.parametrize("corruption", AUDIO_CORRUPTIONS)
def test_heavier_is_farther_from_the_original(corruption: str) -> None:
    """By magnitudes of the spectrum: a filter also delays, so the waveforms' difference says little of what is lost."""
    clips = np.random.default_rng(0).normal(size=(8, N))
    original = np.abs(np.fft.rfft(clips))
    distances = []
    for severity in range(1, 6):
        seen = np.abs(np.fft.rfft(corrupt(clips, corruption, severity, 3, [str(i) for i in range(8)])))
        distances.append(float(np.sqrt(((seen - original) ** 2).sum() / (original**2).sum())))
    assert distances == sorted(distances)
    assert distances[0] > 0.02
    assert distances[4] > 1.5 * distances[0]


def test_another_id_seed_or_severity_is_another_noise() -> None:
    sound = np.ones((1, 100))
    base = corrupt(sound, "white-noise", 2, 7, ["a"])
    for severity, seed, identity in ((2, 7, "b"), (2, 8, "a"), (3, 7, "a")):
        assert (corrupt(sound, "white-noise", severity, seed, [identity]) != base).all()


PINNED_NOISE = {  # the first, second and last value
    1: (-0.020715435100498204, -0.007153075758589089, 0.028018012707763273),
    2: (0.13950477245496562, -0.018331257774067966, 0.0528278775921498),
    3: (0.3096419437336352, -0.2801354688483842, 0.14749006221443214),
    4: (1.0372566748996734, -0.5509352116670923, -0.5774581068105358),
    5: (0.48725232425312365, 1.0830791997047062, -0.7834131313435264),
}


@every_severity
def test_the_same_noise_on_every_machine(severity: int) -> None:
    sound = np.sin(np.pi * 0.1 * np.arange(N))[None]
    noise = (corrupt(sound, "white-noise", severity, 3, ["clip"]) - sound)[0]
    assert noise[[0, 1, -1]] == pytest.approx(PINNED_NOISE[severity], abs=1e-9)
