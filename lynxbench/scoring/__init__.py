"""From a rubric and two sets of predictions to scores: how good, how much worse than the reference, how sure.

    scores = score(rubric, candidate, reference)
    scores.primary.value, scores.primary.loss, scores.verdict.verdict, scores.worst_stratum

Imports `datasets`, `specs` and `errors` only. Knows nothing of time, models or executors, reads and writes nothing.

* Samples are paired by id. A candidate may have answered a subset; then both are scored on the common ids.
* A *failed* sample (its output held a NaN) is a wrong answer, never dropped: `metrics` says what it counts as.
* `loss` is signed so that positive is worse, whichever way the metric points.
* Nothing undefined is a number: it is None, and `reason` says why.
* Every random draw depends on the rubric's seed and on names alone, so that neither the order of samples nor the
  number of strata moves a figure.
"""

from lynxbench.scoring.disclosure import Disclosure, disclose, disclosure_fields
from lynxbench.scoring.metrics import METRICS
from lynxbench.scoring.results import Agreement, Score, Scores, Verdict, VerdictName
from lynxbench.scoring.rules import Finding, check_rubric, planned_answers
from lynxbench.scoring.score import score

__all__ = [
    "METRICS",
    "Agreement",
    "Disclosure",
    "Finding",
    "Score",
    "Scores",
    "Verdict",
    "VerdictName",
    "check_rubric",
    "disclose",
    "disclosure_fields",
    "planned_answers",
    "score",
]
