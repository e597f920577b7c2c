"""Decoding with a cache gives what decoding without one gives, and says when each token came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model, TextDecoding, TextInput
from lynxbench.tasks import answer_all, get_task
from lynxbench.tasks.cached_generation import CachedQuery
from tests.tasks.decoders import answer_by_hand, decoder, weights
from tests.tasks.models import model, opened
from tests.tasks.texts import WORDS, ids_of, tokenizer

GENERATE = get_task("generation")
PROMPTS = ["a b c", "d", "e f g h i", "j a", "b b b b", "c"]


def samples() -> Samples:
    ids = np.asarray([f"s{n}" for n in range(len(PROMPTS))])
    return Samples(ids=ids, source_ids=ids, inputs=np.asarray(PROMPTS), contents=ids, targets=np.asarray(PROMPTS))


def declared(tmp_path: Path, most: int = 8, stop: tuple[str, ...] = ("a",)) -> Model:
    text = TextInput(tokenizer=tokenizer(tmp_path / "tokenizer.json", special=False), max_length=20)
    return model(text=text, decoding=TextDecoding(max_new_tokens=most, stop=stop))


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_answer_is_that_without_a_cache(tmp_path: Path, batch_size: int, seed: int) -> None:
    w = weights(seed)
    with opened(decoder(tmp_path / "m.onnx", w)) as executor:
        answers = answer_all(GENERATE, executor, samples(), declared(tmp_path), batch_size)
        predictions = GENERATE.predictions(samples(), answers)
    stops = {WORDS.index("a")}
    expected = [" ".join(WORDS[token] for token in answer_by_hand(ids_of(prompt), w, 8, stops)) for prompt in PROMPTS]
    assert predictions.texts.tolist() == expected
    assert not predictions.failed.any()


def test_every_token_is_timed(tmp_path: Path) -> None:
    given = declared(tmp_path, stop=())
    with opened(decoder(tmp_path / "m.onnx", weights())) as executor:
        feed = GENERATE.feed(np.asarray(PROMPTS[:1]), given, executor.inputs)
        query = GENERATE.query(executor, feed, given)
        assert isinstance(query, CachedQuery)
        for _ in range(3):
            query.run()
        times = query.take_token_times()
        assert len(times) == 3
        assert all(first > 0 and rest > 0 and tokens == 8 for first, rest, tokens in times)
        assert query.take_token_times() == []


def test_models_that_cannot_be_decoded_so(tmp_path: Path) -> None:
    with opened(decoder(tmp_path / "m.onnx", weights())) as executor:
        for broken, match in (
            (model(text=declared(tmp_path).text), r"declares no \[models.decoding\]"),
            (declared(tmp_path, stop=("a b",)), "stop 'a b' is 2 tokens"),
            (model(decoding=TextDecoding(max_new_tokens=2)), r"declares no \[models.text\]"),
        ):
            with pytest.raises(CellError, match=match):
                answer_all(GENERATE, executor, samples(), broken, 1)
