"""Likelihoods by a decoder's logits: how well it foresees a text, or which of several options it finds likeliest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo
from lynxbench.tasks.texts import ATTENTION_MASK, INPUT_IDS, encoded, feed_of

MODELLING, CHOICE = "language-modelling", "multiple-choice"
SCORED = "lynxbench.scored"


class LanguageModelling:
    """The model maps token ids to logits [batch, length, vocabulary]; every token but the first is foreseen."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        feed = feed_of(encoded(inputs.tolist(), model, tensors, MODELLING), tensors, MODELLING)
        return {**feed, SCORED: feed[ATTENTION_MASK].astype(np.bool_)}

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return LikelihoodQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        sums = answers["log_likelihood"].astype(np.float64)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=~np.isfinite(sums),
            log_likelihoods=sums,
            token_counts=answers["tokens"].astype(np.int64),
        )


class MultipleChoice:
    """Each option is scored after its prompt, one run an option: a timed query is one option, not one question."""

    def inputs(self, samples: Samples) -> Column:
        options = samples.options
        if options is None:
            raise CellError("unsupported", f"task {CHOICE} needs options, and the samples have none")
        prompts = np.broadcast_to(samples.inputs[:, None], options.shape)
        return np.stack([prompts.reshape(-1), options.reshape(-1)], axis=1)

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        pairs = inputs.tolist()
        encodings = encoded([prompt + option for prompt, option in pairs], model, tensors, CHOICE)
        feed = feed_of(encodings, tensors, CHOICE)
        scored = feed[ATTENTION_MASK].astype(np.bool_)
        for row, (item, (prompt, _)) in enumerate(zip(encodings, pairs, strict=True)):
            for position, (_, end) in enumerate(item.offsets):
                # A token that lies in the prompt to its end is given, not foreseen.
                if end <= len(prompt):
                    scored[row, position] = False
        return {**feed, SCORED: scored}

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return LikelihoodQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        options = samples.options
        if options is None:
            raise CellError("unsupported", f"task {CHOICE} needs options, and the samples have none")
        scores = answers["log_likelihood"].reshape(options.shape).astype(np.float32)
        lengths = np.char.str_len(options.astype(np.str_)).astype(np.int64)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=np.asarray(~np.isfinite(np.where(lengths > 0, scores, 0.0)).all(axis=1), dtype=np.bool_),
            labels=samples.labels,
            option_scores=scores,
            option_lengths=lengths,
        )


class LikelihoodQuery(BoundQuery):
    """A query that answers with the summed log-likelihood of the scored tokens, in nats, and how many they are."""

    def __init__(self, runner: Runner, feed: Feed) -> None:
        super().__init__(runner, feed)
        self._ids, self._scored = np.array(feed[INPUT_IDS]), np.array(feed[SCORED])

    def load(self, feed: Feed) -> None:
        super().load(feed)
        np.copyto(self._ids, feed[INPUT_IDS])
        np.copyto(self._scored, feed[SCORED])

    def answer(self) -> dict[str, Array]:
        logits = next(iter(super().answer().values()))
        if logits.ndim != 3 or logits.shape[:2] != self._ids.shape:
            found = f"{logits.dtype} {list(logits.shape)}"
            raise CellError("failed", f"expected logits [batch, length, vocabulary]; the model gave {found}")
        before, following = logits[:, :-1].astype(np.float64), self._ids[:, 1:]
        largest = before.max(axis=2, keepdims=True)
        normal = np.log(np.exp(before - largest).sum(axis=2)) + largest[:, :, 0]
        each = np.take_along_axis(before, following[:, :, None].astype(np.int64), axis=2)[:, :, 0] - normal
        scored = self._scored[:, 1:]
        return {"log_likelihood": np.where(scored, each, 0.0).sum(axis=1), "tokens": scored.sum(axis=1)}
