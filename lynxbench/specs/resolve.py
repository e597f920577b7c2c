"""A suite with everything that it names: its rubrics, executors and files, checked as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import build, did_you_mean
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.fetched import missing_part
from lynxbench.specs.load import FETCHED, PACKAGE, Declared, load_folder, locate, override, read_toml
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Calibration, Scheme
from lynxbench.specs.suite import Model, Scenario, Suite, Workload

R = TypeVar("R")

AXES = ("workload", "model", "scheme", "calibration", "executor", "scenario")


@dataclass(frozen=True)
class ResolvedSuite:
    """A suite whose every name leads somewhere. `only` narrows what is measured, not what is declared.

    `left_out`: workloads whose models or data have not been fetched → what is missing. They are not measured.
    """

    suite: Suite
    file: Path
    rubrics: Mapping[str, Declared[Rubric]]  # by workload
    executors: Mapping[str, Declared[ExecutorSpec]]
    only: Mapping[str, frozenset[str]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those whose models and data are here."""
        return tuple(workload for workload in self.suite.workloads if workload.name not in self.left_out)

    @property
    def absent_models(self) -> frozenset[str]:
        """Models of workloads that are left out, and of no other."""
        away = {name for w in self.suite.workloads if w.name in self.left_out for name in w.models}
        return frozenset(away - {name for workload in self.workloads for name in workload.models})

    def model(self, name: str) -> Model:
        return next(model for model in self.suite.models if model.name == name)

    def schemes_of(self, workload: Workload) -> tuple[Scheme, ...]:
        return tuple(s for s in self.suite.schemes if not workload.schemes or s.name in workload.schemes)

    def scenarios_of(self, workload: Workload) -> tuple[Scenario, ...]:
        return tuple(s for s in self.suite.scenarios if not workload.scenarios or s.name in workload.scenarios)

    def calibrations_of(self, workload: Workload) -> tuple[Calibration, ...]:
        return tuple(c for c in self.suite.calibrations if c.name in workload.calibrations)

    def wanted(self, axis: str, name: str) -> bool:
        return axis not in self.only or name in self.only[axis]


def builtin_suites() -> dict[str, Path]:
    """The suites that come with LynxBench, by name."""
    return {file.stem: file for file in sorted((PACKAGE / "suites").glob("*.toml"))}


def suite_file(name: str) -> Path:
    """A built-in suite's file by its name, or a path that ends in .toml."""
    known = builtin_suites()
    if name in known:
        return known[name]
    if name.endswith(".toml"):
        return Path(name).expanduser()
    raise DeclarationError(
        [
            Problem(
                name,
                "",
                "is neither a built-in suite nor a .toml file",
                expected=", ".join(known),
                hint=did_you_mean(name, known),
            )
        ]
    )


def resolve_suite(
    name: str,
    *,
    rubrics: Path | None = None,
    executors: Path | None = None,
    assignments: Sequence[str] = (),
    only: Sequence[str] = (),
    budget: str = "standard",
    on_executors: Sequence[str] = (),
) -> ResolvedSuite:
    """Load a suite and all that it refers to.

    Raises `DeclarationError` with every problem found in every file: unknown names with the nearest valid one,
    duplicate names, missing files.
    """
    file = suite_file(name)
    problems: list[Problem] = []
    suite = _gather(problems, partial(_suite, file, assignments, budget, on_executors, problems))
    known_rubrics = _gather(problems, partial(load_folder, "rubrics", Rubric, rubrics))
    known_executors = _gather(problems, partial(load_folder, "executors", ExecutorSpec, executors))
    if suite is None:
        raise DeclarationError(problems)
    problems.extend(_names(suite, file))
    used_rubrics = _rubrics(suite, file, known_rubrics, problems)
    used_executors = _executors(
        suite=suite,
        file=file,
        on_executors=on_executors,
        rubrics=used_rubrics.values(),
        known=known_executors,
        problems=problems,
    )
    filters = _filters(only, suite, problems)
    left_out = _left_out(suite, used_rubrics)
    problems.extend(_files(suite, file))
    problems.extend(_nothing_left(suite, file, filters.get("workload"), left_out))
    if problems:
        raise DeclarationError(problems)
    return ResolvedSuite(suite, file, used_rubrics, used_executors, filters, left_out)


def _suite(
    file: Path, assignments: Sequence[str], budget: str, on_executors: Sequence[str], problems: list[Problem]
) -> Suite:
    """The suite as its file says, then as the command changes it: each mistake is told where it was made."""
    data = read_toml(file)
    declared = build(Suite, data, str(file))
    wrong = _budgets(declared, file)
    if wrong:
        problems.extend(wrong)
        return declared
    if budget in declared.budgets:
        data["protocol"] = {**data.get("protocol", {}), **declared.budgets[budget]}
    elif budget != "standard":
        known = ["standard", *declared.budgets]
        raise DeclarationError(
            [
                Problem(
                    f"--budget {budget}",
                    "",
                    f"suite {declared.name} declares no such budget",
                    expected=", ".join(known),
                )
            ]
        )
    if on_executors:
        data["executors"] = list(dict.fromkeys(on_executors))
    for assignment in assignments:
        data = override(data, assignment)
    command = [f"--executor {name}" for name in on_executors] + [f"--set {assignment}" for assignment in assignments]
    return build(Suite, data, " ".join([str(file), "with", *command]) if command else str(file))


