"""A tiny tokenizer and tiny models on token ids, whose answers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.tasks.models import FLOAT, INT64, save

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij")
V = len(WORDS)
RANDOM = np.random.default_rng(3)
IDS = {"input_ids": (INT64, ["N", "L"])}
BOTH = {**IDS, "attention_mask": (INT64, ["N", "L"])}


def tokenizer(path: Path, *, special: bool = True) -> str:
    """One token a word, [CLS] … [SEP] around a text or a pair."""
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    made.save(str(path))
    return str(path)


def per_token(path: Path, table: np.ndarray, *, outputs: tuple[str, ...] = ("y",), mask: bool = False) -> Path:
    """Each token's row of `table` ([V, k]): [N, L, k]; with two outputs its two columns, [N, L] each."""
    inputs = BOTH if mask else IDS
    if len(outputs) == 1:
        nodes = [helper.make_node("Gather", ["table", "input_ids"], list(outputs))]
        return save(path, nodes, inputs, {outputs[0]: (FLOAT, ["N", "L", table.shape[1]])}, {"table": table})
    nodes = [helper.make_node("Gather", [f"table{n}", "input_ids"], [name]) for n, name in enumerate(outputs)]
    tables = {f"table{n}": np.ascontiguousarray(table[:, n]) for n in range(len(outputs))}
    return save(path, nodes, inputs, {name: (FLOAT, ["N", "L"]) for name in outputs}, tables)


def summed(path: Path, table: np.ndarray) -> Path:
    """The sum of the rows of all tokens that the attention mask lets through: [N, k]."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "length"], ["y"], keepdims=0),
    ]
    weights = {"table": table, "last": np.array([2]), "length": np.array([1])}
    return save(path, nodes, BOTH, {"y": (FLOAT, ["N", table.shape[1]])}, weights)


def random_table(columns: int) -> np.ndarray:
    return RANDOM.normal(size=(V, columns)).astype(np.float32)


def ids_of(text: str) -> list[int]:
    return [WORDS.index(word) if word in WORDS else 1 for word in text.split()]
