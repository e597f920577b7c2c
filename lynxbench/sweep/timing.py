"""From timed blocks to a record's timing fields and the raw latencies, and whether they may be printed at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from lynxbench.execution import Caution
from lynxbench.measurement import (
    LATE_SERVICE_RATIO,
    Block,
    EntrantRounds,
    RoundsResult,
    TimingSummary,
    TimingWarning,
    host_warnings,
    lateness_ratio,
    select_blocks,
    summarise,
)
from lynxbench.sweep.plan import Cell

if TYPE_CHECKING:
    import pyarrow as pa

    from lynxbench.sweep.group import Seat
    from lynxbench.sweep.rows import Context


def timing_fields(
    context: Context, cell: Cell, seat: Seat, entrant: EntrantRounds, result: RoundsResult
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Timing fields and the warnings that go with them."""
    prepared, batch_size = seat.prepared[cell.scenario.name], seat.batch_size(cell.scenario)
    summary = summarise(
        entrant.blocks,
        context.resolved.suite.protocol.confidence,
        minimum_blocks=_minimum(entrant),
        samples_per_query=batch_size,
        harness_overhead_ns=prepared["harness_overhead_ns"],
        cpus=context.host.logical_cores,
    )
    # Ratios count only against the declared reference; where that failed, another cell held its place in the rounds.
    against_reference = any(c.is_reference and c.cell_id == result.reference for c in context.group.cells)
    # The server's rate is given, so a ratio of rates would say nothing; where it was searched latencies are those of
    # different loads.
    ratio = entrant.throughput_ratio if against_reference and not cell.scenario.is_open_loop else None
    p50_ratio = entrant.p50_ratio if against_reference and cell.scenario.kind != "server-search" else None
    fields = {
        "batch_size": batch_size,
        "in_flight": None if cell.scenario.is_open_loop else seat.in_flight(cell.scenario),
        **_search(cell, seat),
        "rounds": len(entrant.blocks),
        "processes": len(set(entrant.sittings)),
        "stopped_by": result.stopped_by,
        "blocks_used": summary.blocks_used,
        "blocks_excluded": summary.blocks_excluded,
        "warm_up_runs": prepared["warm_up_runs"],
        "warm_up_ns": prepared["warm_up_ns"],
        "latency_n": summary.n_runs,
        "latency_mean_ns": summary.mean_ns,
        "latency_min_ns": float(summary.min_ns),
        "latency_max_ns": float(summary.max_ns),
        **_lateness(entrant),
        **_percentiles(summary),
        "throughput_per_s": summary.throughput.value_per_s,
        "throughput_per_s_low": summary.throughput.low_per_s,
        "throughput_per_s_high": summary.throughput.high_per_s,
        "throughput_ratio": None if ratio is None else ratio.value,
        "throughput_ratio_low": None if ratio is None else ratio.low,
        "throughput_ratio_high": None if ratio is None else ratio.high,
        "p50_ratio": None if p50_ratio is None else p50_ratio.value,
        "p50_ratio_low": None if p50_ratio is None else p50_ratio.low,
        "p50_ratio_high": None if p50_ratio is None else p50_ratio.high,
        "harness_overhead_ns": prepared["harness_overhead_ns"],
        "cpu_over_wall_ratio": summary.cpu_over_wall_ratio,
        "scheduler_delay_ratio": summary.scheduler_delay_ratio,
    }
    found: list[TimingWarning] = [*summary.warnings, *(entrant.warnings if against_reference else ())]
    limit_ms, p99_ns = cell.scenario.latency_limit_ms, summary.percentiles["p99"].value_ns
    if limit_ms is not None and p99_ns is not None and p99_ns > 1e6 * limit_ms:
        found.append(TimingWarning.RATE_NOT_HELD)
    found += host_warnings(
        load_1min=context.host.load_1min,
        usable_cores=context.host.usable_cores,
        throttled=seat.sensed[cell.scenario.name]["throttled_n"],
    )
    if prepared["warm_up_cut_short"]:
        found.append(TimingWarning.WARM_UP_CUT_SHORT)
    warnings = {warning.value: warning.advice for warning in found}
    warnings.update({code: Caution(code).advice for code in seat.opened["cautions"]})
    return fields, [{"code": code, "advice": advice} for code, advice in warnings.items()]


