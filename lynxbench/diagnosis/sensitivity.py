"""Which parts of a model its accuracy is lost at, by the rubric's own metric: one part at a time, both ways round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lynxbench.datasets.predictions import Predictions
from lynxbench.diagnosis.facts import TensorFacts
from lynxbench.errors import CellError
from lynxbench.scoring import score
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.scheme_options import OPTIONS

# alone: this part quantized, everything else in float. left-in-float: the other way round.
How = Literal["alone", "left-in-float"]
# The quantizer refuses what would be fp32 under another name.
NOTHING_ALONE = "quantized alone, it rounds nothing that was not rounded before"
# What a build takes to fail or to succeed is known after the first: until then nobody can say whether one fits.
_LEAST_S = 0.05


@dataclass(frozen=True)
class Node:
    """A node that the candidate's scheme quantizes; `inputs` and `outputs` are tensors of the prepared fp32 model."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """What is quantized, or left in float, as a whole: one node, or all nodes of an op type.

    name   the node's, or the op type's
    nodes  their names: what `nodes_kept_float` would list
    """

    kind: Literal["node", "op-type"]
    name: str
    op_type: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """A part and how it is tried."""

    part: Part
    how: How


@dataclass(frozen=True)
class Trial:
    """What one attempt showed.

    value      the primary metric of the model built so, in the metric's unit
    loss, loss_low, loss_high  what the part costs, positive is worse, with a paired interval. Alone: of the model
               against fp32. Left in float: of the whole candidate against the model, so what that would win back
    flip_rate, sqnr_db  of the same two: share of samples decided otherwise, and signal over error of the logits
    seconds    it took
    reason     why there is no loss
    """

    part: Part
    how: How
    seconds: float
    value: float | None = None
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    flip_rate: float | None = None
    sqnr_db: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Sensitivity:
    """Every attempt that the time allowed, those that cost most first.

    n           samples behind each interval; each is its part's own, not corrected for being the largest of many
    candidate_loss  of the whole candidate against fp32, on the same samples
    not_tried   what the time did not allow, in the order in which it would have been tried
    """

    metric: str
    unit: str
    confidence: float
    n: int
    candidate_loss: float | None
    time_limit_s: float
    spent_s: float
    trials: tuple[Trial, ...]
    not_tried: tuple[Attempt, ...]

    def of(self, kind: Literal["node", "op-type"], how: How) -> tuple[Trial, ...]:
        """The trials of one kind, those that cost most first."""
        return tuple(trial for trial in self.trials if trial.part.kind == kind and trial.how == how)


# Predictions of the model in a scheme, within so many seconds; raises `CellError`.
Answer = Callable[[Scheme, float], Predictions]
# What is being tried, how many were, how many there are, and the seconds left.
OnTrial = Callable[[str, int, int, float], None]


def find_sensitivity(
    rubric: Rubric,
    scheme: Scheme,
    nodes: Sequence[Node],
    tensors: Sequence[TensorFacts],
    candidate: Predictions,
    reference: Predictions,
    answer: Answer,
    *,
    time_limit_s: float,
    on_trial: OnTrial = lambda what, done, total, left_s: None,
    clock: Callable[[], float] = time.monotonic,
) -> Sensitivity:
    """Quantize parts alone and leave them in float, one at a time, until all were tried or the time is spent.

    The order of the search is a proxy's (see `ordered`); what a part costs is the rubric's primary metric alone. An
    attempt begins only if the slowest so far would still fit, and is cut off at the limit.
    """
    waiting = ordered(nodes, tensors, by_node="nodes_kept_float" in OPTIONS[scheme.kind])
    everything = tuple(node.name for node in nodes)
    whole = score(rubric, candidate, reference, is_reference=False)
    begun, slowest_s, total = clock(), _LEAST_S, len(waiting)
    trials: list[Trial] = []
    while waiting:
        left_s = begun + time_limit_s - clock()
        if left_s < slowest_s:
            break
        attempt = waiting.pop(0)
        mean_s = (clock() - begun) / len(trials) if trials else 0.0
        expected_s = min(left_s, mean_s * (len(waiting) + 1)) if trials else left_s
        on_trial(f"{attempt.part.name} {attempt.how.replace('-', ' ')}", len(trials), total, expected_s)
        start = clock()
        kept = attempt.part.nodes if attempt.how == "left-in-float" else _others(everything, attempt.part.nodes)
        op_types = {node.op_type for node in nodes if node.name in frozenset(kept)}
        try:
            answered = answer(with_kept_float(scheme, kept, op_types), left_s)
        except CellError as error:
            if error.status == "timeout":
                waiting.insert(0, attempt)
                break
            reason = NOTHING_ALONE if attempt.how == "alone" and error.status == "unsupported" else error.reason
            trials.append(Trial(attempt.part, attempt.how, clock() - start, reason=reason))
            continue
        pair = (answered, reference) if attempt.how == "alone" else (candidate, answered)
        scores = score(rubric, *pair, is_reference=False)
        primary, alike = scores.primary, scores.agreement
        slowest_s = max(slowest_s, clock() - start)
        trials.append(
            Trial(
                part=attempt.part,
                how=attempt.how,
                seconds=clock() - start,
                value=primary.value if attempt.how == "alone" else primary.reference_value,
                loss=primary.loss,
                loss_low=primary.loss_low,
                loss_high=primary.loss_high,
                flip_rate=alike.flip_rate,
                sqnr_db=alike.sqnr_db,
                reason=primary.reason,
            )
        )
    primary = whole.primary
    return Sensitivity(
        metric=primary.name,
        unit=primary.unit,
        confidence=rubric.confidence,
        n=primary.n,
        candidate_loss=primary.loss,
        time_limit_s=time_limit_s,
        spent_s=clock() - begun,
        trials=tuple(sorted(trials, key=_rank)),
        not_tried=tuple(waiting),
    )


def with_kept_float(scheme: Scheme, nodes: Sequence[str], op_types: set[str]) -> Scheme:
    """The scheme with `nodes` left in float; of kinds that know op types alone, `op_types` instead."""
    if "nodes_kept_float" in OPTIONS[scheme.kind]:
        kept = tuple(dict.fromkeys((*(scheme.nodes_kept_float or ()), *nodes)))
        return scheme.model_copy(update={"nodes_kept_float": kept})
    kept = tuple(sorted({*(scheme.op_types_kept_float or ()), *op_types}))
    return scheme.model_copy(update={"op_types_kept_float": kept})


def ordered(nodes: Sequence[Node], tensors: Sequence[TensorFacts], *, by_node: bool = True) -> list[Attempt]:
    """Every attempt worth making, those with the most noise first: op types alone, then left in float; then nodes.

    Noise is what a proxy says: the error's energy over the signal's (SQNR), less that which came in, summed over the
    nodes of a part. It costs nothing, as it was found on the way, and decides nothing but the order.
    """
    ratios = {one.name: 0.0 if one.sqnr_db is None else 10 ** (-one.sqnr_db / 10) for one in tensors}

    def noise(node: Node) -> float:
        before = max((ratios.get(name, 0.0) for name in node.inputs), default=0.0)
        return max(0.0, max((ratios.get(name, 0.0) for name in node.outputs), default=0.0) - before)

    added = {node.name: noise(node) for node in nodes}
    by_type: dict[str, list[str]] = {}
    for node in nodes:
        by_type.setdefault(node.op_type, []).append(node.name)
    parts = [Part("op-type", op_type, op_type, tuple(names)) for op_type, names in by_type.items()]
    # All of it is the candidate, and fp32.
    parts = [part for part in parts if len(part.nodes) < len(nodes)]
    parts.sort(key=lambda part: -sum(added[name] for name in part.nodes))
    hows: tuple[How, How] = ("alone", "left-in-float")
    # Each op type alone is soon tried, and says where to look; what to leave in float comes after.
    found = [Attempt(part, how) for how in hows for part in parts]
    if by_node:
        # The one node of its type has been tried as that type.
        single = [Part("node", one.name, one.op_type, (one.name,)) for one in nodes if len(by_type[one.op_type]) > 1]
        single.sort(key=lambda part: -added[part.name])
        found += [Attempt(part, how) for part in single for how in hows]
    return found


def _others(everything: Sequence[str], mine: Sequence[str]) -> tuple[str, ...]:
    own = frozenset(mine)
    return tuple(name for name in everything if name not in own)


def _rank(trial: Trial) -> tuple[bool, float, float]:
    """The largest loss first; of equal ones, that whose answers are furthest off."""
    return trial.loss is None, -(trial.loss or 0.0), float("inf") if trial.sqnr_db is None else trial.sqnr_db
