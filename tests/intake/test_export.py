"""Models of other frameworks become ONNX files that give the same answers, or none at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from lynxbench.errors import DeclarationError, LynxBenchError
from lynxbench.intake import export_model
from lynxbench.intake.parity import compare, run_onnx

MODELS = """
import numpy as np

def digits():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    images, labels = load_digits(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(images[:900], labels[:900])

def prices():
    from sklearn.ensemble import RandomForestRegressor
    inputs = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    return RandomForestRegressor(20, random_state=0).fit(inputs, inputs @ np.arange(5.0))

def unfitted():
    from sklearn.svm import SVC
    return SVC()

def net():
    import torch
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    )
    return module, (torch.randn(1, 1, 8, 8),)

def two_inputs():
    import torch
    class Both(torch.nn.Module):
        def forward(self, a, b):
            return {"sum": a + b, "product": a * b}
    return Both(), (torch.randn(4, 3), torch.randn(4, 3))

def moody():
    import torch
    class Moody(torch.nn.Module):
        def forward(self, x):
            # Constant at export, another each time it runs: what a parity check is for.
            return x * float(np.random.default_rng().uniform(1, 2))
    return Moody(), (torch.randn(4, 3),)

def broken():
    raise RuntimeError("no weights")

def words():
    return "words"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digits(path: Path, *, whole: bool = False) -> Path:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    start = 0 if whole else 900
    np.savez(path, inputs=images[start:].astype(np.float32), labels=labels[start:])
    return path


def test_a_pipeline_of_scikit_learn(here: Path) -> None:
    done = export_model("sklearn", "own_models.py:digits", here / "out", data=digits(here / "digits.npz"))
    assert done.parity.holds
    assert (done.parity.n, done.parity.inputs_from, done.parity.same_answer_share) == (512, "data", 1.0)
    assert done.parity.accuracy_source == done.parity.accuracy_onnx
    assert done.parity.accuracy_onnx is not None
    assert done.parity.accuracy_onnx > 0.85
    manifest = json.loads((here / "out" / "export.json").read_text())
    assert manifest["model_sha256"] == done.sha256
    assert manifest["versions"].keys() == {"sklearn", "skl2onnx"}
    assert [tensor.name for tensor in done.inspection.inputs] == ["inputs"]
    assert done.inspection.task == "classification"
    assert sorted(path.name for path in (here / "out").iterdir()) == ["export.json", "model.onnx"]


def test_a_regressor_without_data(here: Path) -> None:
    done = export_model("sklearn", "own_models.py:prices", here / "out")
    assert (done.parity.inputs_from, done.parity.same_answer_share, done.inspection.task) == (
        "random",
        None,
        "regression",
    )
    assert done.inspection.schemes == ("fp32",)
    assert done.inspection.notes[0].startswith("no operation in it can be quantized")


def test_a_module_of_torch(here: Path) -> None:
    done = export_model("torch", "own_models.py:net", here / "out")
    assert done.parity.holds
    assert done.inspection.inputs[0].shape == (None, 1, 8, 8)
    assert done.inspection.task == "image-classification"
    one = run_onnx(here / "out" / "model.onnx", {"input": np.zeros((1, 1, 8, 8), dtype=np.float32)})
    assert next(iter(one.values())).shape == (1, 3)
    data = here / "d.npz"
    np.savez(data, inputs=np.random.default_rng(0).normal(size=(40, 1, 8, 8)))
    again = export_model("torch", "own_models.py:net", here / "out", data=data, force=True)
    assert (again.parity.n, again.parity.inputs_from) == (40, "data")


def test_several_inputs_and_named_outputs(here: Path) -> None:
    done = export_model("torch", "own_models.py:two_inputs", here / "out")
    assert [tensor.name for tensor in done.inspection.inputs] == ["input0", "input1"]
    assert len(done.inspection.outputs) == 2


