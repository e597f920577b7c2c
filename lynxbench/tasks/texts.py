"""What the tasks on texts share: texts to token ids, by the model's own tokenizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lynxbench.datasets.predictions import Column
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model, TextInput
from lynxbench.tasks.base import Feed, TensorInfo

# The names that Hugging Face's exporters give to inputs. Entries of a feed that are no input of the model are for the
# query alone.
INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS, POSITION_IDS = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
)


def declared_text(model: Model, task: str) -> TextInput:
    """The model's `text` table; raises `CellError` when it has none."""
    if model.text is None:
        raise CellError("unsupported", f"model {model.name} declares no [models.text] table, which task {task} needs")
    return model.text


def text_feed(inputs: Column, model: Model, tensors: tuple[TensorInfo, ...], task: str) -> Feed:
    """Texts [b] or pairs [b, 2] as the model's inputs; with the attention mask even where it wants none."""
    texts: list[Any] = [tuple(item) if isinstance(item, list) else item for item in inputs.tolist()]
    return feed_of(encoded(texts, model, tensors, task), tensors, task)


def encoded(
    texts: Sequence[Any], model: Model, tensors: tuple[TensorInfo, ...], task: str, *, words: bool = False
) -> list[Any]:
    """The tokenizer's encodings, all of one length; `words`: texts are lists of words already."""
    declared = declared_text(model, task)
    ids = next((tensor for tensor in tensors if tensor.name == INPUT_IDS), None)
    fixed = ids.shape[1] if ids is not None and len(ids.shape) == 2 else None
    longest = min(declared.max_length, fixed or declared.max_length)
    tokenizer = tokenizer_of(declared.tokenizer)
    tokenizer.enable_truncation(longest)
    filled_up = declared.padding == "max-length" or fixed is not None
    pad_id, pad_token = _padding(tokenizer)
    tokenizer.enable_padding(pad_id=pad_id, pad_token=pad_token, length=(fixed or longest) if filled_up else None)
    encodings: list[Any] = tokenizer.encode_batch(list(texts), is_pretokenized=words)
    return encodings


def feed_of(encodings: Sequence[Any], tensors: tuple[TensorInfo, ...], task: str) -> Feed:
    """Encodings as input tensors, by name; raises `CellError` for an input that no tokenizer gives."""
    given = {
        INPUT_IDS: [item.ids for item in encodings],
        ATTENTION_MASK: [item.attention_mask for item in encodings],
        TOKEN_TYPE_IDS: [item.type_ids for item in encodings],
        POSITION_IDS: [list(range(len(item.ids))) for item in encodings],
    }
    names = {tensor.name for tensor in tensors}
    strangers = sorted(names - given.keys())
    if strangers or INPUT_IDS not in names:
        raise CellError(
            "unsupported",
            f"task {task} feeds {', '.join(given)}; the model takes {', '.join(sorted(names)) or 'nothing'}",
        )
    feed: Feed = {tensor.name: np.asarray(given[tensor.name], dtype=tensor.dtype) for tensor in tensors}
    feed.setdefault(ATTENTION_MASK, np.asarray(given[ATTENTION_MASK], dtype=np.int64))
    return feed


@lru_cache(maxsize=4)
def tokenizer_of(path: str) -> Any:
    """The tokenizer in a file, read once a process. Raises `CellError` where there is no library for it."""
    # Its own threads would compete with what is measured, and warn when a process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise CellError("unavailable", "texts need a tokenizer: pip install 'lynxbench[text]'") from None
    return Tokenizer.from_file(path)


def _padding(tokenizer: Any) -> tuple[int, str]:
    """The padding token that the tokenizer declares, or that goes by a usual name; else its token 0."""
    declared = tokenizer.padding
    if declared is not None:
        return int(declared["pad_id"]), str(declared["pad_token"])
    for token in ("[PAD]", "<pad>", "<|endoftext|>", "</s>"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found), token
    return 0, str(tokenizer.id_to_token(0))
