"""A tiny decoder with a cache: one layer of attention, as an ONNX graph and as plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from tests.tasks.models import FLOAT, INT64, save
from tests.tasks.texts import V

D = 12
LEAST = -1e9


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"e": (V, D), "p": (64, D), "wq": (D, D), "wk": (D, D), "wv": (D, D), "wo": (D, V)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def decoder(path: Path, w: dict[str, np.ndarray]) -> Path:
    """input_ids, attention_mask, position_ids and past → logits and present; keys before one's own place are seen."""
    node = helper.make_node
    nodes = [
        node("Gather", ["e", "input_ids"], ["words"]),
        node("Gather", ["p", "position_ids"], ["places"]),
        node("Add", ["words", "places"], ["x"]),
        node("MatMul", ["x", "wq"], ["q"]),
        node("MatMul", ["x", "wk"], ["k"]),
        node("MatMul", ["x", "wv"], ["v"]),
        node("Unsqueeze", ["k", "one"], ["k4"]),
        node("Unsqueeze", ["v", "one"], ["v4"]),
        node("Concat", ["past_key_values.0.key", "k4"], ["present.0.key"], axis=2),
        node("Concat", ["past_key_values.0.value", "v4"], ["present.0.value"], axis=2),
        node("Squeeze", ["present.0.key", "one"], ["keys"]),
        node("Squeeze", ["present.0.value", "one"], ["values"]),
        node("Transpose", ["keys"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["q", "turned"], ["raw"]),
        node("Div", ["raw", "root"], ["scores"]),
        # Causal: ones up to the diagonal, which lies as far right as the cache is long.
        node("Shape", ["scores"], ["size"]),
        node("ConstantOfShape", ["size"], ["ones"], value=helper.make_tensor("v", FLOAT, [1], [1.0])),
        node("Shape", ["past_key_values.0.key"], ["cached"], start=2, end=3),
        node("Squeeze", ["cached", "zero"], ["length"]),
        node("Trilu", ["ones", "length"], ["seen"], upper=0),
        node("Cast", ["attention_mask"], ["real"], to=FLOAT),
        node("Unsqueeze", ["real", "one"], ["mask"]),
        node("Mul", ["seen", "mask"], ["allowed"]),
        node("Sub", ["allowed", "full"], ["less"]),
        node("Mul", ["less", "huge"], ["bias"]),
        node("Add", ["scores", "bias"], ["masked"]),
        node("Softmax", ["masked"], ["shares"], axis=-1),
        node("MatMul", ["shares", "values"], ["mixed"]),
        node("Add", ["x", "mixed"], ["h"]),
        node("MatMul", ["h", "wo"], ["logits"]),
    ]
    constants = {
        "one": np.array([1]),
        "zero": np.array([0]),
        "root": np.array(np.sqrt(D), dtype=np.float32),
        "full": np.array(1, dtype=np.float32),
        "huge": np.array(-LEAST, dtype=np.float32),
    }
    cache = (FLOAT, ["N", 1, "P", D])
    inputs = {
        "input_ids": (INT64, ["N", "S"]),
        "attention_mask": (INT64, ["N", "T"]),
        "position_ids": (INT64, ["N", "S"]),
        "past_key_values.0.key": cache,
        "past_key_values.0.value": cache,
    }
    grown = (FLOAT, ["N", 1, "T", D])
    outputs = {"logits": (FLOAT, ["N", "S", V]), "present.0.key": grown, "present.0.value": grown}
    return save(path, nodes, inputs, outputs, {**constants, **w})


def logits_by_hand(ids: list[int], w: dict[str, np.ndarray]) -> np.ndarray:
    """Next-token logits after `ids`, all at once and without a cache."""
    x = w["e"][ids] + w["p"][: len(ids)]
    q, k, v = x @ w["wq"], x @ w["wk"], x @ w["wv"]
    scores = (q @ k.T / np.sqrt(D))[-1]
    shares = np.exp(scores - scores.max())
    return (x[-1] + (shares / shares.sum()) @ v) @ w["wo"]


def answer_by_hand(prompt: list[int], w: dict[str, np.ndarray], most: int, stops: set[int]) -> list[int]:
    """Greedy decoding, one prompt at a time; the stop itself is not part of the answer."""
    ids, answer = list(prompt), []
    while len(answer) < most:
        token = int(logits_by_hand(ids, w).argmax())
        ids.append(token)
        if token in stops:
            break
        answer.append(token)
    return answer