def _search(cell: Cell, seat: Seat) -> dict[str, Any]:
    """What was found by trying, and how the search ended."""
    found = seat.searched.get(cell.scenario.name)
    if found is None:
        return {}
    rates = {"rate_per_s": found["rate_per_s"], "rate_high_per_s": found["high_per_s"]} if "rate_per_s" in found else {}
    return {"searched": json.dumps(found, sort_keys=True), **rates}


def _lateness(entrant: EntrantRounds) -> dict[str, float]:
    late = [block.lateness_ns for block in _used(entrant) if block.lateness_ns is not None]
    if not late:
        return {}
    return {f"lateness_p{q}_ns": float(np.percentile(np.concatenate(late), q)) for q in (50, 99)}


def _percentiles(summary: TimingSummary) -> dict[str, float | None]:
    fields: dict[str, float | None] = {}
    for name, estimate in summary.percentiles.items():
        supported = estimate.value_ns is not None
        fields[f"{name}_ns"] = estimate.value_ns
        fields[f"{name}_low_ns"] = estimate.low_ns if supported else None
        fields[f"{name}_high_ns"] = estimate.high_ns if supported else None
        fields[f"{name}_early_stopping_ns"] = estimate.early_stopping_ns
    return fields


def invalid_load(cell: Cell, seat: Seat, entrant: EntrantRounds) -> str | None:
    """Why the server scenario's latencies say nothing of the candidate; None where they do."""
    rate_per_s = seat.rate_per_s(cell.scenario)
    if rate_per_s is None:
        return None
    blocks, rate = _used(entrant), f"{rate_per_s:.4g} queries/s"
    unserved, arrived = sum(block.unserved for block in blocks), sum(len(b) + b.unserved for b in blocks)
    if unserved:
        return f"at {rate} {unserved:,} of {arrived:,} queries were never served: lower rate_per_s"
    late = lateness_ratio(blocks)
    if late is not None and late > LATE_SERVICE_RATIO:
        return (
            f"at {rate} queries were issued late: at p99 by {late:.0%} of the service time, where "
            f"{LATE_SERVICE_RATIO:.0%} is allowed; stop other work on this machine, or leave the dispatcher a core "
            "(fewer threads)"
        )
    return None


def latency_table(cell: Cell, result: RoundsResult) -> pa.Table:
    """Raw latencies of a cell: one row a query, with its round and process, and whether its block was left out."""
    import pyarrow as pa

    entrant = result.entrants[cell.cell_id]
    used = set(select_blocks(entrant.blocks, _minimum(entrant)).used)
    sizes = [len(block) for block in entrant.blocks]
    return pa.table(
        {
            "cell_id": pa.array([cell.cell_id] * sum(sizes), pa.string()),
            "round": pa.array(np.repeat(np.asarray(entrant.round_numbers, dtype=np.int32), sizes)),
            "process": pa.array(np.repeat(np.asarray(entrant.sittings, dtype=np.int32), sizes)),
            "excluded": pa.array(np.repeat([index not in used for index in range(len(sizes))], sizes)),
            "latency_ns": pa.array(np.concatenate([block.latencies_ns for block in entrant.blocks])),
            "scheduled_ns": _times(entrant, "scheduled_ns"),
            "issued_ns": _times(entrant, "issued_ns"),
        }
    )


def _times(entrant: EntrantRounds, name: str) -> pa.Array:
    """Times from the start of each block; null where nothing was scheduled."""
    import pyarrow as pa

    columns = [getattr(block, name) for block in entrant.blocks]
    if any(column is None for column in columns):
        return pa.nulls(sum(map(len, entrant.blocks)), pa.int64())
    return pa.array(np.concatenate(columns))


def _used(entrant: EntrantRounds) -> list[Block]:
    return [entrant.blocks[position] for position in select_blocks(entrant.blocks, _minimum(entrant)).used]


def _minimum(entrant: EntrantRounds) -> int:
    """Fewest blocks that a summary may rest on: half of what there is, so that one bad spell does not decide."""
    return max(1, len(entrant.blocks) // 2)
