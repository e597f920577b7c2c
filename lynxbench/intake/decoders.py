"""Decoders of Hugging Face Transformers, with their cache of keys and values as inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lynxbench.intake.source import Array, Asked, Feed, wrong
from lynxbench.intake.torch import LEAST_BATCH, write

# Names as Hugging Face's own exporters give them; the task `generation` knows a cache by them.
_GIVEN = ("input_ids", "attention_mask", "position_ids")
_LOGITS = "logits"
# So that both what is cached and what is new are at least two tokens: one would be taken for a constant.
_LEAST_TOKENS = 4

Answers = Callable[[Feed], Mapping[str, Array]]


def export_decoder(
    torch: Any, transformers: Any, model: Any, encoded: Feed, asked: Asked
) -> tuple[list[Feed], Answers]:
    """Write `input_ids` [b, s], `attention_mask` [b, p + s], `position_ids` [b, s] and `past_key_values.N.key|value`
    [b, heads, p, width] → `logits` [b, s, vocabulary] and `present.N.key|value` [b, heads, p + s, width].

    `encoded`: prompts filled up on the left. Returns feeds to compare on (whole prompts, several tokens on a cache, one
    token on a cache), and the logits that the model gives for each *without* a cache. Raises `DeclarationError` for a
    model whose cache is of another kind (a sliding window, a state).
    """
    length = encoded["attention_mask"].shape[1]
    encoded = {
        name: np.concatenate([values] * (LEAST_BATCH if len(values) == 1 else 1)) for name, values in encoded.items()
    }
    if length < _LEAST_TOKENS:
        raise wrong(asked.source, f"its prompts have {length} tokens, too few to compare with", hint="longer --data")
    module = _Cached(torch, transformers, model)
    try:
        with torch.no_grad():
            # What only fills up has no right answer, so where several places are compared all count as text.
            full = {**encoded, "attention_mask": np.ones_like(encoded["attention_mask"])}
            whole = _feed(full, {}, 0, length)
            some = _feed(full, _cache(torch, module, full, length // 2), length // 2, length)
            last = _feed(encoded, _cache(torch, module, encoded, length - 1), length - 1, length)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        text = " ".join(str(error).split())[:200]
        raise wrong(
            asked.source, f"keeps no plain cache of keys and values: {text}", "a full-attention decoder"
        ) from None
    names = list(some)
    empty = {name: np.zeros((*some[name].shape[:2], 0, some[name].shape[3]), some[name].dtype) for name in names[3:]}
    free = [{0: "batch", 1: "length"}, {0: "batch", 1: "total"}, {0: "batch", 1: "length"}]
    free += [{0: "batch", 2: "cached"}] * len(empty)
    outputs = [_LOGITS, *(name.replace("past_key_values", "present") for name in empty)]
    examples = [torch.from_numpy(np.ascontiguousarray(some[name])) for name in names]
    write(torch, module, examples, names, asked, dynamic=free, outputs=outputs, related=True)

    def answers(feed: Feed) -> Mapping[str, Array]:
        rows, asked_for = feed["attention_mask"], feed["input_ids"].shape[1]
        with torch.no_grad():
            given = {
                "input_ids": torch.from_numpy(np.asarray(encoded["input_ids"][:, : rows.shape[1]])),
                "attention_mask": torch.from_numpy(np.asarray(rows)),
                "position_ids": torch.from_numpy(_positions(rows)),
            }
            found = model(**given, use_cache=False).logits.numpy()
        return {_LOGITS: found[:, -asked_for:]}

    return [{**whole, **empty}, some, last], answers


def _Cached(torch: Any, transformers: Any, model: Any) -> Any:  # noqa: N802 - makes a module
    """The model as a module from plain tensors to plain tensors, its cache among them."""

    class Cached(torch.nn.Module):  # type: ignore[misc]
        takes_any_number = True

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            cache = transformers.DynamicCache()
            past = tensors[len(_GIVEN) :]
            for layer in range(len(past) // 2):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
            found = self.model(**dict(zip(_GIVEN, tensors, strict=False)), past_key_values=cache, use_cache=True)
            grown = [tensor for layer in found.past_key_values.layers for tensor in (layer.keys, layer.values)]
            return (found.logits, *grown)

    return Cached()


def _cache(torch: Any, module: Any, encoded: Feed, length: int) -> Feed:
    """The keys and values of the first `length` tokens, by the names of inputs."""
    given = _feed(encoded, {}, 0, length)
    _, *grown = module(*(torch.from_numpy(np.ascontiguousarray(given[name])) for name in _GIVEN))
    return {
        f"past_key_values.{place // 2}.{'value' if place % 2 else 'key'}": tensor.numpy()
        for place, tensor in enumerate(grown)
    }


def _feed(encoded: Feed, cache: Feed, start: int, end: int) -> Feed:
    """Tokens `start` to `end` on the cache of those before."""
    mask = encoded["attention_mask"][:, :end]
    given = (encoded["input_ids"][:, start:end], mask, _positions(mask)[:, start:])
    return {**dict(zip(_GIVEN, given, strict=True)), **cache}


def _positions(mask: Array) -> Any:
    """[b, l]: the place of each token among those that count; 0 for what fills up."""
    return np.maximum(np.cumsum(mask.astype(np.int64), axis=1) - 1, 0)