def _gather(problems: list[Problem], action: Callable[[], R]) -> R | None:
    """What `action` returns; None, with its problems kept, when it raises `DeclarationError`."""
    try:
        return action()
    except DeclarationError as error:
        problems.extend(error.problems)
        return None


def _rubrics(
    suite: Suite, file: Path, known: Mapping[str, Declared[Rubric]] | None, problems: list[Problem]
) -> dict[str, Declared[Rubric]]:
    """Each workload's rubric, by workload; `known` is None when the rubrics could not be read."""

    def read(path: Path) -> Declared[Rubric]:
        return Declared(build(Rubric, read_toml(path), str(path)), path)

    used = {}
    for index, workload in enumerate(suite.workloads):
        if workload.rubric.endswith(".toml"):
            rubric = _gather(problems, partial(read, locate(workload.rubric, file)))
        else:
            rubric = (known or {}).get(workload.rubric)
            if rubric is None and known is not None:
                problems.append(_unknown(file, f"workloads[{index}].rubric", "rubric", workload.rubric, known))
        if rubric is not None:
            used[workload.name] = rubric
            problems.extend(_reference(suite, index, rubric, file))
    return used


def _executors(
    *,
    suite: Suite,
    file: Path,
    on_executors: Sequence[str],
    rubrics: Iterable[Declared[Rubric]],
    known: Mapping[str, Declared[ExecutorSpec]] | None,
    problems: list[Problem],
) -> dict[str, Declared[ExecutorSpec]]:
    """The suite's executors and its references', by name; `known` is None when the executors could not be read."""
    if known is None:
        return {}
    used = {}
    wanted = [
        (name, f"--executor {name}", "") if name in on_executors else (name, str(file), f"executors[{index}]")
        for index, name in enumerate(suite.executors)
    ]
    wanted += [(rubric.spec.reference.executor, str(rubric.file), "reference.executor") for rubric in rubrics]
    for name, where, key in wanted:
        if name in known:
            used[name] = known[name]
        else:
            problems.append(_unknown(where, key, "executor", name, known))
    return used


def _unknown(file: Path | str, key: str, what: str, name: str, known: Iterable[str]) -> Problem:
    return Problem(str(file), key, f"unknown {what}", value=repr(name), hint=did_you_mean(name, known))


def _names(suite: Suite, file: Path) -> list[Problem]:
    """Duplicate names, and names that lead nowhere."""
    names = {
        "models": [model.name for model in suite.models],
        "schemes": [scheme.name for scheme in suite.schemes],
        "calibrations": [calibration.name for calibration in suite.calibrations],
        "scenarios": [scenario.name for scenario in suite.scenarios],
        "workloads": [workload.name for workload in suite.workloads],
    }
    problems = []
    for kind, listed in names.items():
        problems += _repeated(listed, file, kind, ".name")
    problems += _repeated(suite.executors, file, "executors")
    for index, workload in enumerate(suite.workloads):
        for kind in ("models", "schemes", "calibrations", "scenarios"):
            used: Sequence[str] = getattr(workload, kind)
            key = f"workloads[{index}].{kind}"
            problems += [
                _unknown(file, f"{key}[{place}]", kind.removesuffix("s"), name, names[kind])
                for place, name in enumerate(used)
                if name not in names[kind]
            ]
            problems += _repeated(used, file, key)
        static = [
            s.name
            for s in suite.schemes
            if s.needs_calibration and (not workload.schemes or s.name in workload.schemes)
        ]
        if static and not workload.calibrations:
            problems.append(_uncalibrated(suite, index, static[0], file))
    return problems


