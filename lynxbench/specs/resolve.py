"""A suite with everything that it names: its rubrics, executors and files, checked as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Spec, build, did_you_mean
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import PACKAGE, Declared, load_folder, locate, override, read_toml
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Calibration, Scheme
from lynxbench.specs.suite import Model, Scenario, Suite, Workload

AXES = ("workload", "model", "scheme", "calibration", "executor", "scenario")


@dataclass(frozen=True)
class ResolvedSuite:
    """A suite whose every name leads somewhere. `only` narrows what is measured, not what is declared."""

    suite: Suite
    file: Path
    rubrics: Mapping[str, Declared[Rubric]]  # by workload
    executors: Mapping[str, Declared[ExecutorSpec]]
    only: Mapping[str, frozenset[str]]

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
    data = read_toml(file)
    if budget in (data.get("budgets") or {}):
        data["protocol"] = {**data.get("protocol", {}), **data["budgets"][budget]}
    if on_executors:
        data["executors"] = list(dict.fromkeys(on_executors))
    for assignment in assignments:
        data = override(data, assignment)

    problems: list[Problem] = []
    suite = _gather(problems, lambda: build(Suite, data, str(file)))
    known_rubrics = _gather(problems, lambda: load_folder("rubrics", Rubric, rubrics)) or {}
    known_executors = _gather(problems, lambda: load_folder("executors", ExecutorSpec, executors)) or {}
    if suite is None:
        raise DeclarationError(problems)

    problems.extend(_names(suite, file))
    problems.extend(_budgets(suite, file))
    used_rubrics: dict[str, Declared[Rubric]] = {}
    for index, workload in enumerate(suite.workloads):
        key = f"workloads[{index}].rubric"
        if workload.rubric.endswith(".toml"):
            path = locate(workload.rubric, file)
            rubric = _gather(problems, lambda path=path: Declared(build(Rubric, read_toml(path), str(path)), path))  # type: ignore[misc]
        else:
            rubric = known_rubrics.get(workload.rubric)
            if rubric is None and not any("rubrics" in problem.file for problem in problems):
                problems.append(_unknown(file, key, "rubric", workload.rubric, known_rubrics))
        if rubric is not None:
            used_rubrics[workload.name] = rubric
            problems.extend(_reference(suite, workload, index, rubric, file))
    used_executors = {}
    wanted_executors = [*suite.executors, *(rubric.spec.reference.executor for rubric in used_rubrics.values())]
    for executor in dict.fromkeys(wanted_executors):
        if executor in known_executors:
            used_executors[executor] = known_executors[executor]
        elif known_executors:
            problems.append(_unknown(file, "executors", "executor", executor, known_executors))
    filters = _filters(only, suite, problems)
    problems.extend(_files(suite, file))
    if problems:
        raise DeclarationError(problems)
    return ResolvedSuite(suite, file, used_rubrics, used_executors, filters)


def _gather(problems, action):  # type: ignore[no-untyped-def]
    try:
        return action()
    except DeclarationError as error:
        problems.extend(error.problems)
        return None


def _unknown(file: Path, key: str, what: str, name: str, known: Iterable[str]) -> Problem:
    return Problem(str(file), key, f"unknown {what}", value=repr(name), hint=did_you_mean(name, known))


def _names(suite: Suite, file: Path) -> list[Problem]:
    """Duplicate names, and names that lead nowhere."""
    problems = []
    collections: dict[str, Sequence[Spec]] = {
        "models": suite.models,
        "schemes": suite.schemes,
        "calibrations": suite.calibrations,
        "scenarios": suite.scenarios,
        "workloads": suite.workloads,
    }
    names = {key: [item.name for item in items] for key, items in collections.items()}  # type: ignore[attr-defined]
    for key, listed in names.items():
        for index, name in enumerate(listed):
            if name in listed[:index]:
                problems.append(
                    Problem(
                        str(file),
                        f"{key}[{index}].name",
                        "duplicate name",
                        value=repr(name),
                        hint=f"{key}[{listed.index(name)}] has it already",
                    )
                )
    for index, workload in enumerate(suite.workloads):
        for key in ("models", "schemes", "calibrations", "scenarios"):
            for name in getattr(workload, key):
                if name not in names[key]:
                    problems.append(
                        _unknown(file, f"workloads[{index}].{key}", key.removesuffix("s"), name, names[key])
                    )
        static = [
            s.name
            for s in suite.schemes
            if s.needs_calibration and (not workload.schemes or s.name in workload.schemes)
        ]
        if static and not workload.calibrations:
            problems.append(
                Problem(
                    str(file),
                    f"workloads[{index}].calibrations",
                    f"scheme {static[0]!r} needs calibration data, and the workload names none",
                    expected="the name of at least one [[calibrations]] entry",
                    hint=did_you_mean("", names["calibrations"]),
                )
            )
    return problems


def _budgets(suite: Suite, file: Path) -> list[Problem]:
    """A budget is checked even when it is not the one in use."""
    problems = []
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


def _reference(suite: Suite, workload: Workload, index: int, rubric: Declared[Rubric], file: Path) -> list[Problem]:
    scheme = rubric.spec.reference.scheme
    if scheme in {s.name for s in suite.schemes}:
        return []
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


def _files(suite: Suite, file: Path) -> list[Problem]:
    problems = []
    for key, items in (("models", suite.models), ("calibrations", suite.calibrations)):
        for index, item in enumerate(items):
            declared = item.path if isinstance(item, Model) else item.source
            path = locate(declared, file)
            if not path.is_file():
                field = "path" if isinstance(item, Model) else "source"
                problems.append(
                    Problem(
                        str(file),
                        f"{key}[{index}].{field}",
                        "no such file",
                        value=repr(declared),
                        expected=f"a file at {path}",
                    )
                )
    return problems
