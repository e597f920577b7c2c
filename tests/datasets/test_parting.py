"""Two parts of a test set: nothing in common, no original on both sides, strata in proportion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.parting import part_of
from lynxbench.datasets.samples import Samples, rubric_samples
from lynxbench.errors import DeclarationError
from lynxbench.specs.load import builtin_folder, load_folder, locate
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.tuned import Part


def samples(kinds: np.ndarray, views: int) -> Samples:
    """One original for each of `kinds`, seen through so many views."""
    n = len(kinds)
    sources = np.asarray([f"original-{i}" for i in range(n)])
    ids = np.concatenate([np.char.add(sources, f"/{view}") for view in range(views)])
    return Samples(
        ids=ids,
        source_ids=np.tile(sources, views),
        inputs=np.arange(n * views, dtype=np.float32)[:, None],
        contents=np.tile(sources, views),
        strata={"view": np.repeat([str(v) for v in range(views)], n), "kind": np.tile(kinds, views)},
        labels=np.arange(n * views),
    )


def parts(whole: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    both = (Part(which=which, share=share, seed=seed) for which in ("tuning", "untouched"))  # type: ignore[arg-type]
    tuning, untouched = (part_of(whole, part, ["view", "kind"]) for part in both)
    return tuning, untouched


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6).filter(lambda c: sum(c) >= 4),
    views=st.integers(1, 4),
    share=st.floats(0.3, 0.7),
    seed=st.integers(0, 5),
)
def test_parts_add_up_share_no_original_and_keep_proportions(
    counts: list[int], views: int, share: float, seed: int
) -> None:
    kinds = np.repeat([f"kind-{i}" for i in range(len(counts))], counts)
    whole = samples(kinds, views)
    tuning, untouched = parts(whole, share, seed)
    assert sorted([*tuning.ids, *untouched.ids]) == sorted(whole.ids)
    assert not set(tuning.source_ids) & set(untouched.source_ids)
    # All views of an original are together, and every column went along.
    assert len(tuning) == views * len(set(tuning.source_ids))
    assert [f"{s}/{v}" for s, v in zip(tuning.source_ids, tuning.strata["view"], strict=True)] == tuning.ids.tolist()
    for kind, count in zip(np.unique(kinds), counts, strict=True):
        drawn = len({s for s, k in zip(tuning.source_ids, tuning.strata["kind"], strict=True) if k == kind})
        assert abs(drawn - share * count) < 1 + 1e-6


def test_another_seed_is_another_draw_and_the_order_of_samples_stays() -> None:
    whole = samples(np.repeat(["a", "b"], 40), 2)
    first, second = parts(whole, 0.5, 0)[0], parts(whole, 0.5, 1)[0]
    assert set(first.ids) != set(second.ids)
    assert parts(whole, 0.5, 0)[0].ids.tolist() == first.ids.tolist()
    order = {name: place for place, name in enumerate(whole.ids.tolist())}
    assert [order[name] for name in first.ids] == sorted(order[name] for name in first.ids)


def test_a_part_without_samples_is_an_error_of_the_rubric() -> None:
    declared = load_folder("rubrics", Rubric, None)["arithmetic-steps"]
    source = locate(declared.spec.test_set.source, declared.file)
    for share, complaint in ((0.001, "leaves one of the two parts empty"), (0.4, None)):
        test_set = declared.spec.test_set.model_copy(update={"part": Part(which="untouched", share=share)})
        rubric = declared.spec.model_copy(update={"test_set": test_set})
        if complaint is None:
            assert len(rubric_samples(rubric, source, declared.file)) == 144
            continue
        with pytest.raises(DeclarationError, match=complaint) as raised:
            rubric_samples(rubric, source, declared.file)
        assert raised.value.problems[0].key == "test_set.part.share"


def test_every_builtin_rubric_that_is_here_can_be_split() -> None:
    for name in ("fashion-classification", "fashion-retrieval", "arithmetic-steps"):
        declared = load_folder("rubrics", Rubric, builtin_folder("rubrics"))[name]
        whole = rubric_samples(declared.spec, locate(declared.spec.test_set.source, declared.file), declared.file)
        part = Part(which="tuning", share=0.33)
        tuning = part_of(whole, part, declared.spec.strata)
        assert len(tuning) == pytest.approx(0.33 * len(whole), rel=0.02)
        assert tuning.corpus is whole.corpus
