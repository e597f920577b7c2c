"""What may be wrong with a measurement, as values: a code for the record, a sentence of advice for the reader."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BUSY", "TimingWarning", "host_warnings"]


class TimingWarning(StrEnum):
    """A reason to read a timing with care. The value is the code that records keep; `advice` says what to do."""

    FEW_SAMPLES = "few_samples"
    FEW_BLOCKS = "few_blocks"
    STARVED_BLOCKS = "starved_blocks"
    EXCLUDED_BLOCKS = "excluded_blocks"
    STARVED_BLOCKS_KEPT = "starved_blocks_kept"
    SCHEDULER_DELAY_UNREADABLE = "scheduler_delay_unreadable"
    STOLEN_TIME = "stolen_time"
    THROTTLED = "throttled"
    LOADED_HOST = "loaded_host"
    DRIFT = "drift"
    AUTOCORRELATED = "autocorrelated"
    UNSTEADY_BLOCKS = "unsteady_blocks"
    HARNESS_OVERHEAD = "harness_overhead"
    WARM_UP_CUT_SHORT = "warm_up_cut_short"
    TIME_LIMIT_BEFORE_PRECISION = "time_limit_before_precision"
    RATE_NOT_HELD = "rate_not_held"
    FEW_ROUNDS = "few_rounds"
    REFERENCE_FAILED = "reference_failed"

    @property
    def advice(self) -> str:
        """One sentence: what it means for the numbers, and what to do about it."""
        return _ADVICE[self]


_ADVICE: dict[TimingWarning, str] = {
    TimingWarning.FEW_SAMPLES: (
        "Too few runs for one or more percentiles, which are left empty: raise the time limit."
    ),
    TimingWarning.FEW_BLOCKS: (
        "Too few blocks to judge how they vary, so the intervals assume independent runs and may be too narrow:"
        " raise the time limit or shorten the blocks."
    ),
    TimingWarning.STARVED_BLOCKS: (
        "Some blocks waited for a CPU for more than 2 % of their time: stop other work on this machine."
    ),
    TimingWarning.EXCLUDED_BLOCKS: (
        "Blocks that waited for a CPU for more than 5 % of their time were left out of the summary:"
        " stop other work on this machine."
    ),
    TimingWarning.STARVED_BLOCKS_KEPT: (
        "So many blocks were starved of CPU time that leaving them out would leave too few, so they were kept and"
        " latencies are too high: measure again on a quiet machine."
    ),
    TimingWarning.SCHEDULER_DELAY_UNREADABLE: (
        "The kernel does not tell how long the process waited for a CPU, so starved blocks could not be left out:"
        " watch the machine's load yourself."
    ),
    TimingWarning.STOLEN_TIME: (
        "The hypervisor gave more than 2 % of this machine's CPU time to others: use a dedicated host."
    ),
    TimingWarning.THROTTLED: (
        "The processor throttled itself while this was timed: check cooling and power limits, and measure again."
    ),
    TimingWarning.LOADED_HOST: (
        "More than a quarter of the machine's usable cores had other work when the sweep began: stop it, and trust the"
        " ratios more than the times."
    ),
    TimingWarning.DRIFT: (
        "Latency rose or fell steadily over the blocks: check cooling and background load; trust the ratios, which"
        " are formed within rounds, more than the times."
    ),
    TimingWarning.AUTOCORRELATED: (
        "Neighbouring runs resemble each other, so the intervals come from the spread of whole blocks:"
        " more runs in the same time would not tighten them, more rounds would."
    ),
    TimingWarning.UNSTEADY_BLOCKS: (
        "The median latency varied by more than 10 % from block to block: trust the ratios, not the times,"
        " or measure again on a quiet machine."
    ),
    TimingWarning.HARNESS_OVERHEAD: (
        "The harness's own time is more than 5 % of the median latency: times and ratios of so fast a model lean"
        " towards each other; compare at a larger batch."
    ),
    TimingWarning.WARM_UP_CUT_SHORT: (
        "The model is so slow that its warm-up ended before the declared number of runs: raise the warm-up seconds."
    ),
    TimingWarning.TIME_LIMIT_BEFORE_PRECISION: (
        "The time limit came before the ratio's interval was as tight as declared: raise the time limit."
    ),
    TimingWarning.RATE_NOT_HELD: (
        "At the rate that the search found, p99 in the rounds afterwards was above the limit, so the machine was slower"
        " then: measure again on a quiet machine, or leave some room below the rate."
    ),
    TimingWarning.FEW_ROUNDS: (
        "Fewer rounds than declared could be used for the ratio: raise the time limit or use a faster batch size."
    ),
    TimingWarning.REFERENCE_FAILED: ("The reference failed, so there are no ratios: mend the reference first."),
}

# What says that other work ran on the machine while this was timed.
BUSY = frozenset(
    {
        TimingWarning.LOADED_HOST,
        TimingWarning.STARVED_BLOCKS,
        TimingWarning.EXCLUDED_BLOCKS,
        TimingWarning.STARVED_BLOCKS_KEPT,
        TimingWarning.STOLEN_TIME,
    }
)

# Above this share of the usable cores other work meets the timed threads often enough to show in p99.
LOADED_RATIO = 0.25


def host_warnings(*, load_1min: float | None, usable_cores: float, throttled: int | None) -> tuple[TimingWarning, ...]:
    """What the host's readings say: load before the sweep began, and throttling while it was timed (None: unread)."""
    found = []
    if load_1min is not None and load_1min > LOADED_RATIO * usable_cores:
        found.append(TimingWarning.LOADED_HOST)
    if throttled:
        found.append(TimingWarning.THROTTLED)
    return tuple(found)