def test_an_export_that_gives_other_answers_is_not_kept(here: Path) -> None:
    with pytest.raises(LynxBenchError, match="does not give what its source gives") as caught:
        export_model("torch", "own_models.py:moody", here / "out")
    assert caught.value.exit_code == 1
    assert list((here / "out").iterdir()) == []


def bert(folder: Path, labels: int) -> Path:
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    from tests.tasks.texts import WORDS, tokenizer

    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer(folder / "raw.json")
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "raw.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    (folder / "raw.json").unlink()
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        ("text-classification", ["logits"]),
        ("question-answering", ["start_logits", "end_logits"]),
        ("text-retrieval", ["last_hidden_state"]),
    ],
)
def test_an_encoder_of_transformers(here: Path, task: str, outputs: list[str]) -> None:
    folder = bert(here / "bert", 2 if task == "question-answering" else 3)
    done = export_model("transformers", str(folder), here / "out", task=task, max_length=20)
    assert done.parity.holds
    assert [tensor.name for tensor in done.inspection.outputs] == outputs
    assert all(tensor.shape == (None, None) for tensor in done.inspection.inputs)
    declared = json.loads((here / "out" / "tokenizer.json").read_text())
    assert declared["truncation"] is None
    # Other lengths and batches than it was exported with.
    feed = {tensor.name: np.ones((3, 7), dtype=np.int64) for tensor in done.inspection.inputs}
    assert len(next(iter(run_onnx(here / "out" / "model.onnx", feed).values()))) == 3


def causal(folder: Path, kind: str) -> Path:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        GPT2Config,
        LlamaConfig,
        MambaConfig,
        MistralConfig,
        PreTrainedTokenizerFast,
    )

    from tests.tasks.texts import WORDS, tokenizer

    torch.manual_seed(0)
    size = {"vocab_size": len(WORDS), "max_position_embeddings": 64, "num_hidden_layers": 2}
    heads = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = {
        "gpt2": lambda: GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2, n_positions=64),
        "llama": lambda: LlamaConfig(**size, **heads),
        "mistral": lambda: MistralConfig(**size, **heads, sliding_window=4),
        "mamba": lambda: MambaConfig(vocab_size=len(WORDS), hidden_size=16, state_size=4, num_hidden_layers=1),
    }[kind]()
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer(folder / "raw.json")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "raw.json"), **special).save_pretrained(folder)
    (folder / "raw.json").unlink()
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral"])
def test_a_decoder_of_transformers_with_its_cache(here: Path, kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = causal(here / kind, kind)
    done = export_model("transformers", str(folder), here / "out", task="generation", max_length=20)
    assert done.parity.holds
    assert done.parity.relative_difference < 1e-4
    assert done.inspection.task == "generation"
    names = [tensor.name for tensor in done.inspection.inputs]
    assert names[:4] == ["input_ids", "attention_mask", "position_ids", "past_key_values.0.key"]
    assert [tensor.name for tensor in done.inspection.outputs][-1] == "present.1.value"
    # Greedy decoding, token by token on the cache, as Transformers does it: prompts of unequal length, another batch.
    prompts = [[5, 6, 7, 8, 9], [0, 0, 0, 6, 8], [0, 7, 5, 9, 4]]
    ids, mask = np.asarray(prompts), (np.asarray(prompts) != 0).astype(np.int64)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        wanted = model.generate(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=None,
        )
    shapes = {tensor.name: tensor.shape for tensor in done.inspection.inputs}
    cache = {name: np.zeros((3, shapes[name][1], 0, shapes[name][3]), np.float32) for name in names[3:]}
    told, given = ids, ids
    for _ in range(6):
        positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -given.shape[1] :]
        feed = {"input_ids": given, "attention_mask": mask, "position_ids": positions, **cache}
        found = run_onnx(here / "out" / "model.onnx", feed)
        given = found["logits"][:, -1].argmax(axis=1)[:, None]
        cache = {name: found[name.replace("past_key_values", "present")] for name in cache}
        told, mask = np.concatenate([told, given], axis=1), np.concatenate([mask, np.ones_like(given)], axis=1)
    np.testing.assert_array_equal(told, wanted.numpy())