def _repeated(names: Sequence[str], file: Path, key: str, field: str = "") -> list[Problem]:
    return [
        Problem(
            str(file),
            f"{key}[{index}]{field}",
            "duplicate name",
            value=repr(name),
            hint=f"{key}[{names.index(name)}] has it already",
        )
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _uncalibrated(suite: Suite, index: int, scheme: str, file: Path) -> Problem:
    return Problem(
        str(file),
        f"workloads[{index}].calibrations",
        f"scheme {scheme!r} needs calibration data, and the workload names none",
        expected="the name of at least one [[calibrations]] entry",
        hint=did_you_mean("", [calibration.name for calibration in suite.calibrations]),
    )


def _budgets(suite: Suite, file: Path) -> list[Problem]:
    """A budget is checked even when it is not the one in use."""
    problems: list[Problem] = []
    for budget, changes in suite.budgets.items():
        merged = {**suite.protocol.model_dump(), **changes}
        try:
            build(type(suite.protocol), merged, str(file))
        except DeclarationError as error:
            problems.extend(
                Problem(p.file, f"budgets.{budget}.{p.key}", p.message, p.value, p.expected, p.hint)
                for p in error.problems
            )
    return problems


def _reference(suite: Suite, index: int, rubric: Declared[Rubric], file: Path) -> list[Problem]:
    scheme = rubric.spec.reference.scheme
    declared = next((s for s in suite.schemes if s.name == scheme), None)
    if declared is not None:
        workload = suite.workloads[index]
        listed = not workload.schemes or scheme in workload.schemes  # then `_names` has seen it
        lacking = declared.needs_calibration and not workload.calibrations and not listed
        return [_uncalibrated(suite, index, scheme, file)] if lacking else []
    return [
        Problem(
            str(file),
            f"workloads[{index}].rubric",
            f"the rubric's reference scheme {scheme!r} is not among the suite's schemes",
            hint=f'add [[schemes]] with name = "{scheme}"',
        )
    ]


def _filters(only: Sequence[str], suite: Suite, problems: list[Problem]) -> dict[str, frozenset[str]]:
    known = {
        "workload": {w.name for w in suite.workloads},
        "model": {m.name for m in suite.models},
        "scheme": {s.name for s in suite.schemes},
        "calibration": {c.name for c in suite.calibrations},
        "executor": set(suite.executors),
        "scenario": {s.name for s in suite.scenarios},
    }
    filters: dict[str, set[str]] = {}
    axis = ""
    for part in (piece for option in only for piece in option.split(",") if piece):
        before, separator, name = part.partition("=")
        axis, name = (before.strip(), name.strip()) if separator else (axis, before.strip())
        where = f"--only {part}"
        if axis not in known:
            problems.append(
                Problem(
                    where, "", f"unknown axis {axis!r}", expected="AXIS=NAME[,NAME…]", hint=did_you_mean(axis, AXES)
                )
            )
        elif name not in known[axis]:
            problems.append(
                Problem(where, "", f"the suite has no {axis} {name!r}", hint=did_you_mean(name, known[axis]))
            )
        else:
            filters.setdefault(axis, set()).add(name)
    return {key: frozenset(names) for key, names in filters.items()}


def _left_out(suite: Suite, rubrics: Mapping[str, Declared[Rubric]]) -> dict[str, str]:
    """Workloads that want something that has to be fetched first → what that is."""
    models = {model.name: model for model in suite.models}
    calibrations = {calibration.name: calibration for calibration in suite.calibrations}
    away = {}
    for workload in suite.workloads:
        used = [models[name] for name in workload.models if name in models]
        paths = [model.path for model in used] + [model.text.tokenizer for model in used if model.text]
        paths += [calibrations[name].source for name in workload.calibrations if name in calibrations]
        if workload.name in rubrics:
            test_set = rubrics[workload.name].spec.test_set
            paths += [test_set.source, test_set.corpus or ""]
        with suppress(DeclarationError):  # a part that does not exist: `_files` says so
            missing = [part for path in paths if (part := missing_part(path)) is not None]
            if missing:
                away[workload.name] = ", ".join(dict.fromkeys(missing))
    return away


def _nothing_left(
    suite: Suite, file: Path, wanted: frozenset[str] | None, left_out: Mapping[str, str]
) -> list[Problem]:
    """What was asked for has not been fetched, all of it."""
    asked = [workload.name for workload in suite.workloads if wanted is None or workload.name in wanted]
    if not asked or set(asked) - set(left_out):
        return []
    parts = ", ".join(dict.fromkeys(left_out[name] for name in asked))
    suites = dict.fromkeys(part.split("/")[0] for part in parts.split(", "))
    hint = "; ".join(f"lynxbench suite fetch {name}" for name in suites)
    message = f"{', '.join(asked)}: models and data have to be fetched first"
    return [Problem(str(file), "workloads", message, value=f"not here: {parts}", hint=hint)]


def _files(suite: Suite, file: Path) -> list[Problem]:
    problems: list[Problem] = []
    named = [(f"models[{index}].path", model.path) for index, model in enumerate(suite.models)]
    named += [
        (f"models[{index}].text.tokenizer", model.text.tokenizer)
        for index, model in enumerate(suite.models)
        if model.text
    ]
    named += [
        (f"calibrations[{index}].source", data.source) for index, data in enumerate(suite.calibrations) if data.source
    ]
    for key, declared in named:
        try:
            path = locate(declared, file)
        except DeclarationError as error:
            problems += [replace(problem, file=str(file), key=key, value=repr(declared)) for problem in error.problems]
            continue
        if declared.startswith(FETCHED):
            continue  # a workload without its files is left out, and said to be
        if not (path.is_file() or (path.is_dir() and key.startswith("calibrations"))):
            expected = f"a file at {path}"
            problems.append(Problem(str(file), key, "no such file", value=repr(declared), expected=expected))
    return problems
