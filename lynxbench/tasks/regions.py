"""Where things are in an image: boxes (detection) or a class for each pixel (segmentation)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import BoxOutput, Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo
from lynxbench.tasks.images import image_feed

DETECTION, SEGMENTATION = "detection", "segmentation"
MOST_BOXES = 100  # an image, as COCO's evaluation keeps
NO_CLASS = 255


class Detection:
    """Outputs as the model's `boxes` table names them, after non-maximum suppression; the best 100 count."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, DETECTION)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return BoxQuery(runner, feed, model.boxes or BoxOutput())

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        boxes = answers["boxes"].astype(np.float32)
        height, width = samples.inputs.shape[1:3]
        pixels = np.where(answers["share"][:, None, None], boxes * _scale(width, height), boxes).astype(np.float32)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=answers["failed"].astype(np.bool_),
            detections=pixels,
            objects=samples.objects,
        )


class BoxQuery(BoundQuery):
    """A query that answers with boxes [batch, 100, 6]: x, y, width, height, class, score; NaN fills up."""

    def __init__(self, runner: Runner, feed: Feed, declared: BoxOutput) -> None:
        super().__init__(runner, feed)
        self._declared = declared

    def answer(self) -> dict[str, Array]:
        declared, given = self._declared, super().answer()
        wanted = [declared.boxes, declared.scores, *([declared.classes] if declared.classes else [])]
        absent = [name for name in wanted if name not in given]
        if absent:
            raise CellError(
                "failed", f"the model has no output {absent[0]} (it has {', '.join(given)}): see model.boxes"
            )
        boxes, scores = given[declared.boxes].astype(np.float64), given[declared.scores].astype(np.float64)
        if scores.ndim == 3:
            classes, scores = scores.argmax(axis=2), scores.max(axis=2)
        elif declared.classes is not None:
            classes = given[declared.classes]
        else:
            raise CellError(
                "failed", f"output {declared.scores} has one score a box, and no output says of which class"
            )
        if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.shape != boxes.shape[:2] or classes.shape != scores.shape:
            found = f"boxes {list(boxes.shape)}, scores {list(scores.shape)}, classes {list(classes.shape)}"
            raise CellError(
                "failed", f"task {DETECTION} expects boxes [batch, d, 4] and [batch, d] beside; got {found}"
            )
        failed = np.array(
            [not (np.isfinite(b).all() and np.isfinite(s).all()) for b, s in zip(boxes, scores, strict=True)]
        )
        kept = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), axis=1, kind="stable")[:, :MOST_BOXES]
        columns = [*np.moveaxis(_cornered(boxes, declared.format), 2, 0), classes - declared.first_class, scores]
        found_boxes = np.full((len(boxes), MOST_BOXES, 6), np.nan, dtype=np.float32)
        for index, column in enumerate(columns):
            found_boxes[:, : kept.shape[1], index] = np.take_along_axis(column, kept, axis=1)
        share = np.full(len(boxes), declared.unit == "share")
        return {"boxes": found_boxes, "share": share, "failed": failed}


def _cornered(boxes: npt.NDArray[np.float64], form: str) -> npt.NDArray[np.float64]:
    """[…, 4] to x, y, width, height, of the corner nearest to the origin."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if form == "xyxy":
        return np.concatenate([first, second - first], axis=-1)
    return np.concatenate([first - second / 2, second], axis=-1) if form == "cxcywh" else boxes


def _scale(width: int, height: int) -> npt.NDArray[np.float32]:
    return np.array([width, height, width, height, 1, 1], dtype=np.float32)


class Segmentation:
    """The model's first output is [batch, classes, height, width] of scores, or [batch, height, width] of classes."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, SEGMENTATION)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return PixelQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        masks, found = samples.masks, answers["classes"]
        if masks is None or masks.shape != found.shape:
            wanted = "none" if masks is None else list(masks.shape)
            raise CellError("failed", f"the model gave classes {list(found.shape)}, the test set has masks {wanted}")
        labelled = np.asarray(masks)
        classes = int(max(labelled[labelled != NO_CLASS].max(initial=0), answers["k"].max() - 1)) + 1
        pixels = np.zeros((len(samples), classes, 3), dtype=np.int64)
        for index in range(len(samples)):
            true, told = labelled[index].reshape(-1), found[index].reshape(-1)
            scored = true != NO_CLASS
            true, told = true[scored], told[scored]
            pixels[index, :, 0] = np.bincount(true[true == told], minlength=classes)
            pixels[index, :, 1] = np.bincount(told, minlength=classes)[:classes]
            pixels[index, :, 2] = np.bincount(true, minlength=classes)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=answers["failed"].astype(np.bool_),
            region_pixels=pixels,
        )


class PixelQuery(BoundQuery):
    """A query that answers with the likeliest class of each pixel, [batch, height, width] uint8."""

    def answer(self) -> dict[str, Array]:
        values = next(iter(super().answer().values()))
        if values.ndim == 4 and values.dtype.kind == "f":
            failed = np.asarray(~np.isfinite(values).all(axis=(1, 2, 3)), dtype=np.bool_)
            classes, k = values.argmax(axis=1), values.shape[1]
        elif values.ndim == 3 and values.dtype.kind in "iu":
            failed, classes, k = np.zeros(len(values), dtype=np.bool_), values, int(values.max(initial=0)) + 1
        else:
            found = f"{values.dtype} {list(values.shape)}"
            raise CellError(
                "failed", f"task {SEGMENTATION} expects scores [batch, classes, height, width]; got {found}"
            )
        if k >= NO_CLASS or int(classes.min(initial=0)) < 0:
            raise CellError("failed", f"classes are numbers from 0 to {NO_CLASS - 1}; the model gave others")
        return {"classes": classes.astype(np.uint8), "failed": failed, "k": np.full(len(values), k)}
