"""Small declarations that are right, for tests to make one thing wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Spec, build

S = TypeVar("S", bound=Spec)

RUBRIC = """
name = "small"
version = "1.0"
title = "Is it right?"
task = "image-classification"
strata = ["view", "class"]
strata_minimum_n = 5
confidence = 0.95

[test_set]
name = "pictures"
source = "test.npz"
composition = ["clean"]
composition_note = "some pictures"
count = 40

[[metrics]]
name = "top-1"
metric = "top-1"
role = "primary"
direction = "higher-is-better"

[reference]
scheme = "fp32"
executor = "cpu"

[tolerance]
kind = "absolute"
value = 0.01

[calibration]
minimum_count = 5
domain = "pictures of the same kind"
"""

SUITE = """
name = "small"
version = "1.0"

[[models]]
name = "net"
version = "1.0"
path = "net.onnx"

[[schemes]]
name = "fp32"
kind = "fp32"

[[schemes]]
name = "int8-static"
kind = "int8-static"

[[calibrations]]
name = "train"
source = "train.npz"
split = "train"
count = 8

[[workloads]]
name = "classify"
rubric = "rubric.toml"
models = ["net"]
calibrations = ["train"]

[protocol]
block_s = 0.1

[budgets.quick]
block_s = 0.01
"""


def problems(spec: type[Spec], text: str, file: str = "x.toml") -> list[Problem]:
    """What is wrong with a TOML text read as `spec`; fails when nothing is."""
    return refused(lambda: build(spec, tomllib.loads(text), file))


def refused(action: Callable[[], object]) -> list[Problem]:
    """The problems of the `DeclarationError` that `action` must raise."""
    with pytest.raises(DeclarationError) as caught:
        action()
    return list(caught.value.problems)


def built(spec: type[S], text: str) -> S:
    return build(spec, tomllib.loads(text), "x.toml")


def folder(path: Path, suite: str = SUITE, rubric: str = RUBRIC) -> Path:
    """A folder with a suite, its rubric and (empty) files at the places that they name; returns the suite's file."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "rubric.toml").write_text(rubric)
    for name in ("net.onnx", "train.npz", "test.npz"):
        (path / name).touch()
    (path / "suite.toml").write_text(suite)
    return path / "suite.toml"
