"""The tables of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence

from lynxbench.cli.output import Column, Row, Table
from lynxbench.cli.text import change, duration
from lynxbench.diagnosis.facts import TensorFacts, TimeFacts, WeightFacts
from lynxbench.diagnosis.sensitivity import Sensitivity, Trial

# Of hundreds of rows those that say most; all of them with --json.
MOST_ROWS = 12
SHOWN_SHARE = 5e-5  # what rounds to 0.00 % has no stratum to name


def sensitivity_table(found: Sensitivity | None) -> Table | None:
    """A row a part, op types before nodes, by the larger of its two losses; None without any."""
    if found is None or not found.trials:
        return None
    columns = [
        Column("part"),
        Column("op_type", "op type", expendable=2),
        Column("nodes", right=True, expendable=1),
        Column("alone", "costs when quantized alone", right=True),
        Column("flips", "answers changed", right=True, expendable=3),
        Column("left", "wins back when left in float", right=True),
    ]
    rows: list[Row] = []
    for kind, heading in (("op-type", "op types"), ("node", "nodes")):
        by_part: dict[str, dict[str, Trial]] = {}
        for trial in found.trials:  # the most costly first, and so are the parts
            if trial.part.kind == kind:
                by_part.setdefault(trial.part.name, {})[trial.how] = trial
        shown = [trials for trials in by_part.values() if any(one.loss is not None for one in trials.values())]
        if shown:
            rows.append(Row({}, heading=heading))
            rows += [_part(trials, found.unit) for trials in shown[:MOST_ROWS]]
    return Table(columns, rows) if rows else None


def _part(trials: dict[str, Trial], unit: str) -> Row:
    part = next(iter(trials.values())).part
    alone, left = trials.get("alone"), trials.get("left-in-float")
    flips = None if alone is None else alone.flip_rate
    return Row(
        {},
        {
            "part": part.name,
            "op_type": part.op_type,
            "nodes": str(len(part.nodes)),
            "alone": _loss(alone, unit),
            "flips": "–" if flips is None else f"{100 * flips:.1f} %",
            "left": _loss(left, unit),
        },
    )


def _loss(trial: Trial | None, unit: str) -> str:
    if trial is None:
        return "not tried"
    if trial.loss is None:
        return "–"
    return change(trial.loss, trial.loss_low, trial.loss_high, unit)


def tensor_table(tensors: Sequence[TensorFacts]) -> Table | None:
    compared = [one for one in tensors if one.sqnr_db is not None]
    if not compared:
        return None
    columns = [
        Column("name", "tensor"),
        Column("producer", "by"),
        Column("sqnr_db", "SQNR dB", right=True),
        Column("cosine", right=True, expendable=4),
        Column("met", "met", right=True),
        Column("represented", "expressed", right=True),
        Column("outside", "outside", right=True),
        Column("stratum", "worst stratum", expendable=3),
        Column("outlier", "max/p99.9", right=True, expendable=2),
        Column("kurtosis", right=True, expendable=1),
        Column("distance", "KS", right=True),
    ]
    worst = sorted(compared, key=lambda one: one.sqnr_db or 0.0)[:MOST_ROWS]
    rows = [
        Row(
            {},
            {
                "name": one.name,
                "producer": one.producer,
                "sqnr_db": _number(one.sqnr_db, ".1f"),
                "cosine": _number(one.cosine, ".4f"),
                "met": _span(one.low, one.high),
                "represented": _span(one.represented_low, one.represented_high),
                "outside": "–" if one.outside_share is None else f"{100 * one.outside_share:.2f} %",
                "stratum": "–"
                if one.worst_outside_share is None or one.worst_outside_share < SHOWN_SHARE
                else f"{one.worst_field}={one.worst_stratum} {100 * one.worst_outside_share:.2f} %",
                "outlier": _number(one.outlier_ratio, ".1f"),
                "kurtosis": _number(one.kurtosis, ".0f"),
                "distance": _number(one.distance, ".2f"),
            },
        )
        for one in worst
    ]
    return Table(columns, rows)


def weight_table(weights: Sequence[WeightFacts]) -> Table | None:
    if not weights:
        return None
    columns = [
        Column("name", "weight"),
        Column("node"),
        Column("shape", expendable=1),
        Column("scales", right=True),
        Column("sqnr_db", "SQNR dB", right=True),
        Column("outlier", "max/p99", right=True),
        Column("channels", "widest/median channel", right=True),
        Column("top", "norm² in top 1 %", right=True),
        Column("rank", "effective rank", right=True, expendable=2),
    ]
    worst = sorted(weights, key=lambda one: -(one.outlier_ratio or 0.0))[:MOST_ROWS]
    rows = [
        Row(
            {},
            {
                "name": one.name,
                "node": one.node,
                "shape": "×".join(map(str, one.shape)),
                "scales": "float" if one.scales is None else str(one.scales),
                "sqnr_db": _number(one.sqnr_db, ".1f"),
                "outlier": _number(one.outlier_ratio, ".1f"),
                "channels": _number(one.channel_range_ratio, ".1f"),
                "top": "–" if one.top_share is None else f"{100 * one.top_share:.0f} %",
                "rank": _number(one.effective_rank, ".0f"),
            },
        )
        for one in worst
    ]
    return Table(columns, rows)


def time_table(time: TimeFacts | None, reference: TimeFacts | None) -> Table | None:
    if time is None or reference is None:
        return None
    columns = [
        Column("op", "op type after fusion"),
        Column("kernels", "kernels", right=True),
        Column("time", "time", right=True),
        Column("share", "share", right=True),
        Column("fp32", "fp32 kernels", right=True),
        Column("fp32_time", "fp32 time", right=True),
        Column("reads", "reads"),
    ]
    mine, before = ({op.op_type: op for op in facts.ops} for facts in (time, reference))
    names = sorted({*mine, *before}, key=lambda name: -max(o[name].ns for o in (mine, before) if name in o))
    rows = [
        Row(
            {},
            {
                "op": name,
                "kernels": str(mine[name].kernels) if name in mine else "–",
                "time": duration(mine[name].ns) if name in mine else "–",
                "share": f"{100 * mine[name].ns / time.kernels_ns:.0f} %" if name in mine and time.kernels_ns else "–",
                "fp32": str(before[name].kernels) if name in before else "–",
                "fp32_time": duration(before[name].ns) if name in before else "–",
                "reads": mine[name].reads[0] if name in mine else before[name].reads[0],
            },
        )
        for name in names[:MOST_ROWS]
    ]
    return Table(columns, rows)


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "–"
    # "z": no negative zero.
    return "∞" if value == float("inf") else format(value, f"z{form}").replace("-", "−")


def _span(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3g} … {high:.3g}".replace("-", "−")
