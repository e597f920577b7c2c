"""The other commands, the Python API, and the README's own example."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from lynxbench.cli.text import change, duration, plain, ratio, signed, size
from tests.running import ROOT, environment, lynxbench

STARTER = ROOT / "lynxbench" / "suites" / "starter"


@pytest.mark.parametrize("what", ["models", "rubrics", "schemes --suite=starter", "executors", "suites"])
def test_list_names_what_is_built_in(what: str, tmp_path: Path) -> None:
    shown = lynxbench("list", *what.split(), home=tmp_path)
    rows = lynxbench("list", *what.split(), "--json", home=tmp_path).json()
    assert shown.code == 0
    assert len(rows) == len(shown.out.splitlines()) > 0
    assert all(row["name"] in shown.out for row in rows)


def test_list_schemes_shows_every_kind_with_its_options_and_when_it_pays(tmp_path: Path) -> None:
    from lynxbench.specs.scheme import Scheme
    from lynxbench.specs.scheme_options import OPTIONS

    shown = lynxbench("list", "schemes", home=tmp_path)
    rows = lynxbench("list", "schemes", "--json", home=tmp_path).json()
    assert shown.code == 0
    assert [row["name"] for row in rows] == list(OPTIONS)
    for row in rows:
        assert {option["name"] for option in row["options"]} == OPTIONS[row["name"]]
        assert all(option["meaning"] for option in row["options"])
        assert row["name"] in shown.out.splitlines()
        assert row["pays"]
        assert row["costs"]
        said = {option["name"]: option["default"] for option in row["options"] if option["default"] is not None}
        built = Scheme.model_validate({"name": "x", "kind": row["name"]})
        assert {"kind": row["name"], **said} == built.options()
    assert "measured on a 2-core AMD Zen 4 with VNNI, ONNX Runtime 1.32" in shown.out
    assert "bfloat" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 120


def test_list_of_something_else(tmp_path: Path) -> None:
    ran = lynxbench("list", "rubrix", home=tmp_path)
    assert (ran.code, "did you mean 'rubrics'?" in ran.err) == (2, True)


def test_list_rubrics_refuses_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    text = (ROOT / "rubrics" / "arithmetic-steps.toml").read_text()
    text = text.replace('name = "arithmetic-steps"', 'name = "mine"')
    (tmp_path / "mine" / "rubric.toml").write_text(re.sub(r"\[tolerance\][^\[]*", "", text))
    ran = lynxbench("list", "rubrics", "--rubrics", "mine", home=tmp_path)
    assert ran.code == 2
    assert "mine/rubric.toml: tolerance: required, but missing" in ran.err


@pytest.mark.parametrize("what", ["suite", "rubric", "executor", "record"])
def test_schemas_are_schemas(what: str, tmp_path: Path) -> None:
    schema = lynxbench("schema", what, home=tmp_path).json()
    jsonschema.Draft202012Validator.check_schema(schema)


def test_validate_tells_what_it_looked_at(tmp_path: Path) -> None:
    ran = lynxbench(
        "validate",
        ROOT / "rubrics" / "fashion-retrieval.toml",
        ROOT / "executors" / "cpu.toml",
        ROOT / "lynxbench" / "suites" / "starter.toml",
        home=tmp_path,
    )
    assert ran.code == 0, ran.err
    said = [line.split(": ")[1] for line in ran.out.splitlines()]
    assert [words.split(",")[0] for words in said] == ["a sound rubric", "a sound executor", "a sound suite"]


def test_help_is_quick_and_version_is_told(tmp_path: Path) -> None:
    assert lynxbench("--help", home=tmp_path).code == 0
    assert lynxbench("--version", home=tmp_path).out.startswith("lynxbench 0.")
    loaded = subprocess.run(
        [sys.executable, "-c", "import lynxbench.cli.app, sys; print([m for m in sys.modules])"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for heavy in ("numpy", "scipy", "sklearn", "pyarrow", "onnx", "onnxruntime", "pydantic", "rich.progress"):
        assert f"'{heavy}'" not in loaded


def test_doctor_has_a_reason_for_every_executor(tmp_path: Path) -> None:
    reports = lynxbench("doctor", "--json", home=tmp_path).json()
    assert {path.stem for path in (ROOT / "executors").glob("*.toml")} == {report["name"] for report in reports}
    for report in reports:
        assert {"name", "status", "reason", "next"} <= report.keys()
        assert (report["status"] == "available") == (report["reason"] is None)
    shown = lynxbench("doctor", home=tmp_path).out
    assert all(report["name"] in shown for report in reports)
    assert "int8 instructions" in shown


def test_doctor_of_an_unknown_executor(tmp_path: Path) -> None:
    ran = lynxbench("doctor", "cudda", home=tmp_path)
    assert (ran.code, "did you mean 'cuda'?" in ran.err) == (2, True)


def test_environments_that_are_not_there(tmp_path: Path) -> None:
    assert lynxbench("env", "list", "--json", home=tmp_path).json() == []
    ran = lynxbench("env", "remove", "openvino-cpu", home=tmp_path)
    assert (ran.code, "there is no environment" in ran.err) == (2, True)
    ran = lynxbench("env", "create", "cpu", home=tmp_path)
    assert (ran.code, "shares this environment" in ran.err) == (2, True)


def test_an_executor_that_is_not_here_is_rows_with_the_reason(tmp_path: Path) -> None:
    only = ("--budget", "quick", "--only", "model=fashion-resnet8,scheme=fp32,scenario=single-stream")
    ran = lynxbench("sweep", *only, "--executor", "cpu", "--executor", "coreml", "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    rows = {row["executor"]: row for row in ran.json()["records"]}
    assert rows["cpu"]["status"] == "ok"
    assert rows["coreml"]["status"] == "unavailable"
    assert "macos" in rows["coreml"]["reason"]
    assert rows["coreml"]["p50_ns"] is None


def test_the_readme_example_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n# (\S+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["my-suite.toml", "my-rubric.toml"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    shutil.copy(STARTER / "fashion-resnet8.onnx", tmp_path / "classifier.onnx")
    for source, name, count in (("fashion-test", "test", 800), ("fashion-calibration", "train", 300)):
        with np.load(STARTER / f"{source}.npz") as data:
            np.savez(tmp_path / f"{name}.npz", images=data["images"][:count], labels=data["labels"][:count])
    ran = lynxbench("sweep", "my-suite.toml", "--set", "protocol.time_limit_s=0.2", "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    assert {row["scheme"]: row["status"] for row in ran.json()["records"]} == {"fp32": "ok", "int8-static": "ok"}
    assert all(row["primary_value"] > 0.8 for row in ran.json()["records"])


def test_the_commands_of_the_readme_exist(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"`lynxbench ([a-z]+)", text))
    shown = lynxbench("--help", home=tmp_path).out
    assert {"sweep", "show", "list", "doctor", "env", "validate", "schema"} <= verbs
    assert all(f"\n  {verb}" in shown for verb in verbs)


def test_the_python_api_runs_a_sweep(tmp_path: Path) -> None:
    script = """
