"""Greedy generation: against a loop in plain Python, on the starter's transformer and on models made to misbehave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from lynxbench.datasets.predictions import Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.execution import Executor
from lynxbench.specs.load import locate
from lynxbench.specs.resolve import resolve_suite
from lynxbench.specs.suite import Model, TextGeneration
from lynxbench.tasks import answer_all, get_task
from lynxbench.tasks.generation import decode, encode
from tests.tasks.models import FLOAT, INT64, model, next_token, opened, save

GENERATE = get_task("generation")
TINY = TextGeneration(vocabulary="abc.", pad_id=4, prompt_length=3, max_new_tokens=5, stop=".")


def prompts(*texts: str) -> Samples:
    ids = np.asarray([f"p{k}" for k in range(len(texts))])
    return Samples(ids=ids, source_ids=ids, inputs=np.asarray(texts), contents=ids, targets=np.asarray(texts))


def generated(path: Path, declared: Model, samples: Samples, batch_size: int) -> Predictions:
    with opened(path) as executor:
        return GENERATE.predictions(samples, answer_all(GENERATE, executor, samples, declared, batch_size))


def by_hand(executor: Executor, prompt: str, declared: TextGeneration) -> str:
    """One prompt at a time, one token at a time, plain runs and plain Python."""
    ids = [declared.vocabulary.index(character) for character in prompt]
    ids += [declared.pad_id] * (declared.prompt_length - len(ids))
    text = ""
    name = executor.inputs[0].name
    width = declared.prompt_length + declared.max_new_tokens
    while len(text) < declared.max_new_tokens and not text.endswith(declared.stop):
        row = ids + [declared.pad_id] * (width - len(ids))
        logits = next(iter(executor.run({name: np.asarray([row], dtype=executor.inputs[0].dtype)}).values()))
        scores = logits[0, len(ids) - 1].tolist()
        token = scores.index(max(scores))
        ids.append(token)
        text += declared.vocabulary[token]
    return text


def test_the_starter_transformer_answers_as_a_plain_loop_does() -> None:
    resolved = resolve_suite("starter")
    declared = resolved.model("arithmetic-transformer")
    assert declared.generation is not None
    texts = ("77+48=", "35-18+91=", "15-76-04-63=", "06*07=", "99*99*99*99*99=")
    with opened(locate(declared.path, resolved.file)) as executor:
        samples = prompts(*texts)
        expected = [by_hand(executor, text, declared.generation) for text in texts]
        for batch_size in (1, 3):
            answers = answer_all(GENERATE, executor, samples, declared, batch_size)
            found = GENERATE.predictions(samples, answers)
            assert found.texts is not None
            assert found.texts.tolist() == expected
            assert not found.failed.any()
    assert expected[0] == "52."  # it writes the digits of 125 modulo 100 from the right
    assert expected[1] == "71;80."


def chain(*following: Sequence[float]) -> np.ndarray:
    """Scores after each of the tokens a, b, c, '.' and padding."""
    return np.asarray(following, dtype=np.float32)


# a → b → c → . ; after padding: a
ALPHABET = chain([0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0])
CIRCLE = chain([0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0])


@pytest.mark.parametrize("element", [INT64, TensorProto.INT32])
def test_answers_end_at_the_stop_or_at_the_limit(tmp_path: Path, element: int) -> None:
    samples = prompts("aaa", "aab", "abc", "a")
    path = next_token(tmp_path / "m.onnx", ALPHABET, element=element)
    found = generated(path, model(generation=TINY), samples, 4)
    assert found.texts is not None
    assert found.texts.tolist() == ["bc.", "c.", ".", "abc."]  # a short prompt is padded on the right
    found = generated(next_token(tmp_path / "c.onnx", CIRCLE), model(generation=TINY), samples, 3)
    assert found.texts is not None
    assert found.texts.tolist() == ["bcabc", "cabca", "abcab", "abcab"]
    assert found.targets is not None
    assert found.targets.tolist() == ["aaa", "aab", "abc", "a"]


def test_it_stops_running_when_every_answer_has_ended(tmp_path: Path) -> None:
    with opened(next_token(tmp_path / "m.onnx", ALPHABET)) as executor:
        feed = GENERATE.feed(np.asarray(["aab", "abc"]), model(generation=TINY), executor.inputs)
        query = GENERATE.query(executor, feed, model(generation=TINY))
        runs = 0
        bound = query._bound  # type: ignore[attr-defined]
        plain = bound.call

        def counted() -> None:
            nonlocal runs
            runs += 1
            plain()

        bound.call = counted
        query.run()
        assert (runs, query.answer()["text"].tolist()) == (2, ["c.", "."])
        # Again, with other prompts, and nothing of the last answer left.
        query.load(GENERATE.feed(np.asarray(["aaa", "aaa"]), model(generation=TINY), executor.inputs))
        for _ in range(2):
            query.run()
            assert query.answer()["text"].tolist() == ["bc.", "bc."]
        assert runs == 2 + 3 + 3


def test_the_last_answer_cannot_be_seen_by_the_next_run(tmp_path: Path) -> None:
    # Not causal: the scores at every place depend on all tokens of the sequence, those after it included.
    random = np.random.default_rng(5)
    weights = {name: random.normal(size=(5, 4)).astype(np.float32) for name in ("one", "all")}
    nodes = [
        helper.make_node("Gather", ["one", "ids"], ["here"]),
        helper.make_node("Gather", ["all", "ids"], ["everywhere"]),
        helper.make_node("ReduceMean", ["everywhere"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["here", "mean"], ["logits"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"ids": (INT64, ["N", "L"])}, {"logits": (FLOAT, ["N", "L", 4])}, weights)
    with opened(path) as executor:
        texts = ["abc", "cab", "bbb", "ca"]
        query = GENERATE.query(
            executor, GENERATE.feed(np.asarray(texts), model(generation=TINY), executor.inputs), model(generation=TINY)
        )
        expected = [by_hand(executor, text, TINY) for text in texts]
        for _ in range(3):
            query.run()
            assert query.answer()["text"].tolist() == expected
    assert len(set(expected)) > 1


def test_a_nan_marks_its_answer_failed_and_no_other(tmp_path: Path) -> None:
    nan = float("nan")
    # After b comes a NaN that argmax does not pick first by value; after '.' too, but an answer has ended there.
    table = chain([0, 1, 0, 0, 0], [0, 9, 0, nan, 0], [0, 0, 0, 1, 0], [nan, 0, 0, 0, 0], [0, 0, 1, 0, 0])
    found = generated(next_token(tmp_path / "m.onnx", table), model(generation=TINY), prompts("aac", "aaa", "abb"), 3)
    assert found.failed.tolist() == [False, True, True]
    infinite = np.where(np.isnan(table), np.inf, table)
    found = generated(next_token(tmp_path / "i.onnx", infinite), model(generation=TINY), prompts("aac", "aaa"), 2)
    assert found.failed.tolist() == [False, True]


def test_tokens_beyond_the_vocabulary_read_as_unknown() -> None:
    assert decode(np.asarray([0, 1, 9, 3, 0]), TINY) == "ab\ufffd."
    assert decode(np.asarray([0, 4, 1]), TINY) == "a"
    assert decode(np.asarray([4, 4]), TINY) == ""
    assert encode("cab.", TextGeneration(**{**TINY.model_dump(), "prompt_length": 4})) == [2, 0, 1, 3]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("abca", "'abca' is longer than prompt_length 3"), ("abd", "'abd' holds a character outside the vocabulary")],
)
def test_prompts_that_the_model_cannot_read(tmp_path: Path, prompt: str, said: str) -> None:
    with pytest.raises(CellError, match=said):
        generated(next_token(tmp_path / "m.onnx", ALPHABET), model(generation=TINY), prompts("abc", prompt), 1)


def test_models_that_cannot_generate(tmp_path: Path) -> None:
    path = next_token(tmp_path / "m.onnx", ALPHABET)
    with pytest.raises(CellError, match=r"declares no \[generation\] table") as caught:
        generated(path, model(), prompts("abc"), 1)
    assert caught.value.status == "unsupported"
    nodes = [helper.make_node("Cast", ["ids"], ["logits"], to=FLOAT)]
    flat = save(tmp_path / "f.onnx", nodes, {"ids": (INT64, ["N", "L"])}, {"logits": (FLOAT, ["N", "L"])})
    with pytest.raises(CellError, match=r"expects logits \[batch, length, vocabulary\] for ids \[1, 8\]; .* \[1, 8\]"):
        generated(flat, model(generation=TINY), prompts("abc"), 1)


def test_every_task_of_a_rubric_is_there() -> None:
    names = ("image-classification", "image-retrieval", "generation")
    assert len({type(get_task(name)) for name in names}) == 3
