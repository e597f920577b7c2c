"""What recipes write is what independent implementations compute, on random weights."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import save
from transformers import BertConfig, BertModel

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.recipes.conversations import conversations, make
from lynxbench.fetching.recipes.efficientnet import efficientnet
from lynxbench.fetching.recipes.magika import features
from lynxbench.fetching.recipes.minilm import bert
from lynxbench.fetching.recipes.speech import NEW_SAMPLES, WINDOWS, tags_of, windows_of
from lynxbench.fetching.recipes.stamp_labels import CLASSES, DRAWN
from lynxbench.fetching.recipes.stamps import FOLDER, on_white
from lynxbench.fetching.recipes.stamps import make as make_stamps
from lynxbench.fetching.weights import read_safetensors
from tests.fetching.packages import deb, tar, wheel
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


def _same(x: torch.Tensor, weight: torch.Tensor, stride: int, groups: int) -> torch.Tensor:
    """A convolution with TensorFlow's padding, by the formula of its documentation."""
    kernel, size = weight.shape[-1], x.shape[-1]
    total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
    padded = torch.nn.functional.pad(x, (total // 2, total - total // 2) * 2)
    return torch.nn.functional.conv2d(padded, weight, stride=stride, groups=groups)


def test_efficientnet_is_that_of_torch(tmp_path: Path) -> None:
    """Stem, a block that does not widen, one that steps by two, one with a way around it, and the head."""
    blocks = ((False, 1), (True, 2), (True, 1))
    torch.manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def convolution(key: str, norm: str, *shape: int) -> None:
        tensors[f"{key}.weight"] = torch.randn(shape) / np.sqrt(np.prod(shape[1:]))
        tensors[f"{norm}.weight"], tensors[f"{norm}.running_var"] = torch.rand(2, shape[0]) + 0.5
        tensors[f"{norm}.bias"], tensors[f"{norm}.running_mean"] = torch.randn(2, shape[0]) / 3

    convolution("_conv_stem", "_bn0", 4, 3, 3, 3)
    for number, (wide, kernel, out) in enumerate(((4, 3, 4), (12, 5, 6), (18, 3, 6))):
        key = f"_blocks.{number}"
        if number:
            convolution(f"{key}._expand_conv", f"{key}._bn0", wide, wide // 3, 1, 1)
        convolution(f"{key}._depthwise_conv", f"{key}._bn1", wide, 1, kernel, kernel)
        convolution(f"{key}._project_conv", f"{key}._bn2", out, wide, 1, 1)
    convolution("_conv_head", "_bn1", 10, 6, 1, 1)
    tensors["_fc.weight"], tensors["_fc.bias"] = torch.randn(7, 10), torch.randn(7)

    def applied(x: torch.Tensor, key: str, norm: str, stride: int = 1, *, depthwise: bool = False) -> torch.Tensor:
        weight = tensors[f"{key}.weight"]
        x = _same(x, weight, stride, len(weight) if depthwise else 1)
        parts = (tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return torch.nn.functional.batch_norm(x, *parts, eps=1e-3)

    relu6 = torch.nn.functional.relu6
    images = torch.randn(2, 3, 224, 224)
    x = relu6(applied(images, "_conv_stem", "_bn0", 2))
    for number, (widens, stride) in enumerate(blocks):
        key, before = f"_blocks.{number}", x
        if widens:
            x = relu6(applied(x, f"{key}._expand_conv", f"{key}._bn0"))
        x = relu6(applied(x, f"{key}._depthwise_conv", f"{key}._bn1", stride, depthwise=True))
        x = applied(x, f"{key}._project_conv", f"{key}._bn2")
        x = x + before if x.shape == before.shape else x
    x = relu6(applied(x, "_conv_head", "_bn1")).mean(dim=(2, 3))
    wanted = (x @ tensors["_fc.weight"].T + tensors["_fc.bias"]).numpy()

    read = {key: value.numpy() for key, value in tensors.items()}
    onnx.save(efficientnet(read, blocks), tmp_path / "net.onnx")
    with opened(tmp_path / "net.onnx") as executor:
        bound = executor.bind({"input": images.numpy()})
        bound.call()
        np.testing.assert_allclose(bound.outputs["logits"], wanted, atol=2e-5)
    with pytest.raises(UntrustedInput, match="not those of EfficientNet-Lite0"):
        efficientnet({key: value for key, value in read.items() if "_blocks.1." not in key}, blocks)


def _stamp(size: tuple[int, int], colour: tuple[int, int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", size, colour).save(file, "PNG")
    return file.getvalue()


def test_stamps_on_white_and_their_labels(tmp_path: Path) -> None:
    asked = {stamp for _, stamps in CLASSES.values() for stamp in stamps.split()}
    assert len(asked) == sum(len(stamps.split()) for _, stamps in CLASSES.values())
    assert DRAWN <= asked
    assert all(0 <= number < 1000 for number in CLASSES)
    others = ["animals/mammals/giraffe", "military/vehicles/bradley_mirror", "animals/birds/cartoon/bird", "symbols/a"]
    files = {f"./{FOLDER}{stamp}.png": _stamp((20, 10), (200, 0, 0, 255)) for stamp in [*asked, *others]}
    path = deb(tmp_path / "stamps.deb", tar(files))
    make_stamps({"tuxpaint-stamps-default": path}, tmp_path)
    test, kept = (np.load(tmp_path / f"stamps-{name}.npz") for name in ("test", "calibration"))
    assert set(test["ids"]) == asked
    assert kept["ids"].tolist() == ["animals/mammals/giraffe"]
    by = dict(zip(test["ids"].tolist(), zip(test["labels"], test["look"], test["subject"], strict=True), strict=True))
    assert by["animals/birds/hen"] == (8, "photo", "animals")
    assert by["food/fruit/cartoon/lemon"] == (951, "drawing", "food")
    assert by["town/roadsigns/stop"] == (919, "drawing", "town")
    # Wider than high: white above and below, and none beside it.
    (image,) = kept["images"]
    assert (image[:50] == 255).all()
    assert (image[70:150] == (200, 0, 0)).all()
    # What is seen through is white.
    seen_through = on_white(_stamp((30, 30), (0, 0, 0, 0)), "x")
    assert (seen_through.shape, int(seen_through.min())) == ((224, 224, 3), 255)
    with pytest.raises(UntrustedInput, match=r"x\.png is no sound picture"):
        on_white(b"GIF89a", "x")
    with pytest.raises(UntrustedInput, match=r"it has no animals/.*nothing of it was used"):
        make_stamps({"tuxpaint-stamps-default": deb(tmp_path / "none.deb", tar({}))}, tmp_path)


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
