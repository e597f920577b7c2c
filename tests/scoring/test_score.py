"""`score` as a whole: pairing, strata, failed samples, third parties, and what it promises of every field."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.scoring import Scores, score
from lynxbench.scoring.verdict import planned_resolution
from tests.scoring.build import Array, classified, metric, predictions, rubric, value

METRICS = (
    metric("top-1"),
    metric("top-k", parameters={"k": 2}),
    metric("balanced-accuracy"),
    metric("f1"),
    metric("log-loss"),
    metric("brier"),
    metric("ece"),
    metric("auroc"),
)


def pictures(n: int = 400, noise: float = 0.8, seed: int = 0, views: int = 2) -> tuple[Predictions, Predictions]:
    """Candidate and reference on n samples of four classes, `views` of each image."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(4, size=n // views), views)
    reference = random.normal(size=(n, 4)) + 2 * np.eye(4)[labels]
    candidate = reference + noise * random.normal(size=(n, 4))
    common: dict[str, Any] = {
        "labels": labels,
        "sources": np.repeat([f"i{place}" for place in range(n // views)], views),
        "strata": {"view": np.tile([f"v{place}" for place in range(views)], n // views), "class": labels.astype(str)},
    }
    return (
        predictions(n, logits=candidate.astype(np.float32), **common),
        predictions(n, logits=reference.astype(np.float32), **common),
    )


def plain(value: Any) -> None:
    """Every field is a plain Python value, and no number is NaN or infinite."""
    if isinstance(value, dict):
        for item in value.values():
            plain(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            plain(item)
    else:
        assert type(value) in {str, int, float, type(None)}, value
        assert not isinstance(value, float) or math.isfinite(value)


def sound(scores: Scores) -> None:
    plain(dataclasses.asdict(scores))
    for item in (*scores.metrics, *scores.strata):
        for middle, low, high in (
            (item.value, item.value_low, item.value_high),
            (item.reference_value, item.reference_low, item.reference_high),
            (item.delta, item.delta_low, item.delta_high),
            (item.loss, item.loss_low, item.loss_high),
        ):
            assert (low is None) == (high is None)
            if low is not None and high is not None:
                assert middle is not None
                assert low <= middle <= high
        if item.value is None or item.delta_low is None:
            assert item.reason


def test_scores_are_sound_and_what_the_parts_say() -> None:
    candidate, reference = pictures()
    scores = score(rubric(*METRICS, strata=["view", "class"]), candidate, reference)
    sound(scores)
    assert [item.name for item in scores.metrics] == [use["name"] for use in METRICS]
    assert candidate.logits is not None
    assert reference.logits is not None
    primary = scores.primary
    assert primary.value == np.mean(candidate.logits.argmax(1) == candidate.labels)
    assert primary.reference_value == np.mean(reference.logits.argmax(1) == reference.labels)
    assert primary.delta == pytest.approx(primary.value - primary.reference_value)
    assert primary.loss == -primary.delta
    assert (primary.n, primary.n_sources) == (400, 200)
    # log loss is better when lower: there the loss is the delta itself.
    log_loss = scores.metrics[4]
    assert log_loss.delta is not None
    assert log_loss.loss == log_loss.delta > 0
    assert log_loss.interval_method == "bootstrap-bca"
    assert {item.test for item in scores.metrics} == {"mcnemar-rao-scott", "paired-cluster-bootstrap"}


def test_single_views_are_tested_by_exact_mcnemar() -> None:
    candidate, reference = pictures(views=1)
    primary = score(rubric(metric("top-1")), candidate, reference).primary
    assert candidate.logits is not None
    assert reference.logits is not None
    ours, theirs = (side.argmax(1) == candidate.labels for side in (candidate.logits, reference.logits))
    table = [[np.sum(ours & theirs), np.sum(ours & ~theirs)], [np.sum(~ours & theirs), np.sum(~ours & ~theirs)]]
    assert primary.test == "mcnemar-exact"
    assert primary.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_order_of_samples_does_not_matter() -> None:
    candidate, reference = pictures(noise=0.3)
    random = np.random.default_rng(1)
    asked = rubric(*METRICS, strata=["view", "class"])
    first = score(asked, candidate, reference)
    shuffled = candidate.take(random.permutation(400)), reference.take(random.permutation(400))
    assert score(asked, *shuffled) == first


def test_the_number_of_strata_and_metrics_moves_no_figure() -> None:
    candidate, reference = pictures()
    ece = metric("ece")
    few = score(rubric(ece, strata=["view"]), candidate, reference)
    many = score(rubric(ece, *METRICS[:3], strata=["class", "view"]), candidate, reference)

    def without_holm(scores: Scores) -> list[Any]:
        return [
            dataclasses.replace(item, p_value_corrected=None) for item in scores.strata if item.stratum_field == "view"
        ]

    assert many.primary == few.primary
    assert without_holm(many) == without_holm(few)
    assert score(rubric(ece, seed=4), candidate, reference).primary.delta_low != few.primary.delta_low


def test_pairs_on_what_both_answered() -> None:
    candidate, reference = pictures()
    part = candidate.take(np.arange(399, 99, -3))
    scores = score(rubric(*METRICS), part, reference)
    sound(scores)
    assert (scores.n, scores.n_candidate, scores.n_reference) == (100, 100, 400)
    same = score(rubric(*METRICS), part, reference.take(np.arange(99, 400)[::-1]))
    assert same.metrics == scores.metrics


def test_strata_are_the_metric_on_their_samples_with_holm_over_all() -> None:
    candidate, reference = pictures(noise=1.5)
    asked = rubric(metric("top-1"), strata=["view", "class"])
    scores = score(asked, candidate, reference)
    assert [(item.stratum_field, item.stratum) for item in scores.strata] == [
        ("view", "v0"), ("view", "v1"), ("class", "0"), ("class", "1"), ("class", "2"), ("class", "3"),
    ]  # fmt: skip
    for item in scores.strata:
        assert item.stratum_field is not None
        rows = candidate.strata[item.stratum_field] == item.stratum
        alone = score(rubric(metric("top-1"), strata=["view"]), candidate.take(rows), reference.take(rows)).primary
        assert (item.n, item.value, item.loss, item.loss_low) == (alone.n, alone.value, alone.loss, alone.loss_low)
    p_values = [item.p_value or 0.0 for item in scores.strata]
    corrected = [item.p_value_corrected for item in scores.strata]
    assert corrected == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert scores.worst_stratum is max(scores.strata, key=lambda item: item.loss or 0.0)


def test_one_stratum_collapses_while_the_average_looks_fine() -> None:
    groups = np.array(["rare"] * 40 + ["common"] * 1960)
    reference = np.ones(2000, dtype=bool)
    candidate = ~((groups == "rare") & (np.arange(2000) % 2 == 0))
    asked = rubric(metric("top-1"), strata=["group"], tolerance={"kind": "absolute", "value": 0.02})
    strata = {"group": groups}
    scores = score(asked, classified(candidate, strata=strata), classified(reference, strata=strata))
    assert scores.verdict.verdict == "robust"
    worst = scores.worst_stratum
    assert worst is not None
    assert (worst.stratum, worst.loss) == ("rare", 0.5)
    assert worst.loss_low is not None
    assert worst.loss_low > 0.3
    assert worst.p_value_corrected is not None
    assert worst.p_value_corrected < 1e-4


def test_small_and_empty_strata_are_reported_without_numbers() -> None:
    groups = np.array(["big"] * 30 + ["tiny"] * 3)
    answers = classified(np.ones(33), strata={"group": groups})
    other = classified(np.arange(33) > 0, strata={"group": groups})
    missing = metric("top-1", name="nowhere", on={"group": ["gone"]})
    scores = score(rubric(metric("top-1"), missing, strata=["group"], strata_minimum_n=5), answers, other)
    sound(scores)
    tiny = scores.strata[1]
    assert (tiny.n, tiny.value, tiny.p_value_corrected) == (3, None, None)
    assert tiny.reason == "n = 3 is below the rubric's strata_minimum_n of 5"
    assert scores.metrics[1].reason == "no samples"
    assert scores.worst_stratum == scores.strata[0]


def test_a_metric_declared_on_some_samples() -> None:
    candidate, reference = pictures()
    clean = metric("top-1", name="clean", on={"view": ["v0"], "class": ["1", "2"]})
    scores = score(rubric(clean, strata=["view", "class"]), candidate, reference)
    assert candidate.labels is not None
    chosen = (candidate.strata["view"] == "v0") & np.isin(candidate.labels, (1, 2))
    assert scores.primary.n == int(chosen.sum())
    # By view, the restriction on views is lifted and that on classes stays; by class the other way round.
    by = {(item.stratum_field, item.stratum): item.n for item in scores.strata}
    assert by["view", "v0"] == scores.primary.n
    assert by["view", "v1"] == int(np.sum((candidate.strata["view"] == "v1") & np.isin(candidate.labels, (1, 2))))
    assert by["class", "0"] == int(np.sum((candidate.strata["view"] == "v0") & (candidate.labels == 0)))


def test_failed_samples_count_as_wrong() -> None:
    candidate, reference = pictures()
    assert candidate.logits is not None
    broken = candidate.logits.copy()
    broken[:100] = np.nan
    for marked in (True, False):
        failed = np.arange(400) < 100
        worse = dataclasses.replace(candidate, logits=broken, failed=failed if marked else candidate.failed)
        scores = score(rubric(*METRICS), worse, reference)
        sound(scores)
        assert (scores.primary.n, scores.primary.n_failed, scores.primary.n_failed_reference) == (400, 100, 0)
        right = (candidate.logits.argmax(1) == candidate.labels) & ~failed
        assert scores.primary.value == right.mean()
        assert scores.agreement.n_compared == 300
    everything = dataclasses.replace(candidate, logits=np.full_like(candidate.logits, np.nan))
    scores = score(rubric(*METRICS), everything, reference)
    sound(scores)
    assert scores.primary.value == 0
    assert scores.verdict.verdict == "fragile"


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_samples(n: int) -> None:
    candidate, reference = pictures(n=6)
    index = np.arange(n)
    for primary in METRICS:
        asked = rubric(primary, *(use for use in METRICS if use is not primary))
        scores = score(asked, candidate.take(index), reference.take(index))
        sound(scores)
        assert scores.verdict.verdict == "inconclusive"
        sound(score(asked, reference.take(index), reference.take(index), is_reference=True))


def test_equal_answers_of_few_samples_prove_little() -> None:
    candidate, reference = pictures(n=60, noise=0.0)
    for use in METRICS:
        scores = score(rubric(use, tolerance={"kind": "absolute", "value": 0.001}), candidate, reference)
        sound(scores)
        assert scores.primary.loss == 0
        assert scores.primary.p_value == 1
        assert scores.primary.loss_high is not None
        assert scores.primary.loss_high > 0.001
        assert scores.verdict.verdict == "inconclusive"


def test_what_was_not_kept_has_no_value() -> None:
    candidate, reference = pictures()
    bare = dataclasses.replace(candidate, logits=None)
    scores = score(rubric(*METRICS), bare, reference)
    sound(scores)
    assert {item.reason for item in scores.metrics} == {"no logits were kept"}
    assert scores.verdict.verdict == "inconclusive"
    assert scores.verdict.reason == "no logits were kept"


def test_third_parties_metrics() -> None:
    candidate, reference = pictures()
    uses = [
        metric("tests.scoring.custom:right", parameters={"margin": 0.0}),
        metric("tests.scoring.custom:accuracy"),
        metric("tests.scoring.custom:largest"),
        metric("tests.scoring.custom:broken"),
    ]
    asked = rubric(metric("top-1"), *uses, resamples=300)
    scores = score(asked, candidate, reference)
    sound(scores)
    top1, right, accuracy, largest, broken = scores.metrics
    assert (right.value, right.loss_low, right.p_value) == (top1.value, top1.loss_low, top1.p_value)
    assert accuracy.value == top1.value
    assert accuracy.interval_method == "bootstrap-percentile"
    for ours, theirs in ((accuracy.loss_low, top1.loss_low), (accuracy.loss_high, top1.loss_high)):
        assert ours == pytest.approx(theirs, abs=0.012)
    assert candidate.logits is not None
    assert largest.value == pytest.approx(candidate.logits.max(axis=1).mean())
    assert broken.value is None
    assert broken.reason == "the metric's own function returned no finite value for 400 of 400 samples"
    with pytest.raises(UsageError, match=r"returned shape \(401,\); expected one float or \[400\]"):
        score(rubric(metric("tests.scoring.custom:misshapen")), candidate, reference)


def changed(answers: Predictions, **columns: Array) -> Predictions:
    return dataclasses.replace(answers, **columns)


def test_what_cannot_be_paired_is_refused() -> None:
    candidate, reference = pictures()
    assert candidate.labels is not None
    with pytest.raises(UsageError, match="disagree on the label of 400 samples"):
        score(rubric(metric("top-1")), changed(candidate, labels=candidate.labels + 1), reference)
    with pytest.raises(UsageError, match="candidate's predictions answer 1 samples more than once, first 's0000000'"):
        score(rubric(metric("top-1")), candidate.take(np.array([0, 0, 1])), reference)
    with pytest.raises(UsageError, match="no field 'vieww' to report by; did you mean 'view'"):
        score(rubric(metric("top-1"), strata=["vieww"]), candidate, reference)
    with pytest.raises(UsageError, match="unknown metric 'top1'; did you mean 'top-1'"):
        score(rubric(metric("top1")), candidate, reference)


def test_a_composite_is_the_weighted_sum_with_one_interval() -> None:
    candidate, reference = pictures()
    weights = {"top-1": 0.7, "ece": -0.3, "log-loss": -0.1}
    both = {**metric("composite", parameters={"weights": weights}), "name": "both"}
    scores = score(rubric(both, metric("top-1"), metric("ece"), metric("log-loss")), candidate, reference)
    sound(scores)
    named = {item.name: item for item in scores.metrics}
    for field in ("value", "reference_value", "delta"):
        parts = sum(weight * getattr(named[name], field) for name, weight in weights.items())
        assert getattr(scores.primary, field) == pytest.approx(parts)
    assert scores.primary.loss_low is not None
    assert scores.primary.loss_high is not None
    widths = [
        abs(weight) * (named[name].loss_high or 0) - abs(weight) * (named[name].loss_low or 0)
        for name, weight in weights.items()
    ]
    assert scores.primary.loss_low < scores.primary.loss < scores.primary.loss_high  # type: ignore[operator]
    assert scores.primary.loss_high - scores.primary.loss_low < sum(widths)
    alone = {**metric("composite", parameters={"weights": {"log-loss": 1.0}}), "name": "alone"}
    alone["direction"] = "lower-is-better"
    single = score(rubric(metric("log-loss"), alone), candidate, reference)
    first, second = single.metrics
    assert (first.value, first.loss) == pytest.approx((second.value, second.loss))
    assert (second.loss_high or 0) - (second.loss_low or 0) == pytest.approx(
        (first.loss_high or 0) - (first.loss_low or 0), rel=0.1
    )


def boxed(n: int, seed: int) -> tuple[Predictions, Predictions]:
    """A detector and a worse one, on n pictures with two objects each."""
    random = np.random.default_rng(seed)
    objects = np.zeros((n, 2, 6), dtype=np.float32)
    objects[:, :, :4] = np.concatenate([random.uniform(0, 50, (n, 2, 2)), random.uniform(10, 40, (n, 2, 2))], axis=2)
    objects[:, :, 4] = random.integers(3, size=(n, 2))

    def detector(jitter: float) -> Predictions:
        found = objects.copy()
        found[:, :, :4] += random.normal(0, jitter, (n, 2, 4))
        found[:, :, 5] = random.uniform(0.1, 1, (n, 2))
        return predictions(n, detections=found, objects=objects)

    return detector(2.0), detector(1.0)


def test_average_precision_has_a_paired_interval() -> None:
    candidate, reference = boxed(60, 0)
    use = metric("mean-average-precision")
    (found,) = score(rubric(use), candidate, reference).metrics
    assert found.value is not None
    assert found.reference_value is not None
    assert found.loss == pytest.approx(found.reference_value - found.value)
    assert found.loss_low is not None
    assert found.loss_high is not None
    assert 0 < found.loss_low < found.loss < found.loss_high
    # A call for each resample, by hand: the same spread.
    random = np.random.default_rng(5)
    drawn = [random.integers(60, size=60) for _ in range(200)]
    losses = [
        value("mean-average-precision", reference.take(i)) - value("mean-average-precision", candidate.take(i))
        for i in drawn
    ]
    low, high = np.quantile(losses, [0.025, 0.975])
    assert found.loss_high - found.loss_low == pytest.approx(high - low, rel=0.35)
    with pytest.raises(UsageError, match="disagree on the objects"):
        score(rubric(use), candidate, boxed(60, 1)[1])


def test_the_smallest_loss_that_is_resolved_is_found_four_times_in_five() -> None:
    planned = planned_resolution(1000, 0.95, 0.05)
    found, resolved = 0, []
    for run in range(300):
        random = np.random.default_rng(run)
        only_reference = random.random(1000) < (0.05 + planned) / 2
        only_candidate = ~only_reference & (random.random(1000) < (0.05 - planned) / 2)
        scores = score(rubric(metric("top-1")), classified(~only_reference), classified(~only_candidate))
        found += (scores.primary.loss_low or 0.0) > 0
        resolved.append(scores.verdict.resolvable_loss or 0.0)
    assert np.mean(resolved) == pytest.approx(planned, rel=0.05)
    assert 0.72 < found / 300 < 0.88
