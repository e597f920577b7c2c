"""Every built-in metric on 1,000 random cases against an independent implementation: libraries, or plain loops.

Cases have ties, few samples, single classes, failed samples (outputs of NaN) and empty texts.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.metrics import METRICS
from lynxbench.scoring.statistic import UndefinedError
from tests.scoring.build import predictions, value

CASES = 1000
BINS = 7  # no equal share of 2, 3 or 4 classes lies on an edge, where rounding would decide
Options = dict[str, Any]
Case = tuple[Predictions, Options]


def some_failed(draw: random.Random, n: int) -> list[bool]:
    return [draw.random() < 0.15 for _ in range(n)]


def classes(seed: int) -> Case:
    draw = random.Random(seed)
    n, k = draw.randint(1, 25), draw.randint(2, 4)
    top = draw.randint(0, k - 1)
    labels = np.array([draw.randint(0, top) for _ in range(n)])
    if draw.random() < 0.5:
        # Ties within and between rows. No row is another's permuted or shifted: whether those tie is rounding.
        pool = {
            tuple(sorted(score - max(row) for score in row)): row
            for row in ([draw.randint(-2, 2) for _ in range(k)] for _ in range(3))
        }
        logits = np.array([draw.choice(list(pool.values())) for _ in range(n)], dtype=np.float32)
    else:
        logits = np.array([[draw.gauss(0, 2) for _ in range(k)] for _ in range(n)], dtype=np.float32)
    failed = some_failed(draw, n)
    logits[failed] = np.nan
    marked = failed if draw.random() < 0.5 else None  # a NaN counts as failed though nobody said so
    options = {"k": draw.randint(1, k), "average": draw.choice(["macro", "micro", "weighted"]), "bins": BINS}
    return predictions(n, labels=labels, logits=logits, failed=marked), options


def lists(seed: int) -> Case:
    draw = random.Random(seed)
    n, depth = draw.randint(1, 20), draw.randint(1, 6)
    names = [f"d{place}" for place in range(12)]
    sources = np.array([draw.choice(names) for _ in range(n)])
    ranked = np.array([draw.sample(names, depth) for _ in range(n)])
    labels = np.array([draw.randint(0, 3) for _ in range(n)])
    ranked_labels = np.array([[draw.randint(0, 3) for _ in range(depth)] for _ in range(n)])
    made = predictions(
        n, sources=sources, ranked_ids=ranked, labels=labels, ranked_labels=ranked_labels, failed=some_failed(draw, n)
    )
    return made, {"k": draw.randint(1, depth), "relevant": draw.choice(["source", "label"])}


def texts(seed: int) -> Case:
    draw = random.Random(seed)
    n = draw.randint(1, 6)
    words = ["the", "cat", "Cat", "sat", "on", "a", "mat,", "é", "12", "its", "dog."]

    def text(least: int) -> str:
        return " ".join(draw.choice(words) for _ in range(draw.randint(least, 12)))

    targets = [text(draw.randint(0, 1)) for _ in range(n)]
    given = [target if draw.random() < 0.3 else text(0) for target in targets]
    made = predictions(
        n,
        texts=np.array(given, dtype=object),
        targets=np.array(targets, dtype=object),
        failed=some_failed(draw, n),
    )
    options = {
        "strip": draw.random() < 0.5,
        "ignore_case": draw.random() < 0.5,
        "beta": draw.choice([1, 2, 3]),
        "tokenize": draw.choice(["13a", "intl", "char", "none"]),
    }
    return made, options


def numbers(seed: int) -> Case:
    draw = random.Random(seed)
    n = draw.randint(1, 20)
    true = np.array([draw.choice([5.0, draw.gauss(100, 3)]) for _ in range(n)])
    if draw.random() < 0.1:
        true[:] = 7.3
    values = np.array([draw.gauss(100, 4) for _ in range(n)])
    failed = some_failed(draw, n)
    values[failed] = np.nan
    return predictions(n, values=values, true_values=true, failed=failed), {}


def choices(seed: int) -> Case:
    draw = random.Random(seed)
    n, k = draw.randint(1, 20), draw.randint(1, 5)
    counts = [draw.randint(1, k) for _ in range(n)]
    lengths = np.array([[draw.randint(1, 4) if item < count else 0 for item in range(k)] for count in counts])
    scores = np.array([[-draw.randint(1, 6) if length else np.nan for length in row] for row in lengths], np.float32)
    failed = some_failed(draw, n)
    for row in np.flatnonzero(failed):
        scores[row, 0] = np.nan
    labels = np.array([draw.randrange(count) for count in counts])
    made = predictions(n, option_scores=scores, option_lengths=lengths, labels=labels)
    return made, {"normalise": draw.choice(["none", "length"])}


def token_likelihoods(seed: int) -> Case:
    draw = random.Random(seed)
    n = draw.randint(1, 20)
    tokens = np.array([draw.randint(1, 30) for _ in range(n)])
    logs = np.array([-draw.random() * 5 * count for count in tokens])
    failed = some_failed(draw, n)
    logs[failed] = np.nan
    return predictions(n, log_likelihoods=logs, token_counts=tokens), {"clip": 1e-9}


def boxes(seed: int) -> Case:
    draw = random.Random(seed)
    n = draw.randint(1, 6)
    objects = np.full((n, 5, 6), np.nan, dtype=np.float32)
    found = np.full((n, 8, 6), np.nan, dtype=np.float32)
    for row in range(n):
        for item in range(draw.randint(0, 5)):
            place = [draw.randint(0, 20), draw.randint(0, 20), draw.randint(4, 30), draw.randint(4, 30)]
            objects[row, item] = [*place, draw.randint(0, 2), draw.random() < 0.15]
        for item in range(draw.randint(0, 8)):
            near = objects[row, draw.randrange(5)]
            if np.isnan(near[0]) or draw.random() < 0.3:
                near = np.array([5, 5, 10, 10, 0, 0])
            place = [near[0] + draw.randint(-2, 2), near[1] + draw.randint(-2, 2)]
            size = [max(1, near[2] + draw.randint(-3, 3)), max(1, near[3] + draw.randint(-3, 3))]
            klass = near[4] if draw.random() < 0.8 else draw.randint(0, 2)
            found[row, item] = [*place, *size, klass, draw.randint(1, 10) / 10]
    made = predictions(n, detections=found, objects=objects, failed=some_failed(draw, n))
    return made, {"overlap": draw.choice(["0.50:0.95", "0.50", "0.75"])}


MAPS: dict[int, tuple[Any, Any]] = {}


def regions(seed: int) -> Case:
    draw = np.random.default_rng(seed)
    n, k = int(draw.integers(1, 8)), int(draw.integers(2, 5))
    true = draw.integers(int(draw.integers(1, k + 1)), size=(n, 12))
    given = np.where(draw.random((n, 12)) < 0.6, true, draw.integers(k, size=(n, 12)))
    counts = np.zeros((n, k, 3), dtype=np.int64)
    for klass in range(k):
        counts[:, klass, 0] = ((given == klass) & (true == klass)).sum(axis=1)
        counts[:, klass, 1] = (given == klass).sum(axis=1)
        counts[:, klass, 2] = (true == klass).sum(axis=1)
    failed = draw.random(n) < 0.15
    MAPS[seed] = (np.where(failed[:, None], -1, given), true)
    return predictions(n, region_pixels=counts, failed=failed), {"seed": seed}


def decisions(made: Predictions) -> tuple[list[int], list[int], list[list[float]]]:
    """Labels, decisions (−1: failed) and probabilities (empty where failed)."""
    assert made.labels is not None
    assert made.logits is not None
    shares, chosen = [], []
    for row in made.logits.astype(float).tolist():
        if any(math.isnan(score) for score in row):
            shares.append([])
            chosen.append(-1)
            continue
        total = math.fsum(math.exp(score) for score in row)
        shares.append([math.exp(score) / total for score in row])
        chosen.append(row.index(max(row)))
    return made.labels.tolist(), chosen, shares


def top_k(made: Predictions, k: int) -> float:
    assert made.logits is not None
    labels, _, shares = decisions(made)
    rows = made.logits.tolist()
    hits = [
        bool(share) and label in sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
        for label, share, row in zip(labels, shares, rows, strict=True)
    ]
    return sum(hits) / len(hits)


def balanced(made: Predictions, _: Options) -> float:
    labels, chosen, _ = decisions(made)
    return float(sk.recall_score(labels, chosen, labels=sorted(set(labels)), average="macro", zero_division=0))


def f1(made: Predictions, options: Options) -> float:
    labels, chosen, _ = decisions(made)
    known = sorted((set(labels) | set(chosen)) - {-1})
    return float(sk.f1_score(labels, chosen, labels=known, average=options["average"], zero_division=0))


def log_loss(made: Predictions, _: Options) -> float:
    labels, _, shares = decisions(made)
    epsilon = float(np.finfo(float).eps)
    losses = [
        -math.log(min(max(s[y], epsilon), 1 - epsilon) if s else epsilon) for y, s in zip(labels, shares, strict=True)
    ]
    return math.fsum(losses) / len(losses)


def brier(made: Predictions, _: Options) -> float:
    labels, _, shares = decisions(made)
    each = [
        sum((p - (c == label)) ** 2 for c, p in enumerate(share)) if share else 2.0
        for label, share in zip(labels, shares, strict=True)
    ]
    return math.fsum(each) / len(each)


def calibration_error(made: Predictions, _: Options) -> float:
    labels, chosen, shares = decisions(made)
    gaps = [0.0] * BINS
    for label, choice, share in zip(labels, chosen, shares, strict=True):
        sure = max(share) if share else 1.0
        gaps[min(BINS - 1, math.ceil(sure * BINS) - 1)] += sure - (label == choice)
    return math.fsum(abs(gap) for gap in gaps) / len(labels)


def auroc(made: Predictions, _: Options) -> float | None:
    assert made.logits is not None
    labels, _, shares = decisions(made)
    areas = []
    for klass in range(made.logits.shape[1]):
        own = [label == klass for label in labels]
        if 0 < sum(own) < len(own):
            marks = [
                share[klass] if share else (-1.0 if label == klass else 2.0)
                for label, share in zip(labels, shares, strict=True)
            ]
            areas.append(float(sk.roc_auc_score(own, marks)))
    return sum(areas) / len(areas) if areas else None


def relevance(made: Predictions, options: Options) -> list[list[bool]]:
    by_label = options["relevant"] == "label"
    items, own = (made.ranked_labels, made.labels) if by_label else (made.ranked_ids, made.source_ids)
    assert items is not None
    assert own is not None
    rows = zip(items.tolist(), own.tolist(), made.failed.tolist(), strict=True)
    return [[item == mine and not failed for item in row[: options["k"]]] for row, mine, failed in rows]


def recall(made: Predictions, options: Options) -> float:
    hits = [any(row) for row in relevance(made, options)]
    return sum(hits) / len(hits)


def ndcg(made: Predictions, options: Options) -> float:
    gains = []
    for row in relevance(made, options):
        gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(row))
        relevant = options["k"] if options["relevant"] == "label" else 1
        gains.append(gain / sum(1 / math.log2(rank + 2) for rank in range(relevant)))
    return sum(gains) / len(gains)


def reciprocal(made: Predictions, options: Options) -> float:
    firsts = [next((1 / (rank + 1) for rank, hit in enumerate(row) if hit), 0.0) for row in relevance(made, options)]
    return sum(firsts) / len(firsts)


def pairs(made: Predictions) -> list[tuple[str, str]]:
    """Text (empty where failed) and target."""
    assert made.texts is not None
    assert made.targets is not None
    rows = zip(made.texts.tolist(), made.targets.tolist(), made.failed.tolist(), strict=True)
    return [("" if failed else text, target) for text, target, failed in rows]


def exact(made: Predictions, options: Options) -> float:
    hits = []
    for (text, target), failed in zip(pairs(made), made.failed.tolist(), strict=True):
        first, second = (side.strip() if options["strip"] else side for side in (text, target))
        if options["ignore_case"]:
            first, second = first.casefold(), second.casefold()
        hits.append(first == second and not failed)
    return sum(hits) / len(hits)


def places(made: Predictions, _: Options) -> float | None:
    assert made.texts is not None
    right = total = 0
    for given, (text, target) in zip(made.texts.tolist(), pairs(made), strict=True):
        total += max(len(given), len(target))
        right += sum(a == b for a, b in zip(text, target, strict=False))
    return right / total if total else None


def distance(first: list[str], second: list[str]) -> int:
    @cache
    def edits(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = edits(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, edits(i - 1, j) + 1, edits(i, j - 1) + 1)

    return edits(len(first), len(second))


def error_rate(split: Callable[[str], list[str]]) -> Callable[[Predictions, Options], float | None]:
    def rate(made: Predictions, _: Options) -> float | None:
        edits = sum(distance(split(text), split(target)) for text, target in pairs(made))
        total = sum(len(split(target)) for _, target in pairs(made))
        return edits / total if total else None

    return rate


def corpus(make: Callable[[Options], Any]) -> Callable[[Predictions, Options], float | None]:
    def scored(made: Predictions, options: Options) -> float | None:
        given, wanted = zip(*pairs(made), strict=True)
        return make(options).corpus_score(given, [wanted]).score / 100 if any(wanted) else None

    return scored


def sacre_bleu(options: Options) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=options["tokenize"], lowercase=options["ignore_case"])


def sacre_chrf(options: Options) -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(beta=options["beta"])


def rouge(made: Predictions, _: Options) -> float | None:
    found = []
    for text, target in pairs(made):
        first, second = (re.findall("[a-z0-9]+", side.lower()) for side in (text, target))

        @cache
        def common(
            i: int, j: int, first: tuple[str, ...] = tuple(first), second: tuple[str, ...] = tuple(second)
        ) -> int:
            if not i or not j:
                return 0
            if first[i - 1] == second[j - 1]:
                return common(i - 1, j - 1) + 1
            return max(common(i - 1, j), common(i, j - 1))

        shared = common(len(first), len(second))
        precision, share = (shared / len(first), shared / len(second)) if shared else (0.0, 0.0)
        found.append(2 * precision * share / (precision + share) if shared else 0.0)
    return sum(found) / len(found) if any(target for _, target in pairs(made)) else None


def chosen_right(made: Predictions, options: Options) -> float:
    assert made.option_scores is not None
    assert made.option_lengths is not None
    assert made.labels is not None
    hits = []
    for scores, lengths, label in zip(
        made.option_scores.tolist(), made.option_lengths.tolist(), made.labels.tolist(), strict=True
    ):
        there = [
            score / length if options["normalise"] == "length" else score
            for score, length in zip(scores, lengths, strict=True)
            if length
        ]
        hits.append(not any(math.isnan(score) for score in there) and there.index(max(there)) == label)
    return sum(hits) / len(hits)


def perplexity(made: Predictions, options: Options) -> float:
    assert made.log_likelihoods is not None
    assert made.token_counts is not None
    rows = list(zip(made.log_likelihoods.tolist(), made.token_counts.tolist(), strict=True))
    total = sum(count * math.log(options["clip"]) if math.isnan(log) else log for log, count in rows)
    return math.exp(-total / sum(count for _, count in rows))


def of_numbers(function: Callable[[Any, Any], float]) -> Callable[[Predictions, Options], float | None]:
    def scored(made: Predictions, _: Options) -> float | None:
        assert made.values is not None
        assert made.true_values is not None
        true = made.true_values.tolist()
        ends = min(true), max(true)
        given = [
            max(ends, key=lambda end, y=y: abs(end - y)) if math.isnan(x) else x
            for x, y in zip(made.values.tolist(), true, strict=True)
        ]
        if function is sk.r2_score and len(set(true)) == 1:
            return None
        return float(function(true, given))

    return scored


def coco(made: Predictions, options: Options) -> float | None:
    from faster_coco_eval import COCO, COCOeval_faster

    assert made.objects is not None
    assert made.detections is not None
    names = range(3)
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for row, (objects, detections, failed) in enumerate(
        zip(made.objects.tolist(), made.detections.tolist(), made.failed.tolist(), strict=True)
    ):
        for x, y, width, height, klass, crowd in itertools.filterfalse(lambda item: math.isnan(item[0]), objects):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": row,
                    "category_id": int(klass),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(crowd),
                }
            )
        for *box, klass, sure in itertools.filterfalse(lambda item: math.isnan(item[0]), detections):
            if not failed:
                found.append({"image_id": row, "category_id": int(klass), "bbox": box, "score": sure})
    if not any(not item["iscrowd"] for item in truth):
        return None
    if not found:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        images = [{"id": row, "width": 100, "height": 100} for row in range(len(made))]
        declared = COCO(
            {"images": images, "annotations": truth, "categories": [{"id": c, "name": str(c)} for c in names]}
        )
        evaluation = COCOeval_faster(declared, declared.loadRes(found), "bbox", print_function=lambda *_: None)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[{"0.50:0.95": 0, "0.50": 1, "0.75": 2}[options["overlap"]]])


def jaccard(made: Predictions, options: Options) -> float:
    given, true = MAPS[options["seed"]]
    known = sorted((set(given.ravel().tolist()) | set(true.ravel().tolist())) - {-1})
    return float(sk.jaccard_score(true.ravel(), given.ravel(), labels=known, average="macro", zero_division=0))


Naive = Callable[[Predictions, Options], float | None]
AUDITS: dict[str, tuple[Callable[[int], Case], Naive]] = {
    "top-1": (classes, lambda made, _: top_k(made, 1)),
    "top-k": (classes, lambda made, options: top_k(made, options["k"])),
    "balanced-accuracy": (classes, balanced),
    "f1": (classes, f1),
    "log-loss": (classes, log_loss),
    "brier": (classes, brier),
    "ece": (classes, calibration_error),
    "auroc": (classes, auroc),
    "recall": (lists, recall),
    "ndcg": (lists, ndcg),
    "mrr": (lists, reciprocal),
    "exact-match": (texts, exact),
    "token-accuracy": (texts, places),
    "character-error-rate": (texts, error_rate(list)),
    "word-error-rate": (texts, error_rate(str.split)),
    "bleu": (texts, corpus(sacre_bleu)),
    "chrf": (texts, corpus(sacre_chrf)),
    "rouge-l": (texts, rouge),
    "multiple-choice": (choices, chosen_right),
    "perplexity": (token_likelihoods, perplexity),
    "mae": (numbers, of_numbers(sk.mean_absolute_error)),
    "rmse": (numbers, of_numbers(sk.root_mean_squared_error)),
    "r2": (numbers, of_numbers(sk.r2_score)),
    "mean-average-precision": (boxes, coco),
    "mean-iou": (regions, jaccard),
}


def test_every_metric_is_audited() -> None:
    assert AUDITS.keys() == METRICS.keys()


@pytest.mark.filterwarnings("ignore:A single label was found", "ignore:y_pred contains classes")
@pytest.mark.parametrize("name", AUDITS)
def test_metric_equals_an_independent_implementation(name: str) -> None:
    make, naive = AUDITS[name]
    undefined = failed = 0
    for seed in range(CASES):
        made, options = make(seed)
        expected = naive(made, options)
        taken = {key: option for key, option in options.items() if key in METRICS[name].parameters}
        try:
            found: float | None = value(name, made, **taken)
        except UndefinedError:
            found = None
        assert (found is None or math.isnan(found)) == (expected is None), (seed, found, expected)
        if expected is not None:
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
        undefined += expected is None
        failed += bool(made.failed.any())
    assert undefined < CASES / 2
    assert failed > 0 or make in {classes, choices, token_likelihoods}
