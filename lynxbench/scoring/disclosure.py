"""What a record discloses, computed from its own fields: six items, and whether a decision may rest on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CALIBRATION = ("digest", "split", "selection", "n", "seed", "batch_size", "overlap_n", "minimum_n")


@dataclass(frozen=True)
class Item:
    """One item of the checklist; `why` says what was disclosed, or what is missing."""

    item: str
    held: bool
    why: str


@dataclass(frozen=True)
class Disclosure:
    """The six items in order, and the verdict over them.

    `decision_grade` is None where nothing is claimed (the reference itself); `why` says what it rests on or lacks.
    """

    items: tuple[Item, ...]
    decision_grade: bool | None
    why: str


def disclose(record: Mapping[str, Any]) -> Disclosure:
    """The checklist of a measured record, given as its fields; absent fields count as null. Raises nothing.

    Decision-grade means: all six items hold, and the interval of the loss (its full width) is narrower than the loss
    itself or than the tolerance, so that the loss, or that there is none worth mentioning, is more than chance.
    """
    items = (_task(record), _model(record), _metric(record), _reference(record), _calibration(record), _strata(record))
    missing = [item for item in items if not item.held]
    if record.get("is_reference"):
        return Disclosure(items, None, "the reference: there is no loss to claim")
    if missing:
        return Disclosure(items, False, "; ".join(f"{item.item}: {item.why}" for item in missing))
    width = record["primary_loss_high"] - record["primary_loss_low"]
    effect, tolerance = abs(record["primary_loss"]), record.get("tolerance_loss")
    if width < effect:
        return Disclosure(items, True, f"the interval of the loss ({width:.3g} wide) is narrower than the loss itself")
    if tolerance is not None and width < tolerance:
        return Disclosure(items, True, f"the interval of the loss ({width:.3g} wide) is narrower than the tolerance")
    wider = (
        "the loss itself" if tolerance is None else f"both the loss ({effect:.3g}) and the tolerance ({tolerance:.3g})"
    )
    return Disclosure(items, False, f"the interval of the loss ({width:.3g} wide) is no narrower than {wider}")


def disclosure_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record keeps of `disclose`: `decision_grade`, `decision_grade_why` and `disclosure`."""
    found = disclose(record)
    return {
        "decision_grade": found.decision_grade,
        "decision_grade_why": found.why,
        "disclosure": [{"item": item.item, "held": item.held, "why": item.why} for item in found.items],
    }


def _task(record: Mapping[str, Any]) -> Item:
    needed = ("task", "rubric", "rubric_version", "rubric_digest", "test_set", "test_set_digest")
    if record.get("tuning_untouched") is False:
        return Item("task", False, "the scheme was picked on samples that are scored here")
    said = f"{record.get('task')} by {record.get('rubric')} {record.get('rubric_version')}"
    return _item("task", record, (*needed, "test_set_composition", "test_set_n"), said)


def _model(record: Mapping[str, Any]) -> Item:
    said = (
        f"{record.get('model')} {record.get('model_version')}, base {str(record.get('model_sha256'))[:12]}, "
        f"as run {str(record.get('artifact_sha256'))[:12]}"
    )
    return _item("model", record, ("model", "model_version", "model_sha256", "artifact_sha256"), said)


def _metric(record: Mapping[str, Any]) -> Item:
    needed = ("primary_metric", "primary_direction", "primary_value", "primary_value_low", "primary_value_high")
    said = f"{record.get('primary_metric')}, {record.get('primary_direction')}, n = {record.get('primary_n')}"
    if record.get("resolvable_loss") is not None:
        said += f", which resolve a loss of {record['resolvable_loss']:.2g}"
    return _item("metric", record, (*needed, "primary_n"), said)


def _reference(record: Mapping[str, Any]) -> Item:
    needed: tuple[str, ...] = ("reference_scheme", "reference_executor")
    if not record.get("is_reference"):
        needed += ("primary_loss", "primary_loss_low", "primary_loss_high")
    said = f"{record.get('reference_scheme')} on {record.get('reference_executor')}"
    return _item("reference", record, needed, said)


def _calibration(record: Mapping[str, Any]) -> Item:
    kind = record.get("scheme_kind")
    # Of weights-only schemes, one algorithm looks at data, and then a calibration is recorded.
    none_used = kind == "weights-only" and record.get("calibration") is None
    if kind is not None and (none_used or kind not in ("int8-static", "fp8", "weights-only")):
        return Item("calibration", True, f"{kind} needs none")
    plain = ("scheme_kind", "calibration", *(f"calibration_{name}" for name in _CALIBRATION))
    item = _item("calibration", record, plain, f"{record.get('calibration_n')} samples of {record.get('calibration')}")
    if not item.held:
        return item
    if record["calibration_overlap_n"] > 0:
        return Item("calibration", False, f"{record['calibration_overlap_n']} of its samples are also scored")
    if record["calibration_n"] < record["calibration_minimum_n"]:
        few = f"{record['calibration_n']} samples, the rubric asks for {record['calibration_minimum_n']}"
        return Item("calibration", False, few)
    return item


def _strata(record: Mapping[str, Any]) -> Item:
    declared = record.get("strata")
    if not declared:
        return Item("strata", False, "none declared")
    scored = {s.get("stratum_field") for s in record.get("strata_scores") or () if s.get("value") is not None}
    unscored = [name for name in declared if name not in scored]
    if unscored:
        return Item("strata", False, f"no score by {', '.join(unscored)}")
    return Item("strata", True, "by " + ", ".join(declared))


def _item(name: str, record: Mapping[str, Any], needed: tuple[str, ...], said: str) -> Item:
    """Held when every needed field holds something; an empty text or list discloses nothing."""
    missing = [field for field in needed if record.get(field) is None or record[field] in ("", [], ())]
    return Item(name, not missing, f"not said: {', '.join(missing)}" if missing else said)
