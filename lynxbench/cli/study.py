"""`lynxbench study`: what predicts a loss, over all candidates of some results, and what does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lynxbench.cli.kept import chosen_records
from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write_csv, write_json
from lynxbench.cli.sentences import say
from lynxbench.cli.text import plain, signed
from lynxbench.errors import UsageError
from lynxbench.specs.load import cache_folder
from lynxbench.study.correlation import LEAST_CANDIDATES, LEAST_MODELS, Correlation
from lynxbench.study.plot import strip, svg
from lynxbench.study.run import Question, Study, study
from lynxbench.study.run import Row as Found

MOST_NAMED = 3  # tendencies that a sentence names


def study_command(
    results: Sequence[Path],
    *,
    only: Sequence[str],
    diagnoses: Sequence[Path],
    all_metrics: bool,
    confidence: float,
    plot: Path | None,
    form: Form,
) -> int:
    """Correlate and print; returns the exit code."""
    if not 0.5 <= confidence < 1:
        raise UsageError(f"--confidence {confidence}: a share from 0.5 to below 1, e.g. 0.95")
    records = [kept.record for kept in chosen_records(results, only)]
    found = study(
        records,
        cache=cache_folder(),
        diagnoses=diagnoses,
        all_metrics=all_metrics,
        confidence=confidence,
        on_file=lambda done, of: (
            print(f"weights of model file {done + 1} of {of}", file=sys.stderr) if done % 10 == 0 else None
        ),
    )
    if plot is not None:
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_text(svg(found.questions), encoding="utf-8")
        print(f"plot      {plot}", file=sys.stderr)
    if form == "json":
        write_json(_document(found))
    elif form == "csv":
        rows = [_values(question, row) for question in found.questions for row in _computed(question)]
        write_csv(list(_values(found.questions[0], found.questions[0].rows[0])), rows)
    elif form == "markdown":
        for question in found.questions:
            print(markdown(_table(question)))
            print(f"- {plain(_sentence(question))}\n")
    else:
        _print(found)
    return 0


def _print(found: Study) -> None:
    to = console()
    for question in found.questions:
        if _computed(question):
            draw(to, _table(question))
        say(to, [_sentence(question)])
        to.print()
    say(to, list(_notes(found)), mark="")


def _computed(question: Question) -> list[Found]:
    return [row for row in question.rows if row.correlation is not None]


def _table(question: Question) -> Table:
    columns = [
        Column("correlate"),
        Column("rho", "Spearman", right=True),
        Column("strip", "−1         0         1"),
        Column("tau", "Kendall", right=True, expendable=2),
        Column("n", right=True),
        Column("models", right=True, expendable=1),
        Column("expected", expendable=3),
        Column("meaning", "what it is", wraps=True, expendable=4),
    ]
    title = f"{question.task}, {question.metric}: {question.n} candidates of {', '.join(question.models)}"
    rows = []
    for row in _computed(question):
        one = row.correlation
        assert one is not None
        texts = {
            "rho": f"{signed(one.rho, 2)} [{signed(one.low, 2)}, {signed(one.high, 2)}]",
            "strip": strip(one.low, one.rho, one.high),
            "tau": signed(one.tau, 2),
            "expected": "more loss" if row.correlate.expected > 0 else "less loss",
        }
        rows.append(Row(_values(question, row), texts))
    return Table(columns, rows, title)


def _values(question: Question, row: Found) -> dict[str, Any]:
    one = row.correlation
    return {
        "task": question.task,
        "metric": question.metric,
        "correlate": row.correlate.name,
        "meaning": row.correlate.meaning,
        "source": row.correlate.source,
        "expected": row.correlate.expected,
        "rho": None if one is None else one.rho,
        "rho_low": None if one is None else one.low,
        "rho_high": None if one is None else one.high,
        "confidence": None if one is None else one.confidence,
        "tau": None if one is None else one.tau,
        "n": row.n,
        "models": None if one is None else one.models,
        "compared": None if one is None else one.compared,
        "tendency": None if one is None else one.is_tendency,
    }


def _sentence(question: Question) -> str:
    """A tendency, with what it covers; or nothing."""
    what = f"{question.task}, {question.metric}"
    computed = _computed(question)
    if not computed:
        return (
            f"{what}: nothing to say. {question.n} candidates; a correlation takes {LEAST_CANDIDATES} that have the "
            "quantity, and differ in it and in the loss."
        )
    first = computed[0].correlation
    assert first is not None
    basis = _basis(first)
    if not question.tendencies:
        return (
            f"{what}: nothing. None of {question.correlates_n} correlates ranks the {question.n} candidates as their "
            f"losses do beyond doubt, {basis}."
        )
    named = [_tendency(row) for row in question.tendencies[:MOST_NAMED]]
    more = len(question.tendencies) - len(named)
    return (
        f"{what}: a tendency, no law. {'; '.join(named)}{f'; and {more} more' if more else ''}. "
        f"{question.correlates_n} correlates were tried, {basis}."
    )


def _basis(one: Correlation) -> str:
    """What an interval is about."""
    if one.compared == "all candidates":
        return f"over {one.models} models"
    return "on this model alone" if one.models == 1 else f"within these {one.models} models alone"


def _tendency(row: Found) -> str:
    one = row.correlation
    assert one is not None
    way = "more" if one.rho > 0 else "less"
    against = "" if one.rho * row.correlate.expected > 0 else ", against what is expected"
    return f"more {row.correlate.name} goes with {way} loss ({signed(one.rho, 2)}, n = {one.n}{against})"


def _notes(found: Study) -> Iterator[str]:
    share = f"{100 * found.confidence:g} %"
    yield (
        f"Spearman's rank correlation with the loss; intervals are by bootstrap and hold together at {share} for each "
        f"question (Bonferroni). With fewer than {LEAST_MODELS} models, candidates are ranked within their own model: "
        "what is the same for all schemes of a model says nothing then. Correlation is no cause."
    )
    if found.without_file:
        yield (
            f"{found.without_file} of {found.candidates} candidates have no model file in the cache: no facts on their "
            "weights. The same sweep builds them again."
        )
    if found.without_diagnosis:
        yield (
            f"{found.without_diagnosis} of {found.candidates} candidates have no diagnosis: no facts on their "
            "activations. lynxbench diagnose … --json > FOLDER/NAME.json, then --diagnoses FOLDER."
        )


def _document(found: Study) -> dict[str, Any]:
    return {
        "confidence": found.confidence,
        "candidates": found.candidates,
        "without_file": found.without_file,
        "without_diagnosis": found.without_diagnosis,
        "questions": [
            {
                "task": question.task,
                "metric": question.metric,
                "n": question.n,
                "models": question.models,
                "sentence": _sentence(question),
                "correlations": [
                    {
                        "correlate": row.correlate.name,
                        "meaning": row.correlate.meaning,
                        "source": row.correlate.source,
                        "expected": row.correlate.expected,
                        **asdict(row.correlation),
                        "tendency": row.correlation.is_tendency,
                    }
                    for row in question.rows
                    if row.correlation is not None
                ],
                "points": {
                    name: [{"value": x, "loss": y, "model": model} for x, y, model in points]
                    for name, points in question.points.items()
                },
            }
            for question in found.questions
        ],
    }
