"""Wrong suites: one clear error each, exit code 2, before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.running import Ran, lynxbench

SUITE = """
name = "mine"
version = "1"
[[models]]
name = "resnet"
version = "1"
path = "builtin:starter/fashion-resnet8.onnx"
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "int8-static"
kind = "int8-static"
[[calibrations]]
name = "train"
source = "builtin:starter/fashion-calibration.npz"
split = "train"
count = 128
[[workloads]]
name = "classify"
rubric = "rubric.toml"
models = ["resnet"]
calibrations = ["train"]
[protocol]
time_limit_s = 0.2
"""

RUBRIC = """
name = "mine"
version = "1"
title = "right?"
task = "image-classification"
strata = ["class"]
strata_minimum_n = 10
confidence = 0.95
[test_set]
name = "test"
source = "builtin:starter/fashion-test.npz"
composition = ["clean"]
composition_note = "as it is"
count = 100
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
minimum_count = 100
domain = "training images"
"""


def swap(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def sweep(tmp_path: Path, suite: str = SUITE, rubric: str = RUBRIC, *more: str) -> Ran:
    (tmp_path / "suite.toml").write_text(suite)
    (tmp_path / "rubric.toml").write_text(rubric)
    return lynxbench("sweep", "suite.toml", *more, home=tmp_path)


def refused(tmp_path: Path, ran: Ran, *words: str) -> None:
    """Exit code 2, one error that has all the words, and nothing done."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    for word in words:
        assert word in ran.err
    assert ran.err.count("error:") == 1
    assert "Traceback" not in ran.err
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache" / "artifacts").exists()


def test_the_suite_itself_is_sound(tmp_path: Path) -> None:
    ran = sweep(tmp_path, SUITE, RUBRIC, "--dry-run")
    assert ran.code == 0, ran.err
    assert "2 cells in 1 group," in ran.out
    assert not (tmp_path / "results").exists()


def test_unknown_key(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, "time_limit_s", "time_limit"))
    refused(tmp_path, ran, "suite.toml: protocol.time_limit: unknown key", "did you mean 'time_limit_s'?")


def test_wrong_type(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, "count = 128", 'count = "many"'))
    refused(tmp_path, ran, "calibrations[0].count", "'many'", "a whole number")


def test_missing_model_file(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, "builtin:starter/fashion-resnet8.onnx", "nowhere.onnx"))
    refused(tmp_path, ran, "models[0].path: no such file", "'nowhere.onnx'", str(tmp_path / "nowhere.onnx"))


def test_calibration_overlapping_the_test_set(tmp_path: Path) -> None:
    suite = swap(swap(SUITE, "fashion-calibration.npz", "fashion-test.npz"), "count = 128", "count = 5000")
    refused(
        tmp_path,
        sweep(tmp_path, suite),
        "calibrations[0].source",
        "are also in the test set of workload 'classify'",
        "another split",
    )


def test_unknown_executor(tmp_path: Path) -> None:
    ran = sweep(tmp_path, SUITE, RUBRIC, "--executor", "cpuu")
    refused(tmp_path, ran, "--executor cpuu: unknown executor", "did you mean 'cpu'?")


def test_rubric_without_a_reference(tmp_path: Path) -> None:
    rubric = swap(RUBRIC, '[reference]\nscheme = "fp32"\nexecutor = "cpu"\n', "")
    refused(tmp_path, sweep(tmp_path, SUITE, rubric), "rubric.toml: reference: required, but missing")


def test_negative_time(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, "time_limit_s = 0.2", "time_limit_s = -1.0"))
    refused(tmp_path, ran, "protocol.time_limit_s", "-1.0", "greater than 0")


def test_duplicate_names(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, 'name = "int8-static"', 'name = "fp32"'))
    refused(tmp_path, ran, "schemes[1].name: duplicate name", "schemes[0] has it already")


def test_an_onnx_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("this is no model")
    ran = sweep(tmp_path, swap(SUITE, "builtin:starter/fashion-resnet8.onnx", "model.onnx"))
    refused(tmp_path, ran, "models[0].path: model.onnx is not an ONNX model")


