"""Reading and checking all that a suite measures on, before any work: every problem at once, each with file and key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lynxbench.datasets.samples import Samples, calibration_samples, overlap, rubric_samples
from lynxbench.errors import CellError, DeclarationError, Problem
from lynxbench.quantization import model_files, model_sha256
from lynxbench.scoring import check_rubric
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.load import Declared, locate
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Model
from lynxbench.sweep.fit import Asked, misfits


@dataclass(frozen=True)
class ModelFile:
    """A model's ONNX file, found to be one."""

    path: Path
    sha256: str
    size_bytes: int
    tokenizer_sha256: str | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True)
class SampleSet:
    """Samples with their fingerprint."""

    samples: Samples
    fingerprint: str


@dataclass(frozen=True)
class CalibrationSet:
    """Calibration samples; the digest covers content, order and batches.

    `overlap_n`: how many of them are also scored. `minimum_n`: how many the rubric asks for at least.
    """

    samples: Samples
    digest: str
    overlap_n: int
    minimum_n: int


@dataclass(frozen=True)
class Material:
    """What a suite's declarations led to."""

    models: Mapping[str, ModelFile]
    test_sets: Mapping[str, SampleSet]  # by workload
    calibrations: Mapping[tuple[str, str], CalibrationSet]  # by workload and calibration name


def prepare(resolved: ResolvedSuite) -> Material:
    """Read models, test sets and calibration sets, and check them against each other.

    Raises `DeclarationError` with every problem: a file that is no ONNX model, a wrong digest, an empty test set,
    calibration samples that are also asked or too few (unless the suite allows it), two sets that are the same, an
    unknown metric.
    """
    problems: list[Problem] = []
    models = {}
    here = [(index, m) for index, m in enumerate(resolved.suite.models) if m.name not in resolved.absent_models]
    for index, model in here:
        try:
            models[model.name] = _model_file(model, f"models[{index}]", resolved.file)
        except DeclarationError as error:
            problems.extend(error.problems)
    test_sets: dict[str, SampleSet] = {}
    calibrations: dict[tuple[str, str], CalibrationSet] = {}
    for workload in resolved.workloads:
        rubric = resolved.rubrics[workload.name]
        try:
            source = locate(rubric.spec.test_set.source, rubric.file)
            samples = rubric_samples(rubric.spec, source, rubric.file, resolved.suite.protocol.test_set)
            test_sets[workload.name] = SampleSet(samples, samples.fingerprint())
        except DeclarationError as error:
            problems.extend(error.problems)
        for index, calibration in enumerate(resolved.suite.calibrations):
            if calibration.name not in workload.calibrations:
                continue
            key = f"calibrations[{index}]"
            try:
                chosen = calibration_samples(
                    calibration, locate(calibration.source, resolved.file), resolved.file, rubric.spec.task
                )
            except DeclarationError as error:
                problems.extend(error.problems)
                continue
            minimum = rubric.spec.calibration.minimum_count
            if calibration.count < minimum and not calibration.allow_fewer:
                problems.append(
                    Problem(
                        str(resolved.file),
                        f"{key}.count",
                        f"rubric {rubric.spec.name} asks for more calibration samples",
                        value=str(calibration.count),
                        expected=f"at least {minimum}",
                        hint="or say allow_fewer = true: no result on it is decision-grade then",
                    )
                )
            shared = overlap(chosen, test_sets[workload.name].samples) if workload.name in test_sets else []
            if shared and not calibration.allow_overlap:
                problems.append(_overlapping(shared, len(chosen), key, workload.name, resolved.file))
            digest = hashlib.sha256(f"{chosen.fingerprint()}\0{calibration.batch_size}".encode()).hexdigest()
            # Cells are told apart by what they were built from: the same set twice would be one result under two names.
            for (where, name), other in calibrations.items():
                if where == workload.name and other.digest == digest:
                    message = f"the same samples in the same order and batches as calibration {name!r}"
                    problems.append(Problem(str(resolved.file), key, message, hint="leave one of them out"))
            calibrations[workload.name, calibration.name] = CalibrationSet(chosen, digest, len(shared), minimum)
    problems.extend(_models_fit(resolved, models, test_sets))
    problems.extend(_strata_asked(resolved, test_sets))
    problems.extend(rubric_problems(resolved.rubrics.values()))
    if problems:
        raise DeclarationError(dict.fromkeys(problems))
    return Material(models, test_sets, calibrations)


