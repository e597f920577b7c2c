"""What a workload's rows say, in sentences, as one would tell a colleague: only what the intervals support."""

from __future__ import annotations

from collections.abc import Sequence

from lynxbench.cli.text import change, fraction, signed
from lynxbench.records.record import MEASURED, Record


def findings(records: Sequence[Record]) -> list[str]:
    """A few sentences about one workload, the most useful first."""
    measured = [r for r in records if r["status"] in MEASURED]
    rivals = [r for r in measured if not r["is_reference"]]
    if not rivals:
        return ["Nothing besides the reference was measured." if measured else "Nothing could be measured; the reasons stand below."]
    lines = [_recommendation(rivals), *_fragile(rivals), *_hidden(rivals), *_slower(rivals), *_by_batch(rivals)]
    undecided = _undecided(rivals)
    return [line for line in [*lines, undecided] if line]


def _recommendation(rivals: Sequence[Record]) -> str:
    base = _base(rivals)
    sure = [r for r in base if r["verdict"] == "robust" and (r["throughput_ratio_low"] or 0) > 1]
    if sure:
        models = list(dict.fromkeys(str(r["model"]) for r in base))
        schemes = dict.fromkeys(str(r["scheme"]) for r in sure)
        everywhere = [s for s in schemes if {str(r["model"]) for r in sure if r["scheme"] == s} == set(models)]
        if len(models) > 1 and everywhere:
            best = max(everywhere, key=lambda s: min(r["throughput_ratio_low"] for r in sure if r["scheme"] == s))
            speeds = [r["throughput_ratio"] for r in sure if r["scheme"] == best]
            return (
                f"{best} is robust on all {len(models)} models and {min(speeds):.2f} to {max(speeds):.2f} times as fast as "
                f"{base[0]['reference_scheme']} ({base[0]['scenario']})."
            )
        best_row = max(sure, key=lambda r: r["throughput_ratio_low"])
        on = f" on {best_row['model']}" if len(models) > 1 else ""
        return (
            f"{best_row['scheme']}{on} is robust and {best_row['throughput_ratio']:.2f} times as fast as {best_row['reference_scheme']}: "
            f"{best_row['primary_metric']} {fraction(best_row['primary_value'], _unit(best_row))}, Δ {_delta(best_row)}."
        )
    faster = [r for r in base if (r["throughput_ratio_low"] or 0) > 1]
    if not faster:
        return f"No scheme is faster than {base[0]['reference_scheme']} here beyond doubt."
    return "No scheme is both faster and robust beyond doubt."


def _fragile(rivals: Sequence[Record]) -> list[str]:
    fragile = sorted((r for r in _base(rivals) if r["verdict"] == "fragile"), key=lambda r: -r["primary_loss"])
    lines = []
    for record in fragile[:2]:
        reference = _reference_value(record)
        lines.append(
            f"{record['scheme']} breaks {record['model']}: {record['primary_metric']} goes from {fraction(reference, _unit(record))} "
            f"to {fraction(record['primary_value'], _unit(record))}, Δ {_delta(record)}."
        )
    if len(fragile) > 2:
        lines.append(f"{len(fragile) - 2} more candidates are fragile (see the verdict column).")
    return lines


def _hidden(rivals: Sequence[Record]) -> list[str]:
    """The stratum that loses most beyond the average of its own candidate, where the intervals part."""
    found = [
        r
        for r in _base(rivals)
        if r["worst_stratum_loss_low"] is not None
        and r["primary_loss_high"] is not None
        and r["worst_stratum_loss_low"] > r["primary_loss_high"]
    ]
    if not found:
        return []
    worst = max(found, key=lambda r: r["worst_stratum_loss"] - r["primary_loss"])
    sign = -1 if worst["primary_direction"] == "higher-is-better" else 1
    scale = 100 if _unit(worst) == "fraction" else 1
    return [
        f"An average hides it: {worst['scheme']} on {worst['model']} moves {worst['worst_stratum']} by "
        f"{signed(sign * scale * worst['worst_stratum_loss'], 1)}, the whole test set by {signed(sign * scale * worst['primary_loss'], 1)}."
    ]


def _slower(rivals: Sequence[Record]) -> list[str]:
    slower = [r for r in _base(rivals) if r["throughput_ratio_high"] is not None and r["throughput_ratio_high"] < 0.9]
    lines = []
    for scheme in dict.fromkeys(str(r["scheme"]) for r in slower):
        mine = [r for r in slower if r["scheme"] == scheme]
        speeds = sorted(r["throughput_ratio"] for r in mine)
        span = f"{speeds[0]:.2f}" if len(speeds) == 1 else f"{speeds[0]:.2f} to {speeds[-1]:.2f}"
        lines.append(f"{scheme} is slower than {mine[0]['reference_scheme']}: {span} times its speed on {', '.join(str(r['model']) for r in mine)}.")
    return lines


def _by_batch(rivals: Sequence[Record]) -> list[str]:
    """The same scheme with another verdict at another batch size."""
    lines = []
    base = _base(rivals)
    for record in base:
        for twin in rivals:
            same = all(twin[k] == record[k] for k in ("model", "scheme", "calibration", "executor"))
            if same and twin["batch_size"] != record["batch_size"] and twin["verdict"] != record["verdict"]:
                lines.append(
                    f"{record['scheme']} on {record['model']} depends on the batch: {record['verdict']} at {record['batch_size']} "
                    f"(Δ {_delta(record)}), {twin['verdict']} at {twin['batch_size']} (Δ {_delta(twin)})."
                )
    return lines


def _undecided(rivals: Sequence[Record]) -> str | None:
    open_ = [r for r in _base(rivals) if r["verdict"] == "inconclusive"]
    if not open_:
        return None
    needed = [r["required_n"] for r in open_ if r["required_n"] is not None]
    names = ", ".join(f"{r['scheme']} on {r['model']}" for r in open_[:3]) + (", …" if len(open_) > 3 else "")
    more = f"; about {max(needed):,} samples would decide them all" if needed else ""
    return f"Undecided at {open_[0]['primary_n']:,} samples: {names}{more}."


def _base(rivals: Sequence[Record]) -> list[Record]:
    """The rows of the scenario that the table shows: single-stream where there is one."""
    scenario = next((r["scenario"] for r in rivals if r["scenario_kind"] == "single-stream"), rivals[0]["scenario"])
    return [r for r in rivals if r["scenario"] == scenario]


def _unit(record: Record) -> str:
    return str(next((s["unit"] for s in record["scores"] if s["role"] == "primary"), "fraction"))


def _delta(record: Record) -> str:
    text = change(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], _unit(record))
    return f"{text} points" if _unit(record) == "fraction" else text


def _reference_value(record: Record) -> float | None:
    return next((s["reference_value"] for s in record["scores"] if s["role"] == "primary"), None)
