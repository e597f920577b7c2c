"""A change with its interval, held against a gate: what two measurements of one candidate differ by, and how sure.

Positive is worse. Losses are in the metric's unit; slowdowns are natural logarithms of a ratio of speeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lynxbench.scoring.intervals import holm

Outcome = Literal["worse", "better", "same", "undecided"]


@dataclass(frozen=True)
class Measured:
    """An estimate with its interval at `confidence`.

    freedom  degrees of freedom behind the interval's width: rounds less one; infinite for scores
    """

    value: float
    low: float
    high: float
    confidence: float
    freedom: float = math.inf


@dataclass(frozen=True)
class Effect:
    """How much worse the later one is, beside what counts as no change (up to `gate` either way).

    p_worse, p_better  one-sided: of a change within the gate, for one beyond it on the bad, on the good side
    p_worse_holm, p_better_holm  corrected for all the effects that were looked at together (see `corrected`)
    """

    value: float
    low: float
    high: float
    gate: float
    confidence: float
    freedom: float = math.inf
    p_worse_holm: float | None = None
    p_better_holm: float | None = None

    @property
    def p_worse(self) -> float:
        return self._tail(self.value - self.gate, self.value - self.low)

    @property
    def p_better(self) -> float:
        return self._tail(-self.gate - self.value, self.high - self.value)

    @property
    def alone(self) -> Outcome:
        """What this effect says by itself."""
        if self.low > self.gate:
            return "worse"
        if self.high < -self.gate:
            return "better"
        return "same" if -self.gate <= self.low and self.high <= self.gate else "undecided"

    @property
    def outcome(self) -> Outcome:
        """The same where several were looked at: a change must survive the correction."""
        level = (1 - self.confidence) / 2
        corrected_p = {"worse": self.p_worse_holm, "better": self.p_better_holm}.get(self.alone)
        return "undecided" if corrected_p is not None and corrected_p > level else self.alone

    @property
    def no_worse(self) -> bool:
        """The whole interval lies within the gate or on the good side."""
        return self.high <= self.gate

    def _tail(self, beyond: float, half: float) -> float:
        """P-value of an estimate that lies `beyond` the gate, where its interval reaches `half` towards it.

        The interval is inverted: p is at (1 − confidence) ∕ 2 where its end touches the gate, and falls off as
        Student's distribution does.
        """
        if half <= 0:
            return 0.0 if beyond > 0 else 1.0
        from scipy.special import stdtr, stdtrit

        freedom = min(self.freedom, 1e9)
        return float(stdtr(freedom, -beyond / half * float(stdtrit(freedom, 0.5 + self.confidence / 2))))


def difference(before: Measured, after: Measured, gate: float) -> Effect:
    """`before` less `after`, of two independent measurements where more is better.

    Intervals are joined side by side as Zou and Donner (2008, MOVER) do, which keeps lopsided ones lopsided; degrees of
    freedom are Welch and Satterthwaite's. Two measurements that share their reference's noise differ by less.
    """
    value = before.value - after.value
    low = value - math.hypot(before.value - before.low, after.high - after.value)
    high = value + math.hypot(before.high - before.value, after.value - after.low)
    return Effect(value, low, high, gate, min(before.confidence, after.confidence), _freedom(before, after))


def _freedom(*measured: Measured) -> float:
    from scipy.special import stdtrit

    parts = []
    for one in measured:
        freedom = min(one.freedom, 1e9)
        half = (one.high - one.low) / 2 / float(stdtrit(freedom, 0.5 + one.confidence / 2))
        parts.append((half**2, freedom))
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / below if below > 0 else math.inf


def logarithm(ratio: float, low: float, high: float, confidence: float, freedom: float) -> Measured:
    """A ratio and its interval on the log scale, where ratios of ratios are differences."""
    return Measured(math.log(ratio), math.log(low), math.log(high), confidence, freedom)


def corrected(effects: Sequence[Effect]) -> list[Effect]:
    """The effects with p-values corrected for all of them by Holm's method, for worse and for better apart.

    So the chance that any change is called worse though none is beyond its gate is at most (1 − confidence) ∕ 2,
    however many rows are compared.
    """
    worse = holm([effect.p_worse for effect in effects])
    better = holm([effect.p_better for effect in effects])
    return [
        replace(effect, p_worse_holm=w, p_better_holm=b) for effect, w, b in zip(effects, worse, better, strict=True)
    ]
