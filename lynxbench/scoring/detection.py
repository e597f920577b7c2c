"""Mean average precision of detected boxes, as COCO defines it (area "all", at most 100 detections of a class).

Which detection hits which object is settled within a sample, so it is done once; every resample then only weighs
samples. Lin et al. 2014 and the reference implementation's rules: by falling score each detection takes the free
object that it overlaps most; crowds may be hit many times and count neither way; precision at 101 levels of recall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.classification import mean_defined
from lynxbench.scoring.statistic import Floats, Ints, Statistic, UndefinedError
from lynxbench.scoring.unusable import unusable

MOST_DETECTIONS = 100
RECALLS = np.linspace(0.0, 1.0, 101)
OVERLAPS = {"0.50:0.95": np.linspace(0.5, 0.95, 10), "0.50": np.array([0.5]), "0.75": np.array([0.75])}
CELLS_AT_ONCE = 2_000_000
Ingredients = tuple[npt.NDArray[np.generic], ...]
Boxes = npt.NDArray[np.float32]
MISS, HIT, NEITHER = 0, 1, 2


def hits(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """Of each sample's detections score [n, d], class [n, d] (−1: none) and outcome [n, d, thresholds]; objects [n, k].

    Outcome is miss, hit or neither (a crowd's). A failed sample has detected nothing.
    """
    found, objects = predictions.detections, predictions.objects
    if found is None or objects is None:
        raise UndefinedError("no boxes were kept" if found is None else "the test set has no boxes")
    there = ~np.isnan(objects[:, :, 0])
    if not there.any():
        raise UndefinedError("there are no objects")
    overlaps = OVERLAPS[options["overlap"]]
    counts = np.zeros((len(objects), int(objects[there][:, 4].max()) + 1), dtype=np.int64)
    scores = np.where(np.isnan(found[:, :, 5]), -np.inf, found[:, :, 5])
    classes = np.full(found.shape[:2], -1, dtype=np.int64)
    outcomes = np.zeros((*found.shape[:2], len(overlaps)), dtype=np.int8)
    failed = unusable(predictions)
    for row in range(len(objects)):
        own = objects[row][there[row]]
        np.add.at(counts[row], own[own[:, 5] == 0, 4].astype(np.int64), 1)
        usable = np.flatnonzero(~np.isnan(found[row, :, 0])) if not failed[row] else np.empty(0, dtype=np.int64)
        for klass in np.unique(found[row, usable, 4]).astype(np.int64).tolist():
            mine = usable[found[row, usable, 4] == klass]
            order = mine[np.argsort(-found[row, mine, 5], kind="stable")][:MOST_DETECTIONS]
            classes[row, order] = klass
            outcomes[row, order] = _matched(found[row, order, :4], own[own[:, 4] == klass], overlaps)
    return scores, classes, outcomes, counts


def average_precision(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Mean over the classes with objects, and over thresholds, of the area below precision by recall."""
    scores, classes, outcomes, counts = ingredients
    objects = counts.astype(np.float64)
    present = np.flatnonzero(objects.sum(axis=0))
    if not len(present):
        raise UndefinedError("there are no objects")
    curves = [_Curve.of(int(klass), scores, classes, outcomes, objects[:, klass]) for klass in present]
    n = len(objects)

    def finish(weights: Floats) -> Floats:
        rows = weights[..., :n].reshape(-1, n)
        return np.asarray(mean_defined(np.stack([curve.areas(rows) for curve in curves], axis=-1))).reshape(
            weights.shape[:-1]
        )

    # The sums are how often each sample was drawn: precision is no function of fewer sums. One more, which the value
    # does not use, stands for what a sample's detections did, so that samples where two candidates differ are seen.
    entries = ((np.arange(n), np.ones(n)), (np.full(n, n), _done(scores, classes, outcomes)))
    weakest = int((objects > 0).sum(axis=0)[present].min())
    return Statistic(n + 1, entries, finish, (0.0, 1.0), weakest)


def _done(
    scores: npt.NDArray[np.generic], classes: npt.NDArray[np.generic], outcomes: npt.NDArray[np.generic]
) -> Floats:
    """[n] a number that is another where detections of the sample differ in score, class or outcome."""
    known = classes.astype(np.int64) >= 0
    marks = (1.0 + outcomes.astype(np.float64)) @ np.sqrt(np.arange(2.0, 2.0 + outcomes.shape[2]))
    detected = np.where(known, scores, 0).astype(np.float64) + np.sqrt(3.0 + np.where(known, classes, 0))
    return np.asarray(np.where(known, detected * marks, 0.0).sum(axis=1))


@dataclass(frozen=True)
class _Curve:
    """All detections of one class by falling score: sample [d], hit and miss [thresholds, d]; its objects [n]."""

    sample: Ints
    hit: Floats
    miss: Floats
    objects: Floats

    @staticmethod
    def of(
        klass: int,
        scores: npt.NDArray[np.generic],
        classes: npt.NDArray[np.generic],
        outcomes: npt.NDArray[np.generic],
        objects: Floats,
    ) -> _Curve:
        sample, slot = np.nonzero(classes == klass)
        order = np.lexsort((-scores[sample, slot].astype(np.float64), sample))
        sample, slot = sample[order], slot[order]
        order = np.argsort(-scores[sample, slot].astype(np.float64), kind="stable")
        sample, slot = sample[order].astype(np.int64), slot[order]
        outcome = outcomes[sample, slot].T
        return _Curve(sample, (outcome == HIT).astype(np.float64), (outcome == MISS).astype(np.float64), objects)

    def areas(self, weights: Floats) -> Floats:
        """Average precision, [m], where sample i counts weights[m, i] times; NaN without objects."""
        wanted = weights @ self.objects
        areas = np.zeros(len(weights))
        step = max(1, CELLS_AT_ONCE // max(1, len(self.sample), len(RECALLS)))
        for start in range(0, len(weights), step):
            rows = slice(start, start + step)
            drawn, needed = weights[rows][:, self.sample], _needed(wanted[rows])
            for hit, miss in zip(self.hit, self.miss, strict=True):
                areas[rows] += _area(np.cumsum(drawn * hit, axis=1), np.cumsum(drawn * miss, axis=1), needed)
        return np.where(wanted > 0, areas / len(self.hit), np.nan)


def _needed(wanted: Floats) -> Floats:
    """[m, 101] the fewest hits whose share of the objects [m] is at least each level of recall, in floating point."""
    objects = np.maximum(wanted, 1.0)[:, None]
    hits_needed = np.ceil(RECALLS * objects)
    hits_needed = np.where((hits_needed - 1) / objects >= RECALLS, hits_needed - 1, hits_needed)
    return np.where(hits_needed / objects < RECALLS, hits_needed + 1, hits_needed)


def _area(hits_so_far: Floats, misses_so_far: Floats, needed: Floats) -> Floats:
    m, d = hits_so_far.shape
    if d == 0:
        return np.zeros(m)
    precision = hits_so_far / (hits_so_far + misses_so_far + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One search for all rows: whole numbers, so the offset that keeps rows apart rounds nothing.
    apart = (max(hits_so_far.max(), needed.max()) + 1) * np.arange(m)[:, None]
    places = np.searchsorted((hits_so_far + apart).ravel(), (needed + apart).ravel(), "left").reshape(needed.shape)
    places -= d * np.arange(m)[:, None]
    reached = places < d
    values = np.take_along_axis(best_from_here, np.minimum(places, d - 1), axis=1)
    return np.asarray(np.where(reached, values, 0.0).mean(axis=1))


def _matched(boxes: Boxes, objects: Boxes, overlaps: Floats) -> npt.NDArray[np.int8]:
    """[d, thresholds] what each box [d, 4], by falling score, did to the objects [g, 6] of its class."""
    outcome = np.zeros((len(boxes), len(overlaps)), dtype=np.int8)
    if not len(objects):
        return outcome
    objects = objects[np.argsort(objects[:, 5], kind="stable")]  # crowds last: taken only where nothing else fits
    crowd = objects[:, 5] > 0
    shared = _overlap(boxes.astype(np.float64), objects.astype(np.float64), crowd)
    for column, least in enumerate(overlaps):
        taken = np.zeros(len(objects), dtype=np.bool_)
        for row in range(len(boxes)):
            place, best = -1, min(float(least), 1 - 1e-10)
            for item in range(len(objects)):
                if taken[item] and not crowd[item]:
                    continue
                if place >= 0 and not crowd[place] and crowd[item]:
                    break
                if shared[row, item] >= best:
                    place, best = item, float(shared[row, item])
            if place >= 0:
                taken[place] = True
                outcome[row, column] = NEITHER if crowd[place] else HIT
    return outcome


def _overlap(boxes: Floats, objects: Floats, crowd: npt.NDArray[np.bool_]) -> Floats:
    """[d, g] intersection over union of x, y, width, height; over the box alone where the object is a crowd."""
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:4], objects[None, :, :2] + objects[None, :, 2:4])
    inside = np.clip(high - low, 0.0, None).prod(axis=2)
    own, other = boxes[:, 2:4].prod(axis=1)[:, None], objects[:, 2:4].prod(axis=1)[None]
    below = np.where(crowd[None], own, own + other - inside)
    return np.asarray(np.divide(inside, below, out=np.zeros_like(inside), where=below > 0))
