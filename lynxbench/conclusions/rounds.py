"""The ratio of any two candidates' speeds, formed within the rounds in which both were timed, from raw latencies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from lynxbench.measurement import RatioEstimate, ratio_interval, sittings_interval
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
    if own["scenario_kind"] == "server-search":
        return "they were timed at different loads"
    if by == "throughput_ratio" and (own["in_flight"] != 1 or base["in_flight"] != 1):
        return "with several queries in flight latencies do not add up to throughput"
    return None


def ratio_between(own: Record, base: Record, latencies: pa.Table, by: By, confidence: float) -> RatioEstimate | None:
    """How many times faster `own` is than `base`, with an interval at `confidence`; None where they are not paired.

    As `measurement.run_rounds` forms it against the reference: one logarithm a round of `base`'s latency a sample over
    `own`'s (the median for ``p50_ratio``, the mean for ``throughput_ratio``), without the rounds that either side
    excludes unless too few would be left. Where rounds were spread over several processes, from the spread between
    these; None where a file does not say which process a round belongs to, as older ones do not.
    """
    if why_not_paired(own, base, by) is not None:
        return None
    ours, theirs = _rounds(own, latencies, by), _rounds(base, latencies, by)
    shared = [number for number in ours if number in theirs]
    clean = [number for number in shared if not ours[number].excluded and not theirs[number].excluded]
    kept = clean if len(clean) >= json.loads(own["protocol"])["minimum_rounds"] else shared
    if not kept:
        return None
    logs = [theirs[n].log_latency - ours[n].log_latency for n in kept]
    if own["processes"] == 1 and base["processes"] == 1:
        return ratio_interval(logs, confidence)
    processes = [(ours[n].process, theirs[n].process) for n in kept]
    # Fresh processes come to all at once: the rounds of one are the same rounds for both.
    if any(mine is None or mine != its for mine, its in processes):
        return None
    return sittings_interval(logs, [mine for mine, _ in processes if mine is not None], confidence)


def used_latencies(record: Record, latencies: pa.Table) -> tuple[npt.NDArray[np.int64], list[int]]:
    """[n] the latencies in ns that a record's summaries rest on, and how many of them each block holds."""
    number, excluded, latency_ns = _columns(_mine(record, latencies))
    rounds = number[~excluded]
    starts = np.flatnonzero(np.diff(rounds, prepend=-1))
    return latency_ns[~excluded], np.diff([*starts, len(rounds)]).tolist()


@dataclass(frozen=True)
class _Round:
    """One candidate's block of a round: the logarithm of its latency a sample, whether it is left out, its process."""

    log_latency: float
    excluded: bool
    process: int | None


def _rounds(record: Record, latencies: pa.Table, by: By) -> Mapping[int, _Round]:
    mine = _mine(record, latencies)
    number, excluded, latency_ns = _columns(mine)
    process = mine["process"].to_pylist()
    typical = np.median if by == "p50_ratio" else np.mean
    first = {int(n): int(place) for n, place in zip(*np.unique(number, return_index=True), strict=True)}
    return {
        n: _Round(
            float(np.log(max(1.0, float(typical(latency_ns[number == n]))) / record["batch_size"])),
            bool(excluded[place]),
            process[place],
        )
        for n, place in first.items()
    }


def _mine(record: Record, latencies: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    return latencies.filter(pc.equal(latencies["cell_id"], record["cell_id"]))


def _columns(mine: pa.Table) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    return mine["round"].to_numpy(), mine["excluded"].to_numpy().astype(np.bool_), mine["latency_ns"].to_numpy()
