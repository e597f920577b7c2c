"""How samples become model runs and outputs become predictions: one module a task.

Imports `datasets`, `specs` and `errors`. Knows neither sessions nor clocks: a task is handed something that runs.
"""

from __future__ import annotations

import importlib

from lynxbench.specs.rubric import TaskName
from lynxbench.tasks.base import (
    Feed,
    Query,
    Runner,
    Task,
    TensorInfo,
    answer_all,
    batches,
    first_feed,
    fixed_batch,
    own_inputs,
)
from lynxbench.tasks.cached_generation import CachedQuery

__all__ = [
    "CachedQuery",
    "Feed",
    "Query",
    "Runner",
    "Task",
    "TensorInfo",
    "answer_all",
    "batches",
    "first_feed",
    "fixed_batch",
    "get_task",
    "own_inputs",
]

_TASKS: dict[TaskName, str] = {
    "image-classification": "image_classification:ImageClassification",
    "image-retrieval": "retrieval:ImageRetrieval",
    "generation": "generation:Generation",
    "classification": "arrays:Classification",
    "frame-classification": "frames:FrameClassification",
    "regression": "arrays:Regression",
    "text-classification": "text_classification:TextClassification",
    "token-classification": "text_classification:TokenClassification",
    "text-retrieval": "retrieval:TextRetrieval",
    "question-answering": "question_answering:QuestionAnswering",
    "detection": "regions:Detection",
    "segmentation": "regions:Segmentation",
    "transcription": "transcription:Transcription",
    "language-modelling": "language:LanguageModelling",
    "multiple-choice": "language:MultipleChoice",
}


def get_task(name: TaskName) -> Task:
    """The task of that name."""
    module, _, found = _TASKS[name].partition(":")
    task: Task = getattr(importlib.import_module(f"lynxbench.tasks.{module}"), found)()
    return task
