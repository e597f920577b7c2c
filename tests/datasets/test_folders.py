"""Folders of pictures and of sounds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from lynxbench.datasets import lazy
from lynxbench.datasets.lazy import Lazy
from lynxbench.datasets.samples import calibration_samples, overlap, rubric_samples
from lynxbench.datasets.sources import read_table
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import AudioFiles, ImageFiles
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Calibration

RANDOM = np.random.default_rng(0)


def picture(path: Path, height: int, width: int, *, grey: bool = False) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (height, width) if grey else (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def every(table: Table, name: str) -> np.ndarray:
    column = table.columns[name]
    return column[np.arange(len(table))]


def refused(folder: Path, image: ImageFiles | None = None, audio: AudioFiles | None = None) -> Problem:
    def read() -> None:
        table = read_table(folder, image, audio)
        every(table, "images" if "images" in table.columns else "inputs")

    with pytest.raises(DeclarationError) as caught:
        read()
    return caught.value.problems[0]


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    held = {f"{name}/{n}.png": picture(tmp_path / name / f"{n}.png", 6, 8) for name in ("dog", "cat") for n in (1, 2)}
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "dog" / ".hidden.png").write_text("no picture")
    table = read_table(tmp_path)
    assert isinstance(table.columns["images"], Lazy)
    assert every(table, "ids").tolist() == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
    assert every(table, "labels").tolist() == [0, 0, 1, 1]
    assert every(table, "folder").tolist() == ["cat", "cat", "dog", "dog"]
    assert table.class_names == ("cat", "dog")
    for pixels, name in zip(every(table, "images"), every(table, "ids"), strict=True):
        np.testing.assert_array_equal(pixels, held[name])
    assert table.contents is not None
    digest = hashlib.sha256((tmp_path / "cat" / "2.png").read_bytes()).hexdigest()
    assert table.contents[np.array([1])].tolist() == [digest]


def test_pictures_become_one_size(tmp_path: Path) -> None:
    pixels = [picture(tmp_path / f"{n}.png", *size) for n, size in enumerate([(20, 40), (30, 12), (16, 16)])]
    table = read_table(tmp_path, ImageFiles(resize=8, crop=(8, 6), interpolation="nearest"))
    assert every(table, "images").shape == (3, 8, 6, 3)
    assert "labels" not in table.columns
    # 20 × 40 becomes 8 × 16, nearest: every pixel is one of the original's; the middle 6 columns are kept.
    rows, columns = ((np.arange(n) + 0.5) * 2.5 for n in (8, 16))
    expected = pixels[0][rows.astype(int)][:, columns.astype(int)][:, 5:11]
    np.testing.assert_array_equal(every(table, "images")[0], expected)
    grey = read_table(tmp_path, ImageFiles(resize=(4, 10), channels=1))
    assert every(grey, "images").shape == (3, 4, 10)


def test_the_longer_side_keeps_its_proportion(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 30, 50)
    assert every(read_table(tmp_path, ImageFiles(resize=15)), "images").shape == (1, 15, 25, 3)


def test_an_upright_picture(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(every(read_table(tmp_path), "images")[0], np.rot90(pixels, -1))


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert refused(folder).message == "holds neither pictures nor sounds"
    folder = tmp_path / "both"
    picture(folder / "a.png", 3, 3)
    wavfile.write(folder / "a.wav", 8000, np.zeros(10, dtype=np.int16))
    assert refused(folder).message == "holds both pictures and sounds"
    folder = tmp_path / "stray"
    picture(folder / "cat" / "a.png", 3, 3)
    picture(folder / "b.png", 3, 3)
    assert refused(folder).message == "b.png lies beside class folders"


def test_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", 5, 5)
    picture(tmp_path / "2.png", 5, 7)
    problem = refused(tmp_path)
    assert (Path(problem.file).name, problem.message, problem.value) == ("2.png", "has another size", "5×7×3")
    assert problem.hint is not None
    assert "image = { resize" in problem.hint
    assert refused(tmp_path, ImageFiles(crop=(6, 6))).message == "is smaller than what is to be cut out"
    (tmp_path / "2.png").write_bytes(b"no picture")
    assert refused(tmp_path).message.startswith("is not a readable picture")


def test_sounds(tmp_path: Path) -> None:
    seconds = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 200 * seconds)
    both = np.stack([tone, tone * 0.5], axis=1)
    wavfile.write(tmp_path / "a.wav", 8000, (both * 32767).astype(np.int16))
    wavfile.write(tmp_path / "b.wav", 8000, tone.astype(np.float32))
    wavfile.write(tmp_path / "c.wav", 8000, ((tone * 127) + 128).astype(np.uint8))
    table = read_table(tmp_path)
    values = every(table, "inputs")
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], tone * 0.75, atol=1e-4)
    np.testing.assert_allclose(values[1], tone, atol=1e-6)
    np.testing.assert_allclose(values[2], tone, atol=0.02)
    # At another rate it is the same tone, away from the filter's edges.
    faster = every(read_table(tmp_path, None, AudioFiles(sample_rate_hz=16000)), "inputs")
    expected = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)
    np.testing.assert_allclose(faster[1][400:-400], expected[400:-400], atol=2e-3)
    assert every(read_table(tmp_path, None, AudioFiles(duration_s=0.5)), "inputs").shape == (3, 4000)
    longer = every(read_table(tmp_path, None, AudioFiles(duration_s=1.5)), "inputs")
    assert longer.shape == (3, 12000)
    assert not longer[:, 8000:].any()


def test_flac_through_soundfile(tmp_path: Path) -> None:
    import soundfile

    tone = np.sin(np.arange(1000) / 10) * 0.5
    soundfile.write(tmp_path / "a.flac", tone, 8000, subtype="PCM_16")
    np.testing.assert_allclose(every(read_table(tmp_path), "inputs")[0], tone, atol=1e-4)


def test_sounds_that_cannot_be_used(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(100, dtype=np.int16))
    wavfile.write(tmp_path / "b.wav", 16000, np.zeros(100, dtype=np.int16))
    assert refused(tmp_path).message == "has another sample rate"
    wavfile.write(tmp_path / "b.wav", 8000, np.zeros(120, dtype=np.int16))
    assert refused(tmp_path).message == "has another size"
    (tmp_path / "b.wav").write_bytes(b"RIFFnothing")
    assert refused(tmp_path).message.startswith("is not a readable WAV file")


def rubric(**test_set: object) -> Rubric:
    return Rubric.model_validate(
        {
            "name": "r",
            "version": "1",
            "title": "?",
            "task": "image-classification",
            "strata": ("class",),
            "strata_minimum_n": 2,
            "confidence": 0.95,
            "test_set": {
                "name": "t",
                "source": "pictures",
                "composition": ("clean",),
                "composition_note": "n",
                "count": 4,
                **test_set,
            },
            "metrics": ({"name": "m", "metric": "top-1", "role": "primary", "direction": "higher-is-better"},),
            "reference": {"scheme": "fp32", "executor": "cpu"},
            "tolerance": {"kind": "absolute", "value": 0.01},
            "calibration": {"minimum_count": 1, "domain": "d"},
        }
    )


def test_class_names_say_the_order_of_the_model(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for n in range(2):
            picture(tmp_path / "pictures" / name / f"{n}.png", 4, 4)
    declared_in = tmp_path / "r.toml"
    samples = rubric_samples(rubric(), tmp_path / "pictures", declared_in)
    assert dict(zip(samples.ids.tolist(), samples.labels.tolist(), strict=True))["cat/0.png"] == 0
    assert set(samples.strata["class"].tolist()) == {"cat", "dog"}
    turned = rubric_samples(rubric(class_names=("dog", "bird", "cat")), tmp_path / "pictures", declared_in)
    for identity, label, name in zip(turned.ids, turned.labels, turned.strata["class"], strict=True):
        assert (label, name) == ((2, "cat") if identity.startswith("cat") else (0, "dog"))
    with pytest.raises(DeclarationError) as caught:
        rubric_samples(rubric(class_names=("dog", "cta")), tmp_path / "pictures", declared_in)
    assert caught.value.problems[0].key == "test_set.class_names"
    assert caught.value.problems[0].hint == "did you mean 'cta'?"


def test_the_same_file_is_found_in_both_sets_whatever_its_size(tmp_path: Path) -> None:
    for n in range(4):
        picture(tmp_path / "pictures" / "a" / f"{n}.png", 8, 8)
    asked = rubric_samples(rubric(), tmp_path / "pictures", tmp_path / "r.toml")
    declared = Calibration(name="c", source="pictures", split="train", count=2, image=ImageFiles(resize=4))
    chosen = calibration_samples(declared, tmp_path / "pictures", tmp_path / "s.toml", "image-classification")
    assert chosen.inputs.shape == (2, 4, 4, 3)
    assert len(overlap(chosen, asked)) == 2


def test_a_large_set_lies_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        picture(tmp_path / "pictures" / "a" / f"{n}.png", 8, 8)
    views = ({"name": "clean"}, {"name": "noisy", "corruption": "gaussian-noise", "severity": 2})
    small = rubric_samples(rubric(views=views), tmp_path / "pictures", tmp_path / "r.toml")
    monkeypatch.setattr(lazy, "SPILL_BYTES", 100)
    monkeypatch.setattr("lynxbench.datasets.sources.SPILL_BYTES", 100)
    large = rubric_samples(rubric(views=views), tmp_path / "pictures", tmp_path / "r.toml")
    assert isinstance(large.inputs, np.memmap)
    assert not isinstance(small.inputs, np.memmap)
    assert large.fingerprint() == small.fingerprint()
    for compressed in (np.savez, np.savez_compressed):
        values = RANDOM.normal(size=(50, 7)).astype(np.float32)
        compressed(tmp_path / "a.npz", inputs=values, labels=np.arange(50))
        table = read_table(tmp_path / "a.npz")
        assert isinstance(table.columns["inputs"], np.memmap)
        np.testing.assert_array_equal(table.columns["inputs"], values)
