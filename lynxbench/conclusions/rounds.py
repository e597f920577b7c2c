"""The ratio of any two candidates' speeds, formed within the rounds in which both were timed, from raw latencies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from lynxbench.measurement import RatioEstimate, ratio_interval
from lynxbench.records.record import MEASURED, Record

if TYPE_CHECKING:
    import pyarrow as pa

By = Literal["p50_ratio", "throughput_ratio"]
# Two rows with the same of all these took their blocks in turn.
_TOGETHER = ("sweep", "host_id", "group_id", "scenario", "started_at", "part")


def why_not_paired(own: Record, base: Record, by: By) -> str | None:
    """Why no ratio of the two can be formed within rounds; None where one can."""
    if own["status"] not in MEASURED or base["status"] not in MEASURED:
        return "one of them was not timed"
    if any(own[name] != base[name] for name in _TOGETHER):
        return "they were not timed in the same rounds"
    if own["processes"] != 1 or base["processes"] != 1:
        return "which round belongs to which process is not kept"
    if own["scenario_kind"] == "server-search":
        return "they were timed at different loads"
    if by == "throughput_ratio" and (own["in_flight"] != 1 or base["in_flight"] != 1):
        return "with several queries in flight latencies do not add up to throughput"
    return None


def ratio_between(own: Record, base: Record, latencies: pa.Table, by: By, confidence: float) -> RatioEstimate | None:
    """How many times faster `own` is than `base`, with an interval at `confidence`; None where they are not paired.

    As `measurement.run_rounds` forms it against the reference: one logarithm a round of `base`'s latency a sample over
    `own`'s (the median for ``p50_ratio``, the mean for ``throughput_ratio``), without the rounds that either side
    excludes unless too few would be left.
    """
    if why_not_paired(own, base, by) is not None:
        return None
    ours, theirs = _rounds(own, latencies, by), _rounds(base, latencies, by)
    shared = [number for number in ours if number in theirs]
    clean = [number for number in shared if not ours[number][1] and not theirs[number][1]]
    kept = clean if len(clean) >= json.loads(own["protocol"])["minimum_rounds"] else shared
    return ratio_interval([theirs[n][0] - ours[n][0] for n in kept], confidence) if kept else None


def used_latencies(record: Record, latencies: pa.Table) -> tuple[npt.NDArray[np.int64], list[int]]:
    """[n] the latencies in ns that a record's summaries rest on, and how many of them each block holds."""
    number, excluded, latency_ns = _columns(record, latencies)
    rounds = number[~excluded]
    starts = np.flatnonzero(np.diff(rounds, prepend=-1))
    return latency_ns[~excluded], np.diff([*starts, len(rounds)]).tolist()


def _rounds(record: Record, latencies: pa.Table, by: By) -> Mapping[int, tuple[float, bool]]:
    """Of each round the logarithm of the latency a sample, and whether its block is left out."""
    number, excluded, latency_ns = _columns(record, latencies)
    typical = np.median if by == "p50_ratio" else np.mean
    return {
        int(n): (
            float(np.log(max(1.0, float(typical(latency_ns[number == n]))) / record["batch_size"])),
            bool(excluded[number == n][0]),
        )
        for n in np.unique(number)
    }


def _columns(
    record: Record, latencies: pa.Table
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    import pyarrow.compute as pc

    mine = latencies.filter(pc.equal(latencies["cell_id"], record["cell_id"]))
    return mine["round"].to_numpy(), mine["excluded"].to_numpy().astype(np.bool_), mine["latency_ns"].to_numpy()
