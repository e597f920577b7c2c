"""GGUF files are read as their own library reads them, and the decoder written from one is that of Transformers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.gguf import GGUF, read_gguf
from lynxbench.fetching.recipes.chains import EXAMPLES, answer, write_chains
from lynxbench.fetching.recipes.smollm2 import llama, tokenizer
from tests.tasks.models import opened

Kind = gguf.GGMLQuantizationType
CONFIG: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "tie_word_embeddings": True,
}  # fmt: skip


def written(path: Path, tensors: dict[str, tuple[np.ndarray, Any]], **facts: object) -> bytes:
    """A file by the library, of tensors and the type that each is kept in."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in facts.items():
        name = key.replace("__", ".")
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_string(name, str(value))
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path.read_bytes()


def test_tensors_are_those_of_the_library(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kinds = {"f32": Kind.F32, "f16": Kind.F16, "q4_1": Kind.Q4_1, "q8_0": Kind.Q8_0}
    tensors = {name: (random.normal(0, 3, (5, 64)).astype(np.float32), kind) for name, kind in kinds.items()}
    content = written(tmp_path / "x.gguf", tensors, some__text="æ", some__list=["a", "b"], some__numbers=[1, -2], x__half=0.5)
    read = read_gguf(content, "x.gguf")
    wanted = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors
    }
    assert read.tensors.keys() == wanted.keys() == kinds.keys()
    for name, values in wanted.items():
        assert read.tensors[name].shape == (5, 64)
        np.testing.assert_array_equal(read.tensors[name], values.reshape(5, 64))
    assert (read.facts["some.text"], read.facts["some.list"], read.facts["some.numbers"]) == ("æ", ["a", "b"], [1, -2])
    assert (read.facts["general.architecture"], read.facts["x.half"]) == ("llama", 0.5)


def test_files_that_lie(tmp_path: Path) -> None:
    weights = np.zeros((2, 32), dtype=np.float32)
    content = written(tmp_path / "x.gguf", {"a": (weights, Kind.Q8_0)}, some__text="a value")
    length = content.index(b"a value") - 8
    bad = [
        b"",
        b"GGML" + content[4:],
        content[:4] + struct.pack("<I", 9) + content[8:],
        content[:8] + struct.pack("<Q", 1 << 60) + content[16:],
        content[:length] + struct.pack("<Q", 1 << 60) + content[length + 8 :],
        content[: len(content) // 2],
        content[:-60],
        # Blocks of another kind than those that are read.
        written(tmp_path / "y.gguf", {"a": (weights, Kind.Q4_0)}),
    ]
    for whole in bad:
        with pytest.raises(UntrustedInput, match=r"x\.gguf: it is no sound GGUF file: .*; nothing of it was used"):
            read_gguf(whole, "x.gguf")


# What llama.cpp calls the tensors of Hugging Face's Llama.
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def _of(network: Any) -> GGUF:
    """Its tensors in llama.cpp's names and order of queries and keys (`permute` in convert_hf_to_gguf.py)."""
    tensors = {}
    for name, value in network.state_dict().items():
        if name.startswith("model.layers."):
            _, _, layer, *middle, _ = name.split(".")
            kind = NAMES[".".join(middle)]
            heads = CONFIG["num_attention_heads" if kind == "attn_q" else "num_key_value_heads"]
            if kind in {"attn_q", "attn_k"}:
                value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            tensors[f"blk.{layer}.{kind}.weight"] = value.numpy()
    tensors["token_embd.weight"] = network.model.embed_tokens.weight.detach().numpy()
    tensors["output_norm.weight"] = network.model.norm.weight.detach().numpy()
    facts = {
        "general.architecture": "llama", "llama.embedding_length": CONFIG["hidden_size"],
        "llama.block_count": CONFIG["num_hidden_layers"], "llama.attention.head_count": CONFIG["num_attention_heads"],
        "llama.attention.head_count_kv": CONFIG["num_key_value_heads"], "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": CONFIG["rms_norm_eps"],
    }  # fmt: skip
    return GGUF(facts, tensors)


def test_the_decoder_is_that_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**CONFIG, initializer_range=0.4)).eval()
    for name, value in network.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(value, 0.5, 1.5)
    read = _of(network)
    onnx.save(llama(read), tmp_path / "llama.onnx")
    random = np.random.default_rng(0)
    ids, mask = random.integers(0, 50, (3, 9)), np.ones((3, 9), dtype=np.int64)
    mask[1, :4] = 0  # filled up on the left
    places = np.maximum(mask.cumsum(axis=1) - 1, 0)
    with torch.no_grad():
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        wanted = network(**{name: torch.tensor(values) for name, values in given.items()}).logits[:, -1:].numpy()
    cache = {
        f"past_key_values.{layer}.{what}": np.zeros((3, 2, 0, 4), dtype=np.float32)
        for layer in range(2)
        for what in ("key", "value")
    }
    with opened(tmp_path / "llama.onnx") as executor:
        # All at once, in two parts, and the last token alone.
        for cuts in ((9,), (5, 9), (8, 9)):
            held, begin = cache, 0
            for end in cuts:
                found = executor.run(
                    {
                        "input_ids": ids[:, begin:end],
                        "attention_mask": mask[:, :end],
                        "position_ids": places[:, begin:end],
                        **held,
                    }
                )
                held = {name.replace("present", "past_key_values"): v for name, v in found.items() if name != "logits"}
                begin = end
            assert found["logits"].shape == (3, 1, 50)
            np.testing.assert_allclose(found["logits"], wanted, atol=5e-5)
    with pytest.raises(UntrustedInput, match="a Llama decoder was expected, not qwen2"):
        llama(GGUF({**read.facts, "general.architecture": "qwen2"}, read.tensors))


