"""Reading and checking all that a suite measures on, before any work: every problem at once, each with file and key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lynxbench.datasets.picking import IMAGE_TASKS
from lynxbench.datasets.samples import Samples, calibration_samples, overlap, rubric_samples
from lynxbench.errors import DeclarationError, Problem
from lynxbench.execution import graph_inputs
from lynxbench.scoring import check_rubric
from lynxbench.specs.load import Declared, locate
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Model, Workload


@dataclass(frozen=True)
class ModelFile:
    """A model's ONNX file, found to be one."""

    path: Path
    sha256: str
    size_bytes: int


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
    for index, model in enumerate(resolved.suite.models):
        try:
            models[model.name] = _model_file(model, f"models[{index}]", resolved.file)
        except DeclarationError as error:
            problems.extend(error.problems)
    test_sets: dict[str, SampleSet] = {}
    calibrations: dict[tuple[str, str], CalibrationSet] = {}
    for workload in resolved.suite.workloads:
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
    problems.extend(_images_fit(resolved, models, test_sets))
    problems.extend(rubric_problems(resolved.rubrics.values()))
    if problems:
        raise DeclarationError(dict.fromkeys(problems))
    return Material(models, test_sets, calibrations)


def _model_file(model: Model, key: str, declared_in: Path) -> ModelFile:
    import onnx

    path = locate(model.path, declared_in)

    def wrong(message: str, **more: str) -> DeclarationError:
        return DeclarationError([Problem(str(declared_in), f"{key}.path", message, value=repr(model.path), **more)])

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if model.sha256 is not None and model.sha256 != sha256:
        raise DeclarationError(
            [
                Problem(
                    str(declared_in),
                    f"{key}.sha256",
                    "the file has another SHA-256",
                    value=sha256,
                    expected=model.sha256,
                )
            ]
        )
    try:
        loaded = onnx.load_from_string(content)
        if not loaded.graph.node or not loaded.opset_import:
            raise ValueError("it holds no graph")
        onnx.checker.check_model(str(path))
    except Exception as error:
        # onnx raises protobuf's, its checker's and plain errors alike; all mean the same to the user.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise wrong(
            f"is not a valid ONNX model: {first[:200]}", hint="check it with onnx.checker.check_model"
        ) from None
    return ModelFile(path, sha256, len(content))


def _images_fit(
    resolved: ResolvedSuite, models: Mapping[str, ModelFile], test_sets: Mapping[str, SampleSet]
) -> list[Problem]:
    """What `_image_fit` finds, over all workloads on images."""
    return [
        problem
        for workload in resolved.suite.workloads
        if workload.name in test_sets and resolved.rubrics[workload.name].spec.task in IMAGE_TASKS
        for name in workload.models
        if name in models
        for problem in _image_fit(resolved, workload, name, models[name].path, test_sets[workload.name])
    ]


def _image_fit(
    resolved: ResolvedSuite, workload: Workload, name: str, path: Path, test_set: SampleSet
) -> list[Problem]:
    """Images that the model cannot take: another size, other channels, a batch that it does not know."""
    index = next(i for i, model in enumerate(resolved.suite.models) if model.name == name)
    model = resolved.suite.models[index]
    key, file = f"models[{index}]", str(resolved.file)
    inputs = graph_inputs(path)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shown = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in inputs)
        return [
            Problem(file, f"{key}.path", "takes no batch of images", shown, expected="[batch, channels, height, width]")
        ]
    batch, *wanted = inputs[0].shape
    _, height, width, *rest = test_set.samples.inputs.shape
    held = [rest[0] if rest else 1, height, width]
    problems = []
    if any(size not in (None, there) for size, there in zip(wanted, held, strict=True)):
        problems.append(
            Problem(
                file,
                f"{key}.path",
                f"the images of workload {workload.name!r} do not fit the model",
                value=f"images of {'×'.join(map(str, held))} (channels, height, width)",
                expected="×".join("any" if size is None else str(size) for size in wanted),
                hint="resize the images, or export the model for their size",
            )
        )
    for field in ("mean", "std"):
        given = getattr(model.image, field) if model.image is not None else (0.0,)
        if len(given) not in (1, held[0]):
            problems.append(
                Problem(
                    file, f"{key}.image.{field}", "one value for each channel", str(given), f"1 or {held[0]} values"
                )
            )
    batches = {size for scenario in resolved.scenarios_of(workload) for size in scenario.batch_sizes}
    if any(scheme.needs_calibration for scheme in resolved.schemes_of(workload)):
        batches |= {calibration.batch_size for calibration in resolved.calibrations_of(workload)}
    if batch is not None and batches - {batch}:
        problems.append(
            Problem(
                file,
                f"{key}.path",
                f"the model's batch is fixed; workload {workload.name!r} needs others too",
                value=str(batch),
                expected=", ".join(map(str, sorted(batches))),
                hint="export it with a dynamic batch, or ask for that batch alone",
            )
        )
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