@pytest.mark.filterwarnings("ignore")
def test_a_decoder_with_a_state_instead_of_a_cache_is_refused(here: Path) -> None:
    message = refused("transformers", str(causal(here / "m", "mamba")), here / "out", task="generation", max_length=20)
    assert "keeps no plain cache of keys and values" in message
    assert list((here / "out").iterdir()) == []


def refused(framework: str, source: str, out: Path, **options: object) -> str:
    with pytest.raises(DeclarationError) as caught:
        export_model(framework, source, out, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_sources_that_cannot_be_exported(here: Path) -> None:
    out = here / "out"
    assert "cannot be imported: FileNotFoundError" in refused("sklearn", "absent.py:model", out)
    assert "names no function" in refused("sklearn", "model.pkl", out)
    assert "raised RuntimeError: no weights" in refused("torch", "own_models.py:broken", out)
    assert "is no fitted estimator" in refused("sklearn", "own_models.py:unfitted", out)
    assert "returned str" in refused("torch", "own_models.py:words", out)
    assert "--task with one of" in refused("transformers", str(here), out)
    assert "cannot be loaded" in refused("transformers", str(here), out, task="text-classification")
    np.savez(here / "few.npz", inputs=np.zeros((4, 3)))
    assert "the data has 3 features" in refused("sklearn", "own_models.py:digits", out, data=here / "few.npz")
    np.savez(here / "pixels.npz", inputs=np.zeros((4, 1, 8, 8), dtype=np.uint8))
    assert "raw pixels" in refused("torch", "own_models.py:net", out, data=here / "pixels.npz")
    out.mkdir(exist_ok=True)
    (out / "model.onnx").write_bytes(b"mine")
    assert "is there already" in refused("torch", "own_models.py:net", out)
    assert (out / "model.onnx").read_bytes() == b"mine"


def test_a_framework_that_is_not_installed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'lynxbench[torch]'" in refused("torch", "own_models.py:net", here / "out")


def test_what_counts_as_the_same() -> None:
    source = np.array([[1.0, 2.0], [3.0, 1.0]])
    same = compare({"y": source}, {"y": source.astype(np.float32)}, np.array([1, 1]), "data", 1e-3)
    assert (same.holds, same.accuracy_source, same.accuracy_onnx) == (True, 0.5, 0.5)
    swapped = compare({"y": source}, {"y": source[:, ::-1]}, None, "data", 10.0)
    assert not compare({"y": source}, {"y": source + 0.1}, None, "data", 1e-3).holds
    assert swapped.same_answer_share == 1.0  # closer than so wide a tolerance
    assert compare({"y": source}, {"y": source[:, ::-1]}, None, "data", 0.4).same_answer_share == 0.5
    broken = np.array([[np.nan, 2.0], [3.0, 1.0]])
    assert not compare({"y": source}, {"y": broken}, None, "data", 1e-3).holds
    assert compare({"y": source.reshape(2, 2, 1)}, {"y": source}, None, "data", 1e-3).holds
    assert not compare({"y": source}, {"y": source[:1]}, None, "data", 1e-3).holds
    labels = np.array(["a", "b"])
    assert compare({"y": labels}, {"y": labels}, None, "data", 1e-3).holds
    assert not compare({"y": labels}, {"y": labels[::-1]}, None, "data", 1e-3).holds


def test_the_exported_file_is_sound(here: Path) -> None:
    export_model("torch", "own_models.py:net", here / "out", opset=18)
    model = onnx.load(here / "out" / "model.onnx")
    onnx.checker.check_model(model)
    assert next(item.version for item in model.opset_import if item.domain == "") == 18