import lynxbench
only = ["model=fashion-embedder,scheme=fp32,scenario=single-stream"]
results = lynxbench.sweep("starter", budget="quick", only=only)
again = lynxbench.load(results.folder)
print(results.records.equals(again.records), again.records.num_rows, again.predictions.num_rows)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["True", "1", "480"], ran.stderr


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (duration(None), "–"),
        (duration(999), "999 ns"),
        (duration(1_234), "1.23 µs"),
        (duration(98_765_432), "98.8 ms"),
        (size(313_299), "313 kB"),
        (ratio(2.3149, 2.28, 2.36), "2.31× ±0.05"),
        (signed(-0.04, 1), "0.0"),
        (change(-0.004, -0.009, 0.001, "fraction"), "−0.4 [−0.9, +0.1]"),
        (change(0.25, None, None, "nats"), "+0.250"),
        (plain("a\x1b]8;;http://x\x07b\u202ec\n"), "a\ufffd]8;;http://x\ufffdb\ufffdc\ufffd"),
    ],
)
def test_numbers_in_plain_words(shown: str, expected: str) -> None:
    assert shown == expected


def test_dry_run_measures_nothing(tmp_path: Path) -> None:
    plan = lynxbench("sweep", "--dry-run", "--json", home=tmp_path).json()
    assert {cell["status"] for cell in plan["cells"]} == {"to measure"}
    assert plan["estimated_s"] > 10
    assert json.dumps(plan)
    assert list(tmp_path.iterdir()) == []
