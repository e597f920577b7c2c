"""What a workload's rows say, in sentences, as one would tell a colleague: only what the intervals support."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lynxbench.cli.text import change, fraction, signed
from lynxbench.execution import Caution
from lynxbench.records.record import MEASURED, Record

# A candidate counts as slower when the whole interval of its speed lies below this share of the reference's.
SLOWER = 0.9
MOST_NAMED = 3


def findings(records: Sequence[Record]) -> list[str]:
    """A few sentences about one workload, the most useful first."""
    measured = [r for r in records if r["status"] in MEASURED]
    rivals = [r for r in measured if not r["is_reference"]]
    if not measured:
        return ["Nothing could be measured; the reasons stand below."]
    if not rivals:
        return ["Nothing besides the reference was measured."]
    # The rows of the scenario that the table shows: single-stream where there is one.
    scenario = next((r["scenario"] for r in rivals if r["scenario_kind"] == "single-stream"), rivals[0]["scenario"])
    shown = [r for r in rivals if r["scenario"] == scenario]
    return [
        *_recommendation(shown),
        *_broken(shown),
        *_saturated(shown),
        *_hidden(shown),
        *_slower(shown),
        *_batch_dependent(shown, rivals),
        *_undecided(shown),
    ]


def _recommendation(shown: Sequence[Record]) -> Iterable[str]:
    """What to deploy, model by model; in one sentence where one scheme serves them all."""
    reference = shown[0]["reference_scheme"]
    sure = [r for r in shown if r["verdict"] == "robust" and _surely_faster(r) and _disclosed(r)]
    models = list(dict.fromkeys(r["model"] for r in shown))
    by_scheme = {name: [r for r in sure if _scheme(r) == name] for name in dict.fromkeys(map(_scheme, sure))}
    everywhere = {scheme: mine for scheme, mine in by_scheme.items() if {r["model"] for r in mine} == set(models)}
    if len(models) > 1 and everywhere:
        best, mine = max(everywhere.items(), key=lambda item: min(map(_low, item[1])))
        yield f"{best} is robust on all {len(models)} models and {_span(mine)} times as fast as {reference}."
        return
    for model in models:
        mine = [r for r in sure if r["model"] == model]
        if mine:
            row = max(mine, key=_low)
            yield (
                f"{model}: {_scheme(row)} is robust and {_span([row])} times as fast as {reference} (Δ {_delta(row)})."
            )
        elif any(_surely_faster(r) for r in shown if r["model"] == model):
            yield f"{model}: keep {reference}; no scheme is both faster and robust beyond doubt."
        else:
            yield f"{model}: keep {reference}; no scheme is faster beyond doubt."


def _broken(shown: Sequence[Record]) -> Iterable[str]:
    fragile = sorted((r for r in shown if r["verdict"] == "fragile"), key=lambda r: -r["primary_loss"])
    for row in fragile[:2]:
        before = next((s["reference_value"] for s in row["scores"] if s["role"] == "primary"), None)
        yield (
            f"{_scheme(row)} breaks {row['model']}: {row['primary_metric']} goes from {fraction(before, _unit(row))} "
            f"to {fraction(row['primary_value'], _unit(row))}, Δ {_delta(row)}."
        )
    if len(fragile) > 2:
        yield f"{len(fragile) - 2} more are fragile (see the verdict column)."


def _saturated(shown: Sequence[Record]) -> Iterable[str]:
    """That these scores are this kind of processor's: elsewhere the same file computes something else."""
    told = [r for r in shown if any(w["code"] == Caution.PRODUCTS_SATURATE for w in r["warnings"])]
    if told:
        schemes = ", ".join(dict.fromkeys(map(_scheme, told)))
        yield (
            f"Not the same on every processor: {schemes}. This one has no VNNI and cuts products of uint8 by int8 off "
            "at 16 bits; reduce_range = true, or weight_type uint8, makes a scheme that does not depend on it."
        )


