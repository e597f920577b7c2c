"""`lynxbench list`, `schema` and `validate`: what is declared, what may be, and whether it is sound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lynxbench.cli.schemes import kinds_as_text, scheme_kinds
from lynxbench.cli.text import plain
from lynxbench.errors import DeclarationError, Problem, UsageError
from lynxbench.records.location import Location, Url
from lynxbench.specs.base import Spec, build, did_you_mean
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import Declared, load_folder, locate, read_toml
from lynxbench.specs.resolve import builtin_suites, resolve_suite, suite_file
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite

KINDS = ("models", "rubrics", "schemes", "executors", "suites")
DECLARATIONS: dict[str, type[Spec]] = {"suite": Suite, "rubric": Rubric, "executor": ExecutorSpec}


def list_command(what: str, *, suite: str | None, rubrics: Path | None, executors: Path | None, as_json: bool) -> int:
    """Print the names and the essentials of one kind of declaration."""
    if what not in KINDS:
        raise UsageError(
            f"list {what}: there are no such things; {did_you_mean(what, KINDS) or 'one of: ' + ', '.join(KINDS)}"
        )
    rows = _rows(what, suite, rubrics, executors)
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    if what == "schemes" and suite is None:
        print(kinds_as_text(rows))
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:<{width}}  {plain(row['about'])}")
    return 0


def _rows(what: str, suite: str | None, rubrics: Path | None, executors: Path | None) -> list[dict[str, Any]]:
    if what == "suites":
        loaded = [build(Suite, read_toml(file), str(file)) for file in builtin_suites().values()]
        return [{"name": s.name, "version": s.version, "about": s.description} for s in loaded]
    if what == "rubrics":
        found = load_folder("rubrics", Rubric, rubrics)
        check_rubrics(found.values())
        return [
            {
                "name": name,
                "version": d.spec.version,
                "about": f"{d.spec.title} ({d.spec.task}, {d.spec.primary.name}; {_answers(d.spec)})",
                "digest": d.digest,
                "file": str(d.file),
            }
            for name, d in sorted(found.items())
        ]
    if what == "executors":
        declared = load_folder("executors", ExecutorSpec, executors)
        return [
            {"name": name, "about": f"{d.spec.title} ({d.spec.provider})", "digest": d.digest, "file": str(d.file)}
            for name, d in sorted(declared.items())
        ]
    if what == "schemes" and suite is None:
        return scheme_kinds()
    file = suite_file(suite or "starter")
    spec = build(Suite, read_toml(file), str(file))
    if what == "schemes":
        return [
            {
                "name": s.name,
                "kind": s.kind,
                "options": s.options(),
                "about": ", ".join(f"{k}={v}" for k, v in s.options().items() if k != "kind") or "the model as it is",
            }
            for s in spec.schemes
        ]
    return [
        {
            "name": m.name,
            "version": m.version,
            "about": m.description,
            "file": str(locate(m.path, file)),
            "licence": m.licence,
        }
        for m in spec.models
    ]


def _answers(rubric: Rubric) -> str:
    """The sample size, and what it can tell."""
    from lynxbench.scoring import planned_answers

    n, resolved = planned_answers(rubric)
    if resolved is None:
        return f"{n:,} answers"
    return f"{n:,} answers resolve a loss of about {resolved:.2g} if one in twenty changes"


def check_rubrics(declared: Iterable[Declared[Rubric]]) -> None:
    """Raise `DeclarationError` for rubrics whose metrics make no sense."""
    from lynxbench.sweep.prepare import rubric_problems

    problems = rubric_problems(declared)
    if problems:
        raise DeclarationError(problems)


def schema_command(what: str) -> int:
    """Print a JSON Schema."""
    if what == "record":
        from lynxbench.records.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
        return 0
    if what not in DECLARATIONS:
        choices = [*DECLARATIONS, "record"]
        raise UsageError(f"schema {what}: unknown; {did_you_mean(what, choices) or 'one of: ' + ', '.join(choices)}")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **DECLARATIONS[what].model_json_schema()}
    print(json.dumps(document, indent=2))
    return 0


def validate_command(paths: Sequence[Location], *, rubrics: Path | None, executors: Path | None) -> int:
    """Check each path; every problem of every path is printed before the command fails."""
    problems: list[Problem] = []
    for path in paths:
        try:
            print(f"{path}: {_validate(path, rubrics, executors)}")
        except DeclarationError as error:
            problems.extend(error.problems)
        except UsageError as error:
            problems.append(Problem(str(path), "", str(error)))
    if problems:
        raise DeclarationError(problems)
    return 0


def _validate(path: Location, rubrics: Path | None, executors: Path | None) -> str:
    if isinstance(path, Url) or path.is_dir():
        return _results(path)
    data = read_toml(path)
    if "workloads" in data:
        from lynxbench.sweep.run import prepare_sweep

        prepared = prepare_sweep(resolve_suite(str(path), rubrics=rubrics, executors=executors))
        return f"a sound suite, {len(prepared.plan.cells)} cells"
    if "test_set" in data:
        rubric = Declared(build(Rubric, data, str(path)), path)
        check_rubrics([rubric])
        return f"a sound rubric, digest {rubric.digest[:12]}; {_answers(rubric.spec)}"
    build(ExecutorSpec, data, str(path))
    return "a sound executor"


def _results(path: Location) -> str:
    """Every record of every folder at or below `path`; raises `StoreError` for the first that is not sound."""
    from lynxbench.errors import StoreError
    from lynxbench.records.places import find_places
    from lynxbench.records.results import complaints, kept_records

    places, count = find_places([path]), 0
    for place in places:
        records = [kept.record for kept in kept_records(place)] if place.kind != "set" else []
        count += len(records) if records else sum(1 for _ in kept_records(place))
        wrong = complaints(place, records)
        if wrong:
            raise StoreError(f"{place.folder}: " + "; ".join(wrong))
    where = f" in {len(places)} folders" if len(places) > 1 else ""
    return f"{count:,} sound records{where}"