def _model_file(model: Model, key: str, declared_in: Path) -> ModelFile:
    """The model's files, found to be one sound ONNX model; nothing of external data is read but to hash it."""
    import onnx

    path = locate(model.path, declared_in)

    def wrong(where: str, message: str, value: str, **more: str | None) -> DeclarationError:
        return DeclarationError([Problem(str(declared_in), f"{key}.{where}", message, value=value, **more)])

    try:
        files = model_files(path)
        sha256 = model_sha256(path)
    except CellError as error:
        hint = None if error.status == "rejected" else "check it with onnx.checker.check_model"
        if "data" in error.reason or "beside" in error.reason:
            hint = "keep the graph and its external data in one folder"
        raise wrong("path", error.reason, repr(model.path), hint=hint) from None
    if model.sha256 is not None and model.sha256 != sha256:
        raise wrong("sha256", "the file has another SHA-256", sha256, expected=model.sha256)
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        # onnx raises protobuf's, its checker's and plain errors alike; all mean the same to the user.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"is not a valid ONNX model: {first[:200]}"
        raise wrong("path", message, repr(model.path), hint="check it with onnx.checker.check_model") from None
    tokenizer_sha256, tokenizer = None, None
    if model.text is not None:
        tokenizer = locate(model.text.tokenizer, declared_in)
        content = tokenizer.read_bytes()
        tokenizer_sha256 = hashlib.sha256(content).hexdigest()
        try:
            if "model" not in json.loads(content):
                raise ValueError("it has no model")
        except ValueError as error:
            hint = "the tokenizer.json that Hugging Face's fast tokenizers save"
            where, message = "text.tokenizer", f"is not a tokenizer.json: {error}"
            raise wrong(where, message, repr(model.text.tokenizer), hint=hint) from None
    return ModelFile(path, sha256, sum(file.stat().st_size for file in files), tokenizer_sha256, tokenizer)


def _models_fit(
    resolved: ResolvedSuite, models: Mapping[str, ModelFile], test_sets: Mapping[str, SampleSet]
) -> list[Problem]:
    """What `fit.problems` finds, over all workloads and models."""
    problems = []
    for workload in resolved.workloads:
        if workload.name not in test_sets:
            continue
        scenarios = resolved.scenarios_of(workload)
        batches = {size for scenario in scenarios for size in scenario.batch_sizes}
        if any(scheme.needs_calibration for scheme in resolved.schemes_of(workload)):
            batches |= {calibration.batch_size for calibration in resolved.calibrations_of(workload)}
        for index, model in enumerate(resolved.suite.models):
            if model.name in workload.models and model.name in models:
                asked = Asked(
                    workload=workload.name,
                    task=resolved.rubrics[workload.name].spec.task,
                    samples=test_sets[workload.name].samples,
                    batches=frozenset(batches),
                )
                problems += misfits(asked, model, models[model.name].path, str(resolved.file), f"models[{index}]")
    return problems


def _strata_asked(resolved: ResolvedSuite, test_sets: Mapping[str, SampleSet]) -> list[Problem]:
    """Metrics that are to be computed on samples that there are none of."""
    problems = []
    for name, test_set in test_sets.items():
        rubric = resolved.rubrics[name]
        strata = test_set.samples.strata
        for index, metric in enumerate(rubric.spec.metrics):
            for field, values in metric.on.items():
                held = sorted(set(strata[field].tolist())) if field in strata else []
                key = f"metrics[{index}].on.{field}"
                if field not in strata:
                    hint = did_you_mean(field, strata)
                    problems.append(Problem(str(rubric.file), key, "the samples have no such field", hint=hint))
                problems += [
                    Problem(
                        str(rubric.file),
                        key,
                        "an empty stratum: no sample has this value",
                        value=repr(value),
                        expected="one of: " + ", ".join(held[:12]) + (", …" if held[12:] else ""),
                    )
                    for value in values
                    if held and value not in held
                ]
    return problems


def _overlapping(shared: Sequence[str], count: int, key: str, workload: str, file: Path) -> Problem:
    some = ", ".join(shared[:5]) + (", …" if len(shared) > 5 else "")
    return Problem(
        str(file),
        f"{key}.source",
        f"{len(shared)} of {count} calibration samples are also in the test set of workload {workload!r}",
        value=f"ids {some}",
        expected="calibration samples that are never scored",
        hint="calibrate on another split, or say allow_overlap = true: no result on it is decision-grade then",
    )


def rubric_problems(rubrics: Iterable[Declared[Rubric]]) -> list[Problem]:
    """Unknown metrics, wrong directions and the like: what only `scoring` can know."""
    return [Problem(str(one.file), *finding) for one in rubrics for finding in check_rubric(one.spec)]
