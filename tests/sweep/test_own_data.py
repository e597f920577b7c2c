"""Texts, a folder of pictures, a Parquet file and a function go from a suite file alone through a whole sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import helper
from PIL import Image

from tests.running import Ran, lynxbench
from tests.tasks.decoders import answer_by_hand, decoder, weights
from tests.tasks.models import FLOAT, save
from tests.tasks.texts import WORDS as TOKENS
from tests.tasks.texts import V, ids_of, per_token, summed, tokenizer

SUITE = """
name = "own"
version = "1"
[[models]]
name = "net"
version = "1"
path = "net.onnx"
{model}
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "int8-dynamic"
kind = "int8-dynamic"
[[schemes]]
name = "int8-static"
kind = "int8-static"
[[calibrations]]
name = "train"
split = "train"
count = 30
selection = "random"
{calibration}
[[workloads]]
name = "w"
rubric = "rubric.toml"
models = ["net"]
schemes = {schemes}
calibrations = ["train"]
[protocol]
block_s = 0.01
minimum_rounds = 4
time_limit_s = 0.05
warm_up_s = 0.01
"""
RUBRIC = """
name = "own"
version = "1"
title = "?"
task = "{task}"
strata = ["{stratum}"]
strata_minimum_n = 5
confidence = 0.95
resamples = 200
[test_set]
name = "test"
composition = ["clean"]
composition_note = "drawn"
selection = "random"
count = 60
{source}
[[metrics]]
name = "m"
metric = "{metric}"
role = "primary"
direction = "higher-is-better"
{parameters}
[reference]
scheme = "fp32"
executor = "cpu"
[tolerance]
kind = "absolute"
value = 0.05
[calibration]
minimum_count = 20
domain = "drawn"
"""
RANDOM = np.random.default_rng(5)
FRESH = RANDOM.bit_generator.state
WORDS = list("abcdefghij")


@pytest.fixture(autouse=True)
def the_same_draws_whatever_ran_before() -> None:
    RANDOM.bit_generator.state = FRESH


def sweep(tmp_path: Path, *more: str, **parts: str) -> tuple[Ran, list[dict[str, Any]]]:
    given = {
        "model": "",
        "calibration": 'source = "train.jsonl"',
        "schemes": '["fp32", "int8-dynamic"]',
        "stratum": "view",
        "source": 'source = "test.jsonl"',
        "metric": "top-1",
        "parameters": "",
        **parts,
    }
    (tmp_path / "suite.toml").write_text(SUITE.format_map(given))
    (tmp_path / "rubric.toml").write_text(RUBRIC.format_map(given))
    ran = lynxbench("sweep", "suite.toml", "--out", "out", *more, home=tmp_path)
    records = tmp_path / "out" / "records.parquet"
    return ran, pq.read_table(records).to_pylist() if records.exists() else []


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sentence(words: int) -> str:
    return " ".join(RANDOM.choice(WORDS, words))


def test_texts_of_varying_length(tmp_path: Path) -> None:
    table = np.zeros((V, 2), dtype=np.float32)
    table[4:, 0], table[4:, 1] = RANDOM.normal(size=(2, 10))
    path = summed(tmp_path / "rows.onnx", table)
    # A product that quantization can change: class scores from the summed rows.
    import onnx

    net = onnx.load(path)
    net.graph.node[-1].output[0] = "sum"
    net.graph.node.append(helper.make_node("MatMul", ["sum", "w"], ["y"]))
    net.graph.initializer.append(onnx.numpy_helper.from_array(np.array([[2, -1], [-1, 2]], dtype=np.float32), "w"))
    onnx.save(net, tmp_path / "net.onnx")
    tokenizer(tmp_path / "tokenizer.json")
    for name, n in (("test", 80), ("train", 40)):
        texts = [sentence(int(RANDOM.integers(3, 12))) for _ in range(n)]
        sums = [table[[4 + WORDS.index(word) for word in text.split()]].sum(axis=0) for text in texts]
        labels = [int(2 * s[1] - s[0] > 2 * s[0] - s[1]) for s in sums]
        lines(
            tmp_path / f"{name}.jsonl",
            [{"id": f"{name}{i}", "text": t, "label": y} for i, (t, y) in enumerate(zip(texts, labels, strict=True))],
        )
    ran, records = sweep(
        tmp_path,
        task="text-classification",
        model='text = { tokenizer = "tokenizer.json", max_length = 16 }',
        schemes='["fp32", "int8-dynamic", "int8-static"]',
        stratum="class",
    )
    assert ran.code == 0, ran.err
    by_scheme = {record["scheme"]: record for record in records}
    assert by_scheme["fp32"]["primary_value"] == 1.0
    assert {record["status"] for record in records} == {"ok"}
    assert by_scheme["int8-static"]["primary_value"] > 0.8
    # The tokenizer is part of what was measured: another one is another result.
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text() + "\n")
    ran, _ = sweep(tmp_path, task="text-classification", model='text = { tokenizer = "tokenizer.json" }')
    assert ran.code == 2


def test_generation_with_a_cache(tmp_path: Path) -> None:
    w = weights()
    decoder(tmp_path / "net.onnx", w)
    tokenizer(tmp_path / "tokenizer.json", special=False)
    for name, n in (("test", 60), ("train", 30)):
        prompts = [sentence(int(RANDOM.integers(2, 7)) if name == "test" else 7) for _ in range(n)]
        answers = [answer_by_hand(ids_of(prompt), w, 5, set()) for prompt in prompts]
        rows = zip(prompts, answers, strict=True)
        lines(
            tmp_path / f"{name}.jsonl",
            [
                {"id": f"{name}{i}", "prompt": p, "target": " ".join(TOKENS[t] for t in a)}
                for i, (p, a) in enumerate(rows)
            ],
        )
    ran, records = sweep(
        tmp_path,
        task="generation",
        metric="exact-match",
        model='text = { tokenizer = "tokenizer.json" }\ndecoding = { max_new_tokens = 5 }',
        schemes='["fp32", "int8-dynamic", "int8-static"]',
    )
    assert ran.code == 0, ran.err
    by_scheme = {record["scheme"]: record for record in records}
    assert by_scheme["fp32"]["primary_value"] == 1.0
    assert {record["status"] for record in records} == {"ok"}
    for record in records:
        assert record["output_tokens_mean"] == 5
        assert record["first_token_p50_ns"] > 0
        assert record["output_token_p50_ns"] > 0


def test_documents(tmp_path: Path) -> None:
    per_token(tmp_path / "net.onnx", RANDOM.normal(size=(V, 16)).astype(np.float32))
    tokenizer(tmp_path / "tokenizer.json")
    documents = [{"id": f"d{i}", "text": sentence(8)} for i in range(30)]
    lines(tmp_path / "documents.jsonl", documents)
    lines(
        tmp_path / "test.jsonl",
        [
            {"id": f"q{i}", "text": " ".join(sorted(documents[i % 30]["text"].split())), "target_id": f"d{i % 30}"}
            for i in range(60)
        ],
    )
    parts = {
        "task": "text-retrieval",
        "schemes": '["fp32", "fp32-again"]',
        "model": 'text = { tokenizer = "tokenizer.json" }',
        "metric": "recall",
        "parameters": "parameters = { k = 1 }",
        "calibration": 'source = "test.jsonl"',
    }
    ran, _ = sweep(tmp_path, **{**parts, "schemes": '["fp32"]'})
    assert ran.code == 2
    assert "test_set.corpus: a task text-retrieval searches documents" in ran.err
    source = 'source = "test.jsonl"\ncorpus = "documents.jsonl"'
    # Nothing in this model can be quantized, so all but the reference have a typed reason.
    ran, records = sweep(
        tmp_path,
        **{
            **parts,
            "schemes": '["fp32", "int8-dynamic"]',
            "source": source,
            "calibration": 'source = "test.jsonl"\nallow_overlap = true',
        },
    )
    assert ran.code in (0, 3), ran.err
    by_scheme = {record["scheme"]: record for record in records}
    assert by_scheme["fp32"]["status"] == "ok"
    assert by_scheme["fp32"]["primary_value"] > 0.8


def test_a_folder_of_pictures_of_several_sizes(tmp_path: Path) -> None:
    for split, n in (("test", 40), ("train", 20)):
        for name, level in (("bright", 180), ("dark", 70)):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                size = RANDOM.integers(9, 20, 2)
                pixels = np.clip(RANDOM.normal(level, 30, (*size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    weights = {
        "w": RANDOM.normal(size=(8, 3, 3, 3)).astype(np.float32) * 0.1,
        "p": np.stack([np.full(3, 1.0), np.full(3, -1.0)]).astype(np.float32)[:, :, None, None],
        "b": np.array([-1.5, 1.5], dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "p", "b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    save(tmp_path / "net.onnx", nodes, {"x": (FLOAT, ["N", 3, 8, 8])}, {"y": (FLOAT, ["N", 2])}, weights)
    image = "image = { resize = 8, crop = [8, 8] }"
    parts = {
        "task": "image-classification",
        "schemes": '["fp32", "int8-static"]',
        "stratum": "class",
        "source": f'source = "test"\n{image}',
        "calibration": f'source = "train"\n{image}',
    }
    ran, records = sweep(tmp_path, **parts)
    assert ran.code == 0, ran.err
    assert {record["status"] for record in records} == {"ok"}
    assert min(record["primary_value"] for record in records) > 0.95
    ran, _ = sweep(tmp_path, **{**parts, "source": 'source = "test"'})
    assert ran.code == 2
    assert "has another size" in ran.err
    # The very same pictures, prepared otherwise, are still the same pictures.
    ran, _ = sweep(tmp_path, "--fresh", **{**parts, "calibration": 'source = "test"\nimage = { resize = [8, 8] }'})
    assert ran.code == 2
    assert "calibration samples are also in the test set" in ran.err


def test_a_parquet_file_and_a_function(tmp_path: Path) -> None:
    weights = {"w": RANDOM.normal(size=(12, 3)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    save(tmp_path / "net.onnx", nodes, {"x": (FLOAT, ["N", 12])}, {"y": (FLOAT, ["N", 3])}, weights)
    np.save(tmp_path / "w.npy", weights["w"])
    inputs = RANDOM.normal(size=(90, 12)).astype(np.float32)
    labels = (inputs @ weights["w"]).argmax(axis=1)
    rows = pa.array([row.tolist() for row in inputs])
    pq.write_table(pa.table({"inputs": rows, "labels": labels, "site": ["a", "b", "c"] * 30}), tmp_path / "t.parquet")
    (tmp_path / "data.py").write_text(
        "import numpy as np\n\ndef train():\n    return {'inputs': np.random.default_rng(9).normal(size=(50, 12))}\n"
    )
    ran, records = sweep(
        tmp_path,
        task="classification",
        schemes='["fp32", "int8-static"]',
        stratum="site",
        source='source = "t.parquet"',
        calibration='target = "data.py:train"',
    )
    assert ran.code == 0, ran.err
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert next(r["primary_value"] for r in records if r["scheme"] == "fp32") == 1.0
