"""Greedy generation: by a decoder with a cache, or by one that runs the whole fixed-width sequence for each token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model, TextGeneration
from lynxbench.tasks.base import Array, Feed, Query, Runner, TensorInfo, only_input
from lynxbench.tasks.cached_generation import CachedQuery, has_cache, prompt_feed

NAME = "generation"


class Generation:
    """The model maps token ids [batch, length] to next-token logits [batch, length, vocabulary]; what else it takes and
    gives is a cache (see `cached_generation`).
    """

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        if has_cache(tensors):
            return prompt_feed(inputs, model, tensors)
        declared = declared_generation(model)
        ids = np.full((len(inputs), declared.prompt_length + declared.max_new_tokens), declared.pad_id, dtype=np.int64)
        for row, prompt in enumerate(inputs.tolist()):
            encoded = encode(str(prompt), declared)
            ids[row, : len(encoded)] = encoded
        tensor = only_input(tensors, NAME)
        return {tensor.name: ids.astype(tensor.dtype)}

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        if has_cache(runner.inputs):
            return CachedQuery(runner, feed, model)
        return GreedyQuery(runner, feed, declared_generation(model))

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=answers["failed"].astype(np.bool_),
            targets=samples.targets,
            texts=answers["text"],
        )


class GreedyQuery:
    """One query: prompts in place → the whole answer, token by token, every run with the same bound memory."""

    def __init__(self, runner: Runner, feed: Feed, declared: TextGeneration) -> None:
        self._bound = runner.bind(feed)
        self._ids = next(iter(self._bound.inputs.values()))
        self._logits = next(iter(self._bound.outputs.values()))
        if self._logits.ndim != 3 or self._logits.shape[:2] != self._ids.shape:
            raise CellError(
                "failed",
                f"task {NAME} expects logits [batch, length, vocabulary] for ids {list(self._ids.shape)}; "
                f"the model gave {list(self._logits.shape)}",
            )
        self._declared = declared
        self._stop = declared.vocabulary.index(declared.stop)
        self._rows = np.arange(len(self._ids))
        self._failed = np.zeros(len(self._ids), dtype=np.bool_)

    def load(self, feed: Feed) -> None:
        np.copyto(self._ids, next(iter(feed.values())))

    def run(self) -> None:
        first = self._declared.prompt_length
        # A query may be called again: what the last call wrote must not be seen.
        self._ids[:, first:] = self._declared.pad_id
        self._failed[:] = False
        done = np.zeros(len(self._ids), dtype=np.bool_)
        for position in range(first, first + self._declared.max_new_tokens):
            self._bound.call()
            scores = self._logits[:, position - 1]
            tokens = scores.argmax(axis=1)
            # argmax returns the first NaN's place, so looking at the winner finds any NaN in the row.
            self._failed |= ~np.isfinite(scores[self._rows, tokens]) & ~done
            self._ids[:, position] = np.where(done, self._declared.pad_id, tokens)
            done |= tokens == self._stop
            if done.all():
                break

    def answer(self) -> dict[str, Array]:
        texts = [decode(row, self._declared) for row in self._ids[:, self._declared.prompt_length :]]
        return {
            "text": np.asarray(texts, dtype=f"<U{self._declared.max_new_tokens}"),
            "failed": self._failed.copy(),
        }


def declared_generation(model: Model) -> TextGeneration:
    """The model's `generation` table; raises `CellError` when it has none."""
    if model.generation is None:
        raise CellError("unsupported", f"model {model.name} declares no [generation] table, which task {NAME} needs")
    return model.generation


def encode(prompt: str, declared: TextGeneration) -> list[int]:
    """Characters to token ids; raises `CellError` for a character outside the vocabulary or a prompt too long."""
    if len(prompt) > declared.prompt_length:
        raise CellError("failed", f"prompt {prompt!r} is longer than prompt_length {declared.prompt_length}")
    ids = [declared.vocabulary.find(character) for character in prompt]
    if -1 in ids:
        raise CellError("failed", f"prompt {prompt!r} holds a character outside the vocabulary {declared.vocabulary!r}")
    return ids


def decode(ids: Array, declared: TextGeneration) -> str:
    """Token ids to text, up to and including the stop character; ids outside the vocabulary read as U+FFFD."""
    text = ""
    for token in ids.tolist():
        if token == declared.pad_id:
            break
        text += declared.vocabulary[token] if token < len(declared.vocabulary) else "\ufffd"
        if text[-1] == declared.stop:
            break
    return text
