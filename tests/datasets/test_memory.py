"""What a test set takes in memory does not grow with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.running import ROOT

CODE = """
import sys, pathlib
from lynxbench.datasets.samples import rubric_samples
from lynxbench.specs.base import build
from lynxbench.specs.rubric import Rubric

file, n, out = sys.argv[1:]
rubric = build(Rubric, {
    "name": "r", "version": "1", "title": "?", "task": "image-classification", "strata": ["view"],
    "strata_minimum_n": 2, "confidence": 0.95,
    "test_set": {"name": "t", "source": file, "composition": ["clean"], "composition_note": "n", "count": int(n),
                 "selection": "random",
                 "views": [{"name": "clean"}, {"name": "bright", "corruption": "brightness", "severity": 2}]},
    "metrics": [{"name": "m", "metric": "top-1", "role": "primary", "direction": "higher-is-better"}],
    "reference": {"scheme": "fp32", "executor": "cpu"}, "tolerance": {"kind": "absolute", "value": 0.01},
    "calibration": {"minimum_count": 1, "domain": "d"},
}, "r.toml")
samples = rubric_samples(rubric, pathlib.Path(file), pathlib.Path("r.toml"))
samples.fingerprint()
samples.write(pathlib.Path(out))
held = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
print(samples.inputs.nbytes, int(held[0].split()[1]) * 1024)
"""


def held_bytes(tmp_path: Path, n: int) -> tuple[int, int]:
    """Bytes of the samples' inputs, and of the process's own memory with them."""
    file = tmp_path / f"{n}.npz"
    pixels = np.zeros((n, 320, 320), dtype=np.uint8)
    pixels[:, 0, 0] = np.arange(n) % 251
    np.savez(file, images=pixels, labels=np.arange(n) % 3)
    command = [sys.executable, "-c", CODE, str(file), str(n), str(tmp_path / f"{n}")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    inputs, own = done.stdout.split()
    file.unlink()
    return int(inputs), int(own)


def test_four_times_the_samples_take_no_more_memory(tmp_path: Path) -> None:
    (small_inputs, small), (large_inputs, large) = held_bytes(tmp_path, 400), held_bytes(tmp_path, 1600)
    assert large_inputs - small_inputs > 240e6
    assert large - small < 40e6