def _hidden(shown: Sequence[Record]) -> Iterable[str]:
    """The stratum that loses most beyond the average of its own candidate, where the intervals part."""
    parted = [
        r
        for r in shown
        if r["worst_stratum_loss_low"] is not None
        and r["primary_loss_high"] is not None
        and r["worst_stratum_loss_low"] > r["primary_loss_high"]
    ]
    if parted:
        row = max(parted, key=lambda r: r["worst_stratum_loss"] - r["primary_loss"])
        sign = -1 if row["primary_direction"] == "higher-is-better" else 1
        scale = 100 if _unit(row) == "fraction" else 1
        yield (
            f"An average hides it: {_name(row)} moves {row['worst_stratum']} by "
            f"{signed(sign * scale * row['worst_stratum_loss'], 1)}, "
            f"the whole test set by {signed(sign * scale * row['primary_loss'], 1)}."
        )


def _slower(shown: Sequence[Record]) -> Iterable[str]:
    slower = [r for r in shown if _surely_slower(r)]
    for scheme in dict.fromkeys(map(_scheme, slower)):
        mine = [r for r in slower if _scheme(r) == scheme]
        models = ", ".join(str(r["model"]) for r in mine)
        yield f"{scheme} is slower than {mine[0]['reference_scheme']}: {_span(mine)} times its speed on {models}."


def _batch_dependent(shown: Sequence[Record], rivals: Sequence[Record]) -> Iterable[str]:
    """The same scheme at another batch size: robust here, fragile there."""
    for row in shown:
        for twin in rivals:
            same = all(twin[k] == row[k] for k in ("model", "scheme", "calibration", "executor"))
            if same and twin is not row and {row["verdict"], twin["verdict"]} == {"robust", "fragile"}:
                yield (
                    f"{_name(row)} depends on the batch: {row['verdict']} at {row['batch_size']} (Δ {_delta(row)}), "
                    f"{twin['verdict']} at {twin['batch_size']} (Δ {_delta(twin)})."
                )


def _undecided(shown: Sequence[Record]) -> Iterable[str]:
    undecided = [r for r in shown if r["verdict"] == "inconclusive"]
    same = [r for r in undecided if r["flip_rate"] == 0]
    other = [r for r in undecided if r["flip_rate"] != 0]
    if same:
        yield (
            f"{_names(same)}: no answer differs, but {same[0]['primary_n']:,} samples cannot exclude "
            f"a loss beyond the tolerance{_needed(same)}."
        )
    if other:
        yield f"Undecided at {other[0]['primary_n']:,} samples: {_names(other)}{_needed(other)}."


def _names(rows: Sequence[Record]) -> str:
    return ", ".join(_name(r) for r in rows[:MOST_NAMED]) + (", …" if rows[MOST_NAMED:] else "")


def _needed(rows: Sequence[Record]) -> str:
    needed = sorted(r["required_n"] for r in rows if r["required_n"] is not None)
    if not needed:
        return ""
    span = f"{needed[0]:,}" if needed[0] == needed[-1] else f"{needed[0]:,} to {needed[-1]:,}"
    return f"; about {span} would decide"


def speed_of(row: Record) -> tuple[float | None, float | None, float | None]:
    """Value and interval of a row's speed over the reference's: throughput, or median latency where a rate is given."""
    name = "p50_ratio" if row["scenario_kind"] == "server" else "throughput_ratio"
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _low(row: Record) -> float:
    low = speed_of(row)[1]
    return 0.0 if low is None else low


def _surely_faster(row: Record) -> bool:
    return _low(row) > 1


def _disclosed(row: Record) -> bool:
    """Nothing is missing that a claim would need, such as calibration samples enough for the rubric."""
    return all(item["held"] for item in row["disclosure"] or ())


def _surely_slower(row: Record) -> bool:
    high = speed_of(row)[2]
    return high is not None and high < SLOWER


def _span(rows: Sequence[Record]) -> str:
    speeds = sorted(speed_of(r)[0] or 0.0 for r in rows)
    return f"{speeds[0]:.2f}" if len(speeds) == 1 else f"{speeds[0]:.2f} to {speeds[-1]:.2f}"


def _scheme(row: Record) -> str:
    """The scheme, with the executor where that is not the reference's."""
    return str(row["scheme"]) + ("" if row["executor"] == row["reference_executor"] else f" by {row['executor']}")


def _name(row: Record) -> str:
    return f"{_scheme(row)} on {row['model']}"


def _unit(row: Record) -> str:
    return str(next((s["unit"] for s in row["scores"] if s["role"] == "primary"), "fraction"))


def _delta(row: Record) -> str:
    text = change(row["primary_delta"], row["primary_delta_low"], row["primary_delta_high"], _unit(row))
    return f"{text} points" if _unit(row) == "fraction" else text