def test_an_empty_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz", images=np.zeros((0, 28, 28), np.uint8), labels=np.zeros(0, np.int64))
    ran = sweep(tmp_path, SUITE, swap(RUBRIC, "builtin:starter/fashion-test.npz", "empty.npz"))
    refused(tmp_path, ran, "empty.npz: holds no samples")


def test_an_unknown_metric(tmp_path: Path) -> None:
    ran = sweep(tmp_path, SUITE, swap(RUBRIC, 'metric = "top-1"', 'metric = "topp-1"'))
    refused(tmp_path, ran, "metrics[0].metric: unknown metric", "did you mean 'top-1'?")


def test_a_scheme_that_needs_data_and_has_none(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, 'calibrations = ["train"]\n', ""))
    refused(tmp_path, ran, "workloads[0].calibrations", "int8-static", "needs calibration data")


def test_too_few_calibration_samples(tmp_path: Path) -> None:
    ran = sweep(tmp_path, swap(SUITE, "count = 128", "count = 12"))
    refused(tmp_path, ran, "calibrations[0].count", "12", "at least 100")


def test_no_toml_at_all(tmp_path: Path) -> None:
    refused(tmp_path, sweep(tmp_path, "name = [1,"), "suite.toml: is not valid TOML")


def test_an_unknown_suite(tmp_path: Path) -> None:
    refused(tmp_path, lynxbench("sweep", "startr", home=tmp_path), "startr", "did you mean 'starter'?")


def test_an_unknown_budget(tmp_path: Path) -> None:
    refused(tmp_path, sweep(tmp_path, SUITE, RUBRIC, "--budget", "quik"), "unknown budget", "did you mean 'quick'?")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--only", "scheem=fp32"), ("unknown axis 'scheem'", "did you mean 'scheme'?")),
        (("--only", "scheme=fp23"), ("the suite has no scheme 'fp23'", "did you mean 'fp32'?")),
        (("--set", "protocol"), ("is not KEY=VALUE",)),
        (("--set", "protocol.threads=none"), ("protocol.threads", "a whole number")),
        (("--set", "models.resent.version=2"), ("no such item", "did you mean 'resnet'?")),
    ],
)
def test_options_that_lead_nowhere(tmp_path: Path, option: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(tmp_path, sweep(tmp_path, SUITE, RUBRIC, *option), *words)


def test_all_problems_at_once(tmp_path: Path) -> None:
    suite = swap(swap(SUITE, "count = 128", "count = 0"), 'kind = "fp32"', 'kind = "fp3"')
    ran = sweep(tmp_path, suite, swap(RUBRIC, "value = 0.01", "value = 2.0"))
    refused(tmp_path, ran, "calibrations[0].count", "schemes[0].kind")


def test_images_of_another_size(tmp_path: Path) -> None:
    images = np.zeros((200, 32, 32), np.uint8)
    images[:, 0, 0] = np.arange(200)
    np.savez(tmp_path / "big.npz", images=images, labels=np.arange(200) % 10)
    ran = sweep(tmp_path, SUITE, swap(RUBRIC, "builtin:starter/fashion-test.npz", "big.npz"))
    refused(tmp_path, ran, "models[0].path", "do not fit the model", "1×32×32", "1×28×28")


def test_a_mean_for_channels_that_are_not_there(tmp_path: Path) -> None:
    suite = swap(SUITE, 'fashion-resnet8.onnx"', 'fashion-resnet8.onnx"\nimage = { mean = [0.1, 0.2, 0.3] }')
    refused(tmp_path, sweep(tmp_path, suite), "models[0].image.mean", "one value for each channel")


def test_a_rubric_that_changed_does_not_mix_with_older_rows(tmp_path: Path) -> None:
    only = ("--only", "scheme=fp32")
    assert sweep(tmp_path, SUITE, RUBRIC, *only).code == 0
    ran = sweep(tmp_path, SUITE, swap(RUBRIC, "value = 0.01", "value = 0.02"), *only)
    assert ran.code == 2
    assert "what changed: rubric mine" in ran.err
    assert sweep(tmp_path, SUITE, RUBRIC, *only).code == 0
