"""What recipes write is what independent implementations compute, on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from safetensors.numpy import save
from transformers import BertConfig, BertModel

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.recipes.conversations import conversations, make
from lynxbench.fetching.recipes.magika import features
from lynxbench.fetching.recipes.minilm import bert
from lynxbench.fetching.recipes.speech import NEW_SAMPLES, WINDOWS, tags_of, windows_of
from lynxbench.fetching.weights import read_safetensors
from tests.fetching.packages import wheel
from tests.tasks.models import opened

CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "layer_norm_eps": 1e-12,
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


def test_bert_is_that_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = BertModel(BertConfig(**CONFIG, initializer_range=0.3), add_pooling_layer=False).eval()
    kept = {name: value.numpy() for name, value in network.state_dict().items() if value.dtype == torch.float32}
    read = read_safetensors(save(kept), "weights")
    assert read.keys() == kept.keys()
    onnx.save(bert(read, CONFIG), tmp_path / "bert.onnx")
    random = np.random.default_rng(0)
    ids, types = random.integers(0, 50, (3, 9)), random.integers(0, 2, (3, 9))
    mask = np.ones((3, 9), dtype=np.int64)
    mask[1, 5:] = 0
    given = [torch.tensor(array) for array in (ids, mask, types)]
    wanted = network(*given).last_hidden_state.detach().numpy()
    with opened(tmp_path / "bert.onnx") as executor:
        bound = executor.bind({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
        bound.call()
        found = bound.outputs["last_hidden_state"]
    np.testing.assert_allclose(found[mask > 0], wanted[mask > 0], atol=2e-5)
    with pytest.raises(UntrustedInput, match="a BERT encoder"):
        bert(read, {**CONFIG, "model_type": "t5"})


def test_safetensors_that_lie() -> None:
    good = save({"a": np.arange(4, dtype=np.float32)})
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])
    header["a"]["data_offsets"] = [0, 1000]
    text = json.dumps(header).encode()
    for bad in (
        b"",
        good[:20],
        (10**9).to_bytes(8, "little") + good[8:],
        len(text).to_bytes(8, "little") + text + good[-16:],
    ):
        with pytest.raises(UntrustedInput, match="no sound safetensors"):
            read_safetensors(bad, "weights")


TALKS = """categories:
- test
conversations:
- - 'What''s up, here and there?'
  - A long reply, which goes on
    in the next line
- - "Say \\"yes\\" now, please"
  - |
    Two lines
    of one text
  - Another reply that nobody asked for
- - What's up, here and there?
  - It comes again
"""


def test_conversations_are_read_as_yaml_reads_them() -> None:
    wanted = [[" ".join(line.split()) for line in lines] for lines in yaml.safe_load(TALKS)["conversations"]]
    assert [[" ".join(line.split()) for line in lines] for lines in conversations(TALKS)] == wanted


def test_no_text_for_calibration_is_asked(tmp_path: Path) -> None:
    talks = "conversations:\n" + "".join(
        f"- - question number {n} please\n  - reply number {n % 40} for you\n" for n in range(120)
    )
    path = wheel(tmp_path, "chatterbot", {"chatterbot_corpus/data/english/x.yml": talks.encode()})
    make({"chatterbot-corpus": path}, tmp_path)
    read = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("queries", "documents", "calibration")
    }
    asked = {row["text"] for name in ("queries", "documents") for row in read[name]}
    kept = {row["text"] for row in read["calibration"]}
    assert not asked & kept
    assert len(kept) > 10
    by_id = {row["id"]: row["text"] for row in read["documents"]}
    for row in read["queries"]:
        number = int(row["text"].split()[2])
        assert by_id[row["target_id"]] == f"reply number {number % 40} for you"


def test_what_magika_looks_at() -> None:
    short = features(b"  abc  ")
    assert short[:3].tolist() == [97, 98, 99]
    assert short[-3:].tolist() == [97, 98, 99]
    assert set(short[3:-3].tolist()) == {256}
    long = b" \n" + bytes(range(1, 251)) * 40 + b"\n\n"
    whole = features(long)
    assert bytes(whole[:1024].astype(np.uint8)) == long.lstrip()[:1024]
    assert bytes(whole[1024:].astype(np.uint8)) == long.rstrip()[-1024:]


def test_windows_and_their_labels() -> None:
    sound = np.zeros(WINDOWS * NEW_SAMPLES)
    sound[10 * NEW_SAMPLES : 20 * NEW_SAMPLES] = 0.5
    sound[30 * NEW_SAMPLES : 31 * NEW_SAMPLES] = 0.5 * 10 ** (-35 / 20)
    tags = tags_of(sound)
    assert np.flatnonzero(tags == 1).tolist() == list(range(10, 20))
    assert np.flatnonzero(tags == -1).tolist() == [30]
    windows = windows_of(sound)
    assert windows.shape == (WINDOWS, 576)
    np.testing.assert_array_equal(windows[20, :64], windows[19, -64:])
    np.testing.assert_array_equal(windows[:, 64:].reshape(-1), np.round(sound * 32768).astype(np.float32) / 32768)
