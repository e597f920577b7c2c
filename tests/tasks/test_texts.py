"""Tasks on texts, against answers worked out without them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model, TextInput
from lynxbench.tasks import answer_all, get_task
from tests.tasks.models import INT64, model, opened, save
from tests.tasks.texts import ids_of, per_token, random_table, summed, tokenizer

TEXTS = ["a b c", "d", "e f g h i j a", "b b", "c z d", "j i"]
PAIRS = [["a b", "c d e"], ["f", "g h"], ["i", "j a b c d e f"]]


def asked(inputs: list[object], **more: object) -> Samples:
    ids = np.asarray([f"s{n}" for n in range(len(inputs))])
    return Samples(
        ids=ids,
        source_ids=ids,
        inputs=np.asarray(inputs),
        contents=ids,
        strata={"view": np.asarray(["clean"] * len(inputs))},
        **more,  # type: ignore[arg-type]
    )


def texts(tmp_path: Path, *, special: bool = True, **options: object) -> Model:
    given = TextInput(tokenizer=tokenizer(tmp_path / "tokenizer.json", special=special), **options)  # type: ignore[arg-type]
    return model(text=given)


@pytest.mark.parametrize("padding", ["longest", "max-length"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_text_is_classified_whatever_it_is_filled_up_with(tmp_path: Path, padding: str, batch_size: int) -> None:
    table = random_table(3)
    declared, task = texts(tmp_path, padding=padding, max_length=16), get_task("text-classification")
    samples = asked(TEXTS, labels=np.arange(6) % 3)
    with opened(summed(tmp_path / "m.onnx", table)) as executor:
        answers = answer_all(task, executor, samples, declared, batch_size)
        predictions = task.predictions(samples, answers)
    expected = [table[[2, *ids_of(text), 3]].sum(axis=0) for text in TEXTS]
    np.testing.assert_allclose(predictions.logits, expected, rtol=1e-5)
    assert predictions.labels is not None
    assert not predictions.failed.any()


def test_a_text_too_long_is_cut(tmp_path: Path) -> None:
    table = random_table(2)
    samples = asked(TEXTS, labels=np.zeros(6, dtype=np.int64))
    with opened(summed(tmp_path / "m.onnx", table)) as executor:
        answers = answer_all(get_task("text-classification"), executor, samples, texts(tmp_path, max_length=4), 2)
    np.testing.assert_allclose(answers["y"][2], table[[2, *ids_of("e f"), 3]].sum(axis=0), rtol=1e-5)


def test_a_pair_of_texts(tmp_path: Path) -> None:
    table = random_table(2)
    samples = asked(PAIRS, labels=np.zeros(3, dtype=np.int64))
    with opened(summed(tmp_path / "m.onnx", table)) as executor:
        answers = answer_all(get_task("text-classification"), executor, samples, texts(tmp_path), 3)
    for answer, (first, second) in zip(answers["y"], PAIRS, strict=True):
        np.testing.assert_allclose(answer, table[[2, *ids_of(first), 3, *ids_of(second), 3]].sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_documents_are_found(tmp_path: Path, pooling: str) -> None:
    table = random_table(8)
    documents = ["a b c d", "e f", "g h i", "j"]
    corpus = asked(documents)
    queries = asked(["a b", "f e", "i h", "j j"])
    samples = Samples(**{**vars(queries), "corpus": corpus, "source_ids": corpus.ids})
    task, declared = get_task("text-retrieval"), texts(tmp_path, pooling=pooling, special=False)
    with opened(per_token(tmp_path / "m.onnx", table)) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, declared, 3))

    def embedded(text: str) -> np.ndarray:
        rows = table[ids_of(text)]
        vector = rows.mean(axis=0) if pooling == "mean" else rows[0]
        return vector / np.linalg.norm(vector)

    similarity = np.array([[embedded(q) @ embedded(d) for d in documents] for q in queries.inputs.tolist()])
    assert predictions.ranked_ids is not None
    np.testing.assert_array_equal(predictions.ranked_ids, corpus.ids[np.argsort(-similarity, axis=1)])
    np.testing.assert_allclose(predictions.ranked_scores, -np.sort(-similarity, axis=1), rtol=1e-4)


def test_each_word_is_a_prediction(tmp_path: Path) -> None:
    table = random_table(4)
    tags = np.full((6, 7), -1)
    for row, text in enumerate(TEXTS):
        tags[row, : len(text.split())] = np.array(ids_of(text)) % 4
    tags[0, 1] = -1  # a word that is not scored
    samples = asked(TEXTS, tags=tags)
    task = get_task("token-classification")
    with opened(per_token(tmp_path / "m.onnx", table)) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, texts(tmp_path), 4))
        cut = task.predictions(samples, answer_all(task, executor, samples, texts(tmp_path, max_length=5), 4))
    words = [(f"s{n}/{w}", i) for n, text in enumerate(TEXTS) for w, i in enumerate(ids_of(text)) if (n, w) != (0, 1)]
    assert predictions.sample_ids.tolist() == [name for name, _ in words]
    np.testing.assert_allclose(predictions.logits, table[[i for _, i in words]], rtol=1e-6)
    assert predictions.source_ids[:3].tolist() == ["s0", "s0", "s1"]
    assert not predictions.failed.any()
    # Three words fit between the two special tokens; the other four of the third text were cut off.
    assert cut.sample_ids[cut.failed].tolist() == ["s2/3", "s2/4", "s2/5", "s2/6"]


def test_the_best_span_is_the_answer(tmp_path: Path) -> None:
    table = random_table(2)
    samples = asked(PAIRS, targets=np.asarray(["c", "g h", "a b"]))
    task = get_task("question-answering")
    with opened(per_token(tmp_path / "m.onnx", table, outputs=("start_logits", "end_logits"))) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, texts(tmp_path), 2))
    for text, (_, context) in zip(predictions.texts.tolist(), PAIRS, strict=True):
        ids = ids_of(context)
        spans = [(i, j) for i in range(len(ids)) for j in range(i, len(ids))]
        best = max(spans, key=lambda span: table[ids[span[0]], 0] + table[ids[span[1]], 1])
        assert text == " ".join(context.split()[best[0] : best[1] + 1])


def test_likelihoods_of_texts(tmp_path: Path) -> None:
    table = random_table(14)
    logs = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    samples = asked(TEXTS)
    task, declared = get_task("language-modelling"), texts(tmp_path, special=False)
    with opened(per_token(tmp_path / "m.onnx", table)) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, declared, 4))
    for row, text in enumerate(TEXTS):
        ids = ids_of(text)
        expected = sum(logs[before, after] for before, after in pairwise(ids))
        assert predictions.log_likelihoods[row] == pytest.approx(expected, abs=1e-5)
        assert predictions.token_counts[row] == len(ids) - 1


def test_options_are_scored_after_their_prompt(tmp_path: Path) -> None:
    table = random_table(14)
    logs = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    prompts, options = ["a b ", "c "], np.asarray([["c d", "e", "f g h"], ["i", "j", ""]])
    samples = asked(prompts, options=options, labels=np.array([1, 0]))
    task, declared = get_task("multiple-choice"), texts(tmp_path, special=False)
    with opened(per_token(tmp_path / "m.onnx", table)) as executor:
        predictions = task.predictions(samples, answer_all(task, executor, samples, declared, 2))
    for row, prompt in enumerate(prompts):
        for column, option in enumerate(options[row].tolist()):
            if option:
                ids, given = ids_of(prompt + option), len(prompt.split())
                expected = sum(logs[ids[n - 1], ids[n]] for n in range(given, len(ids)))
                assert predictions.option_scores[row, column] == pytest.approx(expected, abs=1e-5)
    assert predictions.option_lengths.tolist() == [[3, 1, 5], [1, 1, 0]]


def test_models_that_take_something_else(tmp_path: Path) -> None:
    samples = asked(TEXTS, labels=np.zeros(6, dtype=np.int64))
    task = get_task("text-classification")
    path, match = summed(tmp_path / "m.onnx", random_table(2)), r"declares no \[models.text\] table"
    with opened(path) as executor, pytest.raises(CellError, match=match):
        answer_all(task, executor, samples, model(), 1)
    nodes = [helper.make_node("Cast", ["pixels"], ["y"], to=1)]
    other = save(tmp_path / "o.onnx", nodes, {"pixels": (INT64, ["N", "L"])}, {"y": (1, ["N", "L"])})
    with opened(other) as executor, pytest.raises(CellError, match="the model takes pixels"):
        answer_all(task, executor, samples, texts(tmp_path), 1)


def test_a_fixed_length_is_filled_up(tmp_path: Path) -> None:
    table = random_table(2)
    nodes = [
        helper.make_node("Gather", ["t", "input_ids"], ["r"]),
        helper.make_node("ReduceSum", ["r", "a"], ["y"], keepdims=0),
    ]
    weights = {"t": np.where(np.arange(14)[:, None] == 0, 0, table).astype(np.float32), "a": np.array([1])}
    path = save(tmp_path / "m.onnx", nodes, {"input_ids": (INT64, ["N", 12])}, {"y": (1, ["N", 2])}, weights)
    samples = asked(TEXTS, labels=np.zeros(6, dtype=np.int64))
    with opened(path) as executor:
        answers = answer_all(get_task("text-classification"), executor, samples, texts(tmp_path), 2)
    expected = [weights["t"][[2, *ids_of(text), 3]].sum(axis=0) for text in TEXTS]
    np.testing.assert_allclose(answers["y"], expected, rtol=1e-5)
