"""What tuning adds to declarations: nothing where it is not asked for, and what is written can be read again."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lynxbench.scoring.rules import planned_answers
from lynxbench.specs.base import as_frozen
from lynxbench.specs.load import load_folder
from lynxbench.specs.resolve import resolve_suite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import Suite
from lynxbench.specs.toml import to_toml
from lynxbench.specs.tuned import Part, Tuned

TUNED = Tuned(
    tried=9, samples=80, size="standard", test_set_sha256="0" * 64, share=0.33, seed=0, time_limit_s=60.0, spent_s=12.5,
    max_loss=0.01, picked=True, loss=0.0, loss_low=-0.01, loss_high=0.02,
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=6))
def test_what_is_written_as_toml_reads_the_same(data: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(data)) == data


def test_a_suite_survives_being_written() -> None:
    suite = resolve_suite("starter").suite
    text = to_toml(suite.model_dump(mode="json"))
    assert Suite.model_validate(as_frozen(tomllib.loads(text))) == suite


def test_a_rubric_without_a_part_keeps_its_digest() -> None:
    rubric = load_folder("rubrics", Rubric, None)["arithmetic-steps"].spec
    assert '"part"' not in rubric.canonical()
    part = Part(which="untouched", share=0.33)
    split = rubric.model_copy(update={"test_set": rubric.test_set.model_copy(update={"part": part})})
    assert split.digest() != rubric.digest()
    assert Rubric.from_json(split.model_dump_json()) == split


def test_how_a_scheme_was_found_is_no_option_of_it() -> None:
    plain = Scheme.model_validate({"name": "s", "kind": "int8-static"})
    tuned = plain.model_copy(update={"tuned": TUNED})
    assert tuned.options() == plain.options()
    assert '"tuned"' not in plain.canonical()
    assert Scheme.from_json(tuned.model_dump_json()) == tuned
    assert Scheme.model_validate(as_frozen(tomllib.loads(to_toml(tuned.model_dump(mode="json"))))) == tuned


def test_only_the_other_part_of_the_same_draw_spares_the_samples() -> None:
    untouched = Part(which="untouched", share=0.33)
    assert TUNED.spared_by(untouched, "standard")
    assert not TUNED.spared_by(untouched, "quick")
    assert not TUNED.spared_by(None, "standard")
    assert not TUNED.spared_by(Part(which="tuning", share=0.33), "standard")
    assert not TUNED.spared_by(Part(which="untouched", share=0.33, seed=1), "standard")
    assert not TUNED.spared_by(Part(which="untouched", share=0.5), "standard")


def test_a_part_resolves_what_its_share_of_the_answers_does() -> None:
    rubric = load_folder("rubrics", Rubric, None)["arithmetic-steps"].spec
    test_set = rubric.test_set.model_copy(update={"part": Part(which="untouched", share=0.25)})
    whole, part = (planned_answers(one) for one in (rubric, rubric.model_copy(update={"test_set": test_set})))
    assert (whole[0], part[0]) == (240, 180)
    assert whole[1] is not None
    assert part[1] is not None
    assert part[1] > whole[1]
