"""Clock, warm-up, timed blocks, interleaved rounds and timing statistics.

Callables and a clock come in, frozen results go out. This room knows nothing of models, data, scores or processes,
prints nothing and stores nothing. It imports `lynxbench.errors` and below only; SciPy is imported when first needed.

    blocks        in the worker: one closed-loop block of runs, the warm-up, the harness's own overhead
    open_loop     in the worker: one block of the server scenario, whose queries arrive when they do
    searches      in the worker: the highest rate, the batch size and the queries in flight that serve best
    counters      in the worker: what the operating system says about CPU time and time spent waiting for a CPU
    rounds        in the parent: rounds in which every entrant gets one block, until the ratios are tight
    ratios        the ratio to the reference, formed within a round, and its interval
    percentiles   percentiles with order-statistic and block-based intervals, MLPerf's early-stopping estimate
    summary       everything that one candidate's blocks say about its timing
    advice        what may be wrong with a measurement, as values with a sentence of advice each
"""

from __future__ import annotations

from lynxbench.measurement.advice import BUSY, TimingWarning, host_warnings
from lynxbench.measurement.blocks import (
    Block,
    WarmUp,
    harness_overhead_ns,
    is_warm,
    time_block,
    time_in_flight,
    warm_up,
)
from lynxbench.measurement.counters import Counters, read_counters
from lynxbench.measurement.open_loop import LATE_SERVICE_RATIO, lateness_ratio, poisson_arrivals_ns, serve_block
from lynxbench.measurement.percentiles import (
    Percentile,
    early_stopping_samples,
    least_samples,
    percentile_estimate,
)
from lynxbench.measurement.ratios import RatioEstimate, ratio_interval, sittings_interval
from lynxbench.measurement.rounds import (
    Entrant,
    EntrantRounds,
    RoundProgress,
    RoundsResult,
    StoppedBy,
    run_rounds,
)
from lynxbench.measurement.searches import LoadSearch, Probe, RateSearch, search_load, search_rate
from lynxbench.measurement.summary import Drift, Selection, Throughput, TimingSummary, select_blocks, summarise

__all__ = [
    "BUSY",
    "LATE_SERVICE_RATIO",
    "Block",
    "Counters",
    "Drift",
    "Entrant",
    "EntrantRounds",
    "LoadSearch",
    "Percentile",
    "Probe",
    "RateSearch",
    "RatioEstimate",
    "RoundProgress",
    "RoundsResult",
    "Selection",
    "StoppedBy",
    "Throughput",
    "TimingSummary",
    "TimingWarning",
    "WarmUp",
    "early_stopping_samples",
    "harness_overhead_ns",
    "host_warnings",
    "is_warm",
    "lateness_ratio",
    "least_samples",
    "percentile_estimate",
    "poisson_arrivals_ns",
    "ratio_interval",
    "read_counters",
    "run_rounds",
    "search_load",
    "search_rate",
    "select_blocks",
    "serve_block",
    "sittings_interval",
    "summarise",
    "time_block",
    "time_in_flight",
    "warm_up",
]
