"""A suite with everything that it names, and every mistake in one go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lynxbench.specs.resolve import ResolvedSuite, builtin_suites, resolve_suite, suite_file
from tests.specs.declare import RUBRIC, SUITE, folder, refused


def told(file: Path, **how: Any) -> list[tuple[str, str, str]]:
    """File (its name), key and message of every problem."""
    return [
        (Path(p.file).name if p.file.startswith("/") and " " not in p.file else p.file, p.key, p.message)
        for p in refused(lambda: resolve_suite(str(file), **how))
    ]


def test_the_starter_suite_leads_everywhere() -> None:
    resolved = resolve_suite("starter")
    assert resolved.file == builtin_suites()["starter"]
    assert resolved.rubrics.keys() == {workload.name for workload in resolved.suite.workloads}
    assert resolved.executors.keys() == {"cpu"}
    assert resolved.only == {}
    assert resolved.wanted("scheme", "anything")


def test_what_a_workload_leaves_out_is_all_of_the_suite_in_its_order(tmp_path: Path) -> None:
    resolved = resolve_suite(str(folder(tmp_path)))
    (workload,) = resolved.suite.workloads
    assert [s.name for s in resolved.schemes_of(workload)] == ["fp32", "int8-static"]
    assert [s.name for s in resolved.scenarios_of(workload)] == ["single-stream"]
    assert [c.name for c in resolved.calibrations_of(workload)] == ["train"]
    assert resolved.model("net").path == "net.onnx"
    narrow = folder(
        tmp_path / "narrow", SUITE.replace("calibrations = [", 'schemes = ["int8-static"]\ncalibrations = [')
    )
    narrowed = resolve_suite(str(narrow))
    assert [s.name for s in narrowed.schemes_of(narrowed.suite.workloads[0])] == ["int8-static"]


def test_names_that_lead_nowhere_are_all_told_with_the_nearest(tmp_path: Path) -> None:
    suite = (
        SUITE.replace(
            'models = ["net"]', 'models = ["net", "nett"]\nschemes = ["fp32", "int8-sttic"]\nscenarios = ["server"]'
        )
        .replace('calibrations = ["train"]', 'calibrations = ["trian"]')
        .replace('version = "1.0"\n\n[[models]]', 'version = "1.0"\nexecutors = ["cpu", "cdua"]\n\n[[models]]', 1)
    )
    found = refused(lambda: resolve_suite(str(folder(tmp_path, suite))))
    assert [(p.key, p.message, p.value, p.hint) for p in found] == [
        ("workloads[0].models[1]", "unknown model", "'nett'", "did you mean 'net'?"),
        ("workloads[0].schemes[1]", "unknown scheme", "'int8-sttic'", "did you mean 'int8-static'?"),
        ("workloads[0].calibrations[0]", "unknown calibration", "'trian'", "did you mean 'train'?"),
        ("workloads[0].scenarios[0]", "unknown scenario", "'server'", "one of: single-stream"),
        ("executors[1]", "unknown executor", "'cdua'", "did you mean 'cuda'?"),
    ]


def test_duplicate_names_everywhere(tmp_path: Path) -> None:
    model = '\n[[models]]\nname = "net"\nversion = "2"\npath = "net.onnx"\n'
    scheme = '\n[[schemes]]\nname = "fp32"\nkind = "fp32"\n'
    suite = (SUITE + model + scheme).replace('models = ["net"]', 'models = ["net", "net"]')
    suite = suite.replace('version = "1.0"\n', 'version = "1.0"\nexecutors = ["cpu", "cpu"]\n', 1)
    found = refused(lambda: resolve_suite(str(folder(tmp_path, suite))))
    assert [(p.key, p.message, p.hint) for p in found] == [
        ("models[1].name", "duplicate name", "models[0] has it already"),
        ("schemes[2].name", "duplicate name", "schemes[0] has it already"),
        ("executors[1]", "duplicate name", "executors[0] has it already"),
        ("workloads[0].models[1]", "duplicate name", "workloads[0].models[0] has it already"),
    ]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    file = folder(tmp_path)
    (tmp_path / "net.onnx").unlink()
    (tmp_path / "train.npz").unlink()
    found = refused(lambda: resolve_suite(str(file)))
    assert [(p.key, p.message, p.value, p.expected) for p in found] == [
        ("models[0].path", "no such file", "'net.onnx'", f"a file at {tmp_path.resolve() / 'net.onnx'}"),
        ("calibrations[0].source", "no such file", "'train.npz'", f"a file at {tmp_path.resolve() / 'train.npz'}"),
    ]


def test_mistakes_in_several_files_come_together(tmp_path: Path) -> None:
    suite = SUITE.replace('models = ["net"]', 'models = ["other"]')
    assert told(folder(tmp_path, suite, RUBRIC.replace("count = 40", "count = 0"))) == [
        ("suite.toml", "workloads[0].models[0]", "unknown model"),
        ("rubric.toml", "test_set.count", "wrong value"),
    ]


def test_the_rubrics_reference_must_be_there(tmp_path: Path) -> None:
    rubric = RUBRIC.replace('scheme = "fp32"', 'scheme = "fp64"').replace('executor = "cpu"', 'executor = "cpuu"')
    found = refused(lambda: resolve_suite(str(folder(tmp_path, rubric=rubric))))
    assert [(Path(p.file).name, p.key, p.message, p.hint) for p in found] == [
        (
            "suite.toml",
            "workloads[0].rubric",
            "the rubric's reference scheme 'fp64' is not among the suite's schemes",
            'add [[schemes]] with name = "fp64"',
        ),
        ("rubric.toml", "reference.executor", "unknown executor", "did you mean 'cpu'?"),
    ]


@pytest.mark.parametrize(
    ("suite", "rubric"),
    [
        (SUITE.replace('calibrations = ["train"]', ""), RUBRIC),
        # not measured by the workload itself, but needed as the reference
        (
            SUITE.replace('calibrations = ["train"]', 'schemes = ["fp32"]'),
            RUBRIC.replace('scheme = "fp32"', 'scheme = "int8-static"'),
        ),
    ],
)
def test_a_static_scheme_needs_calibration_data(tmp_path: Path, suite: str, rubric: str) -> None:
    (problem,) = refused(lambda: resolve_suite(str(folder(tmp_path, suite, rubric))))
    assert problem.key == "workloads[0].calibrations"
    assert problem.message == "scheme 'int8-static' needs calibration data, and the workload names none"
    assert problem.hint == "one of: train"


def test_rubrics_by_name_and_unknown_ones(tmp_path: Path) -> None:
    suite = SUITE.replace('"rubric.toml"', '"small"')
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "small.toml").write_text(RUBRIC)
    resolved = resolve_suite(str(folder(tmp_path, suite)), rubrics=tmp_path / "rubrics")
    assert resolved.rubrics["classify"].file == tmp_path / "rubrics" / "small.toml"
    (problem,) = refused(lambda: resolve_suite(str(tmp_path / "suite.toml"), rubrics=None))
    assert (problem.key, problem.message, problem.value) == ("workloads[0].rubric", "unknown rubric", "'small'")


def test_a_broken_rubric_folder_is_told_without_calling_its_rubrics_unknown(tmp_path: Path) -> None:
    suite = SUITE.replace('"rubric.toml"', '"small"')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "small.toml").write_text(RUBRIC.replace("confidence = 0.95", "confidence = 2"))
    assert told(folder(tmp_path, suite), rubrics=tmp_path / "mine") == [("small.toml", "confidence", "wrong value")]


def test_a_budget_changes_the_protocol_and_nothing_else(tmp_path: Path) -> None:
    file = folder(tmp_path, SUITE.replace("[protocol]", "[protocol]\nthreads = 3"))
    standard, quick = resolve_suite(str(file)), resolve_suite(str(file), budget="quick")
    assert (standard.suite.protocol.block_s, quick.suite.protocol.block_s) == (0.1, 0.01)
    assert quick.suite.protocol == standard.suite.protocol.model_copy(update={"block_s": 0.01})
    assert quick.suite.model_copy(update={"protocol": standard.suite.protocol}) == standard.suite
    (problem,) = refused(lambda: resolve_suite(str(file), budget="thorough"))
    assert (problem.file, problem.expected) == ("--budget thorough", "standard, quick")


@pytest.mark.parametrize("budget", ["standard", "quick"])
def test_budgets_are_checked_whether_used_or_not(tmp_path: Path, budget: str) -> None:
    suite = SUITE.replace("block_s = 0.01", "block_s = -1\nrounds = 3").replace('models = ["net"]', 'models = ["x"]')
    assert told(folder(tmp_path, suite), budget=budget) == [
        ("suite.toml", "budgets.quick.block_s", "wrong value"),
        ("suite.toml", "budgets.quick.rounds", "unknown key"),
        ("suite.toml", "workloads[0].models[0]", "unknown model"),
    ]


def test_set_wins_over_the_budget_and_its_mistakes_are_its_own(tmp_path: Path) -> None:
    file = folder(tmp_path)
    resolved = resolve_suite(
        str(file), budget="quick", assignments=["protocol.block_s=0.5", "models.net.version=2.0-rc1"]
    )
    assert resolved.suite.protocol.block_s == 0.5
    assert resolved.suite.models[0].version == "2.0-rc1"
    found = refused(lambda: resolve_suite(str(file), assignments=["protocol.block_s=-1", "protocol.blok=2"]))
    label = f"{file} with --set protocol.block_s=-1 --set protocol.blok=2"
    assert [(p.file, p.key) for p in found] == [(label, "protocol.block_s"), (label, "protocol.blok")]


def test_executors_of_the_command_replace_the_suites(tmp_path: Path) -> None:
    file = folder(tmp_path)
    resolved = resolve_suite(str(file), on_executors=["cuda", "cuda"])
    assert resolved.suite.executors == ("cuda",)
    assert resolved.executors.keys() == {"cuda", "cpu"}  # the reference's as well
    (problem,) = refused(lambda: resolve_suite(str(file), on_executors=["cdua"]))
    assert (problem.file, problem.message, problem.hint) == (
        "--executor cdua",
        "unknown executor",
        "did you mean 'cuda'?",
    )


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["scheme=fp32"], {"scheme": {"fp32"}}),
        (["scheme=fp32,int8-static"], {"scheme": {"fp32", "int8-static"}}),
        (["scheme=fp32,model=net"], {"scheme": {"fp32"}, "model": {"net"}}),
        (
            ["scheme=fp32", "scheme=int8-static", "executor=cpu"],
            {"scheme": {"fp32", "int8-static"}, "executor": {"cpu"}},
        ),
        ([" scheme = fp32 ,"], {"scheme": {"fp32"}}),
    ],
)
def test_only(tmp_path: Path, only: Sequence[str], expected: dict[str, set[str]]) -> None:
    resolved: ResolvedSuite = resolve_suite(str(folder(tmp_path)), only=only)
    assert resolved.only == expected
    for axis, names in expected.items():
        assert all(resolved.wanted(axis, name) for name in names)
        assert not resolved.wanted(axis, "another")


@pytest.mark.parametrize(
    ("only", "message", "hint"),
    [
        ("scheem=fp32", "unknown axis 'scheem'", "did you mean 'scheme'?"),
        ("fp32", "unknown axis ''", "one of: calibration, executor, model, scenario, scheme, workload"),
        ("scheme=fp23", "the suite has no scheme 'fp23'", "did you mean 'fp32'?"),
        ("model=", "the suite has no model ''", "one of: net"),
    ],
)
def test_only_says_what_it_cannot_find(tmp_path: Path, only: str, message: str, hint: str) -> None:
    (problem,) = refused(lambda: resolve_suite(str(folder(tmp_path)), only=[only]))
    assert (problem.file, problem.message, problem.hint) == (f"--only {only}", message, hint)


def test_suites_by_name_and_by_file(tmp_path: Path) -> None:
    assert suite_file("starter").name == "starter.toml"
    assert suite_file(str(tmp_path / "x.toml")) == tmp_path / "x.toml"
    (problem,) = refused(lambda: suite_file("startr"))
    assert (problem.file, problem.hint) == ("startr", "did you mean 'starter'?")
    assert told(tmp_path / "none.toml") == [("none.toml", "", "no such file")]


@pytest.mark.parametrize("text", ["budgets = 3", "protocol = 3", 'budgets = { quick = "fast" }', "models = 1"])
def test_nothing_odd_in_a_file_is_a_crash(tmp_path: Path, text: str) -> None:
    file = folder(tmp_path, text)
    key = text.split(" ", maxsplit=1)[0]
    assert any(problem.key.startswith(key) for problem in refused(lambda: resolve_suite(str(file), budget="quick")))
