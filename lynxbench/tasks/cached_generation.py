"""Greedy generation by a decoder with a cache of keys and values: the prompt once, then one token a step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, Feed, Runner, TensorInfo
from lynxbench.tasks.texts import ATTENTION_MASK, INPUT_IDS, POSITION_IDS, declared_text, encoded, tokenizer_of

NAME = "generation"
# What Hugging Face's exporters call the cache: past_key_values.0.key goes in, present.0.key comes out.
PAST, PRESENT = "past_key_values.", "present."


def has_cache(tensors: Sequence[TensorInfo]) -> bool:
    """Whether a model with these inputs takes a cache."""
    return any(tensor.name.startswith(PAST) for tensor in tensors)


def prompt_feed(prompts: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
    """Prompts with an empty cache, filled up on the left: every prompt ends where the answer begins."""
    encodings = encoded(prompts.tolist(), model, tuple(t for t in tensors if not t.name.startswith(PAST)), NAME)
    ids = np.asarray([item.ids for item in encodings], dtype=np.int64)
    mask = np.asarray([item.attention_mask for item in encodings], dtype=np.int64)
    for row, length in enumerate(mask.sum(axis=1)):
        ids[row], mask[row] = np.roll(ids[row], -length), np.roll(mask[row], -length)
    given = {INPUT_IDS: ids, ATTENTION_MASK: mask, POSITION_IDS: _positions(mask)}
    feed: Feed = {}
    for tensor in tensors:
        if tensor.name.startswith(PAST):
            shape = (len(ids), *(0 if size is None else size for size in tensor.shape[1:]))
            feed[tensor.name] = np.zeros(shape, dtype=tensor.dtype)
        elif tensor.name in given:
            feed[tensor.name] = given[tensor.name].astype(tensor.dtype)
        else:
            raise CellError(
                "unsupported", f"task {NAME} feeds {', '.join(given)} and a cache; the model takes {tensor.name}"
            )
    return {ATTENTION_MASK: mask, **feed}


class CachedQuery:
    """One query: prompts in place → the whole answer. Takes down when the first and the last token came."""

    def __init__(self, runner: Runner, feed: Feed, model: Model) -> None:
        declared = model.decoding
        if declared is None:
            raise CellError("unsupported", f"model {model.name} declares no [models.decoding], which a cache needs")
        self._tokenizer = tokenizer_of(declared_text(model, NAME).tokenizer)
        self._most = declared.max_new_tokens
        self._stops = [_one_token(self._tokenizer, stop) for stop in declared.stop]
        self._types = {tensor.name: tensor.dtype for tensor in runner.inputs}
        outputs = [output.name for output in runner.outputs]
        carried = {PRESENT + name.removeprefix(PAST): name for name in self._types if name.startswith(PAST)}
        absent = sorted(carried.keys() - set(outputs))
        if absent:
            raise CellError("unsupported", f"the model takes {carried[absent[0]]} and gives no {absent[0]}")
        self._logits = next(name for name in outputs if name not in carried)
        self._stepper = runner.stepper(carried)
        self._feed: Feed = {}
        self._tokens: npt.NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
        self._failed = np.zeros(0, dtype=np.bool_)
        self._times: list[tuple[int, int, int]] = []
        self.load(feed)
        self.run()
        self._times.clear()

    def load(self, feed: Feed) -> None:
        self._feed = {name: np.array(values) for name, values in feed.items()}

    def run(self) -> None:
        begun = time.perf_counter_ns()
        mask = self._feed[ATTENTION_MASK]
        rows = len(mask)
        self._stepper.reset({name: array for name, array in self._feed.items() if name.startswith(PAST)})
        given: dict[str, Array] = {
            INPUT_IDS: self._feed[INPUT_IDS],
            ATTENTION_MASK: mask,
            POSITION_IDS: _positions(mask),
        }
        tokens = np.full((rows, self._most), -1, dtype=np.int64)
        done, self._failed = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
        first, column = begun, 0
        while True:
            scores = self._step(given)[:, -1]
            chosen = scores.argmax(axis=1)
            # argmax returns the first NaN's place, so looking at the winner finds any NaN in the row.
            self._failed |= ~np.isfinite(scores[np.arange(rows), chosen]) & ~done
            tokens[:, column] = np.where(done, -1, chosen)
            first = time.perf_counter_ns() if column == 0 else first
            done |= np.isin(chosen, self._stops)
            column += 1
            if column == self._most or done.all():
                break
            mask = np.concatenate([mask, np.ones((rows, 1), dtype=mask.dtype)], axis=1)
            given = {INPUT_IDS: chosen[:, None], ATTENTION_MASK: mask, POSITION_IDS: _positions(mask)[:, -1:]}
        self._tokens = tokens
        self._times.append((first - begun, time.perf_counter_ns() - first, column))

    def _step(self, given: Mapping[str, Array]) -> npt.NDArray[np.float32]:
        wanted = {
            name: array.astype(self._types[name], copy=False) for name, array in given.items() if name in self._types
        }
        logits = self._stepper.step(wanted)[self._logits]
        if logits.ndim != 3 or len(logits) != len(given[INPUT_IDS]):
            raise CellError(
                "failed", f"task {NAME} expects logits [batch, length, vocabulary]; got {list(logits.shape)}"
            )
        return logits.astype(np.float32, copy=False)

    def answer(self) -> dict[str, Array]:
        texts = []
        for row in self._tokens.tolist():
            kept = [token for token in row if token >= 0 and token not in self._stops]
            texts.append(self._tokenizer.decode(kept, skip_special_tokens=True))
        # A fixed width, so that batches can be put together; a token is rarely longer than this.
        return {"text": np.asarray(texts, dtype=f"<U{16 * self._most}"), "failed": self._failed.copy()}

    def take_token_times(self) -> list[tuple[int, int, int]]:
        """Of each run since the last call: ns to the first token, ns from there to the last, and how many tokens."""
        taken, self._times = self._times, []
        return taken


def _positions(mask: Array) -> Array:
    """[b, l]: the place of each token among those that count; 0 for what fills up."""
    return np.maximum(np.cumsum(mask.astype(np.int64), axis=1) - 1, 0)


def _one_token(tokenizer: object, text: str) -> int:
    found = tokenizer.token_to_id(text)  # type: ignore[attr-defined]
    if found is None:
        ids = tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
        if len(ids) != 1:
            raise CellError("unsupported", f"stop {text!r} is {len(ids)} tokens; it has to be one")
        found = ids[0]
    return int(found)