def test_the_tokenizer_splits_as_the_library_would(tmp_path: Path) -> None:
    """The same pieces put together by the library's own constructors."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["Ġ t", "h e", "Ġt he", "1 2", "Ġ +"]
    tokens = ["<|end|>", *alphabet, *(merge.replace(" ", "") for merge in merges)]
    facts = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] + [1] * (len(tokens) - 1), "tokenizer.ggml.merges": merges,
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer(facts)))
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    bpe = models.BPE({token: number for number, token in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges])
    theirs = Tokenizer(bpe)
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(["<|end|>"])
    for text in ("12 + 7 =", " the 120 thé\n<|end|>x", "a  b"):
        assert ours.encode(text).tokens == theirs.encode(text).tokens
        assert ours.decode(ours.encode(text).ids) == text.replace("<|end|>", "")
    # Digits stay alone, whatever may be merged.
    assert ours.encode("12 +").tokens == ["1", "2", "Ġ+"]
    with pytest.raises(UntrustedInput, match="SmolLM's tokenizer was expected, not llama-bpe"):
        tokenizer({**facts, "tokenizer.ggml.pre": "llama-bpe"})


def test_chains_are_right_and_not_shown_before(tmp_path: Path) -> None:
    write_chains(tmp_path)
    rows = {
        name: [json.loads(line) for line in (tmp_path / f"chains-{name}.jsonl").read_text().splitlines()]
        for name in ("test", "calibration")
    }
    asked, kept = ({row["id"] for row in rows[name]} for name in ("test", "calibration"))
    assert (len(asked), len(kept), asked & kept) == (200, 128, set())
    assert {f"{start}+{addend}" for start, addend in EXAMPLES}.isdisjoint(asked | kept)
    assert answer(7, 8) == " 15; 15 + 8 = 23; 23 + 8 = 31; 31 + 8 = 39"
    for row in rows["test"]:
        question = row["prompt"].splitlines()[-1]
        chain = (question + row["target"]).split(";")
        for step, following in zip(chain, [*chain[1:], None], strict=True):
            sum_, _, result = step.partition("=")
            first, second = map(int, sum_.split("+"))
            assert first + second == int(result)
            assert following is None or int(following.split("+")[0]) == int(result)
        assert len(chain) == 4
        assert row["prompt"].count("\n") == len(EXAMPLES)
