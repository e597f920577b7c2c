"""How samples become model runs and outputs become predictions: one module a task.

Imports `datasets`, `specs` and `errors`. Knows neither sessions nor clocks: a task is handed something that runs.
"""

from __future__ import annotations

from lynxbench.specs.rubric import TaskName
from lynxbench.tasks.base import Feed, Query, Runner, Task, TensorInfo, answer_all, batches

__all__ = ["Feed", "Query", "Runner", "Task", "TensorInfo", "answer_all", "batches", "get_task"]


def get_task(name: TaskName) -> Task:
    """The task of that name."""
    if name == "image-classification":
        from lynxbench.tasks.image_classification import ImageClassification

        return ImageClassification()
    if name == "image-retrieval":
        from lynxbench.tasks.image_retrieval import ImageRetrieval

        return ImageRetrieval()
    if name == "generation":
        from lynxbench.tasks.generation import Generation

        return Generation()
    from lynxbench.tasks.arrays import Classification, Regression

    return Classification() if name == "classification" else Regression()
