"""Voice activity: spoken prompts with pauses between them, in noise of a declared level.

Which window holds speech follows from the energy of the clean recording, before any noise is added. Windows that are
neither clearly speech nor clearly pause are not asked about.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.archives import read_members
from lynxbench.fetching.recipes.silero import WINDOW_SAMPLES

Sound = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
NEW_SAMPLES = 512  # of a window: 32 ms
CONTEXT_SAMPLES = WINDOW_SAMPLES - NEW_SAMPLES
WINDOWS = 94  # of a clip: three seconds
# Root mean square of a window, relative to the loudest of its clip: above is speech, below is pause, what is between is
# not asked.
SPEECH_DB, PAUSE_DB = -25.0, -45.0
# None is the recording as it is.
SIGNAL_TO_NOISE_DB: tuple[int | None, ...] = (None, 20, 10, 0)
PROMPT_S = (0.5, 2.5)  # prompts of other lengths are left out
PAUSE_S = (0.3, 0.8)
TEST_CLIPS, CALIBRATION_CLIPS = 80, 128
SEED = 20_260
PAUSE, SPEECH, NOT_ASKED = 0, 1, -1


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """speech-test.npz and speech-calibration.npz: windows [n, 94, 576], tags [n, 94], and each clip's noise."""
    prompts = _prompts(archives["asterisk-core-sounds-en-wav"])
    # Every third prompt is for calibration alone.
    kept, asked = prompts[::3], [prompt for number, prompt in enumerate(prompts) if number % 3]
    for name, chosen, count in (("test", asked, TEST_CLIPS), ("calibration", kept, CALIBRATION_CLIPS)):
        clips = _clips(chosen, count, np.random.default_rng([SEED, len(name)]), each_level=name == "test")
        np.savez(folder / f"speech-{name}.npz", **clips)  # type: ignore[arg-type]


def _clips(
    prompts: list[Sound], count: int, random: np.random.Generator, *, each_level: bool
) -> dict[str, npt.NDArray[np.generic]]:
    """`count` clips of three seconds, each at every level of noise, or at one of them in turn."""
    rows = []
    for number in range(count):
        clean = _clip(prompts, random)
        tags = tags_of(clean)
        noise = random.normal(0.0, 1.0, len(clean))
        power = float((clean[np.repeat(tags == SPEECH, NEW_SAMPLES)] ** 2).mean())
        turn = number % len(SIGNAL_TO_NOISE_DB)
        for level in SIGNAL_TO_NOISE_DB if each_level else SIGNAL_TO_NOISE_DB[turn : turn + 1]:
            sound = clean if level is None else clean + noise * np.sqrt(power * 10 ** (-level / 10))
            label = "clean" if level is None else f"{level}-dB"
            rows.append((f"clip-{number:03d}/{label}", f"clip-{number:03d}", label, windows_of(sound), tags))
    ids, originals, levels, inputs, tags_of_all = zip(*rows, strict=True)
    return {
        "ids": np.asarray(ids),
        "original": np.asarray(originals),
        "noise": np.asarray(levels),
        "inputs": np.stack(inputs),
        "tags": np.stack(tags_of_all),
    }


def _clip(prompts: list[Sound], random: np.random.Generator) -> Sound:
    """Prompts with pauses before, between and after them, cut to one length, as loud as speech usually is."""
    pieces: list[Sound] = []
    length = WINDOWS * NEW_SAMPLES
    while sum(map(len, pieces)) < length:
        pieces += [np.zeros(round(random.uniform(*PAUSE_S) * SAMPLE_RATE_HZ)), prompts[random.integers(len(prompts))]]
    sound = np.concatenate(pieces)[:length]
    return np.asarray(sound / max(float(np.abs(sound).max()), 1e-9) * 0.5)


def tags_of(clean: Sound) -> npt.NDArray[np.int64]:
    """[windows]: 1 speech, 0 pause, -1 not asked."""
    loudness = np.sqrt((clean.reshape(-1, NEW_SAMPLES) ** 2).mean(axis=1))
    level = 20 * np.log10(np.maximum(loudness / max(float(loudness.max()), 1e-9), 1e-9))
    return np.where(level > SPEECH_DB, SPEECH, np.where(level < PAUSE_DB, PAUSE, NOT_ASKED)).astype(np.int64)


def windows_of(sound: Sound) -> npt.NDArray[np.float32]:
    """[windows, 576]: each window's own samples after the last of the window before; of 16 bits, as a file has them."""
    plain = (np.clip(np.round(sound * 32768), -32768, 32767) / 32768).astype(np.float32)
    own = plain.reshape(-1, NEW_SAMPLES)
    before = np.concatenate([np.zeros((1, CONTEXT_SAMPLES), dtype=np.float32), own[:-1, -CONTEXT_SAMPLES:]])
    return np.concatenate([before, own], axis=1)


def _prompts(archive: Path) -> list[Sound]:
    """All prompts of a usual length at 16 kHz, by name."""
    from scipy.signal import resample_poly

    found = []
    for name, content in read_members(archive, lambda member: member.endswith(".wav")).items():
        try:
            with wave.open(io.BytesIO(content)) as file:
                rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
                frames = file.readframes(file.getnframes())
        except (wave.Error, EOFError) as error:
            raise UntrustedInput(f"{archive.name}: {name} is no sound: {error}; nothing of it was used") from None
        if (width, channels) != (2, 1):
            raise UntrustedInput(f"{archive.name}: {name} is not of 16 bits and one channel; nothing of it was used")
        sound = np.frombuffer(frames, dtype="<i2").astype(np.float64) / 32768
        if PROMPT_S[0] <= len(sound) / rate <= PROMPT_S[1]:
            found.append(np.asarray(resample_poly(sound, SAMPLE_RATE_HZ, rate)))
    return found
