"""From a rubric or a calibration reader to the very samples, on the starter suite's real data."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lynxbench.datasets.corruptions import corrupt
from lynxbench.datasets.samples import Samples, calibration_samples, overlap, rubric_samples
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import build
from lynxbench.specs.load import builtin_folder, locate, read_toml
from lynxbench.specs.resolve import ResolvedSuite, resolve_suite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Calibration

RUBRICS = ("fashion-classification", "fashion-retrieval", "arithmetic-steps")


def rubric_file(name: str) -> Path:
    return builtin_folder("rubrics") / f"{name}.toml"


def rubric(name: str, **test_set: Any) -> Rubric:
    """A built-in rubric, with changes to its test set."""
    data = read_toml(rubric_file(name))
    data["test_set"] |= test_set
    return build(Rubric, data, str(rubric_file(name)))


def samples(declared: Rubric, size: str = "quick") -> Samples:
    file = rubric_file(declared.name)
    return rubric_samples(declared, locate(declared.test_set.source, file), file, size)


def refused(action: Any) -> Problem:
    with pytest.raises(DeclarationError) as caught:
        action()
    (problem,) = caught.value.problems
    return problem


@pytest.fixture(scope="module")
def starter() -> ResolvedSuite:
    return resolve_suite("starter")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small data files."""
    folder = tmp_path_factory.mktemp("tables")
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)
    labels = np.arange(12) % 3
    np.savez(folder / "plain.npz", images=images, labels=labels)
    np.savez(folder / "named.npz", x=images, y=labels, images=np.arange(12), camera=np.asarray(["l", "r"] * 6))
    np.savez(folder / "float.npz", images=images / 255, labels=labels)
    np.savez(folder / "negative.npz", images=images, labels=labels - 1)
    np.savez(folder / "soft.npz", images=images, labels=np.eye(12))
    np.savez(folder / "twice.npz", images=images, labels=labels, ids=np.arange(12) // 2)
    np.savez(folder / "unlabelled.npz", images=images)
    (folder / "prompts.jsonl").write_text("".join(f'{{"prompt": "{i}", "steps": {i % 2}}}\n' for i in range(6)))
    return folder


@pytest.mark.parametrize("name", RUBRICS)
def test_every_sample_is_there_once_in_every_view(name: str) -> None:
    declared = rubric(name)
    views = [view.name for view in declared.test_set.views]
    chosen = samples(declared)
    assert declared.test_set.quick_count is not None
    assert len(chosen) == declared.test_set.quick_count * len(views)
    assert len(set(chosen.ids.tolist())) == len(chosen)
    assert chosen.strata["view"].tolist() == np.repeat(views, declared.test_set.quick_count).tolist()
    assert len(set(chosen.source_ids.tolist())) == declared.test_set.quick_count
    for stratum in declared.strata:
        assert len(chosen.strata[stratum]) == len(chosen)
    if len(views) > 1:
        assert chosen.ids[0] == f"{chosen.source_ids[0]}/{views[0]}"
    else:
        np.testing.assert_array_equal(chosen.ids, chosen.source_ids)


def test_classes_have_names_and_the_same_share() -> None:
    declared = rubric("fashion-classification", quick_count=155)
    chosen = samples(declared)
    assert chosen.labels is not None
    assert chosen.strata["class"].tolist() == [declared.test_set.class_names[label] for label in chosen.labels]
    counts = Counter(chosen.strata["class"].tolist())
    assert sorted(set(counts.values())) == [4 * 15, 4 * 16]


def test_steps_have_the_same_share() -> None:
    counts = Counter(samples(rubric("arithmetic-steps", quick_count=96)).strata["steps"].tolist())
    assert counts == dict.fromkeys("12345678", 12)


@pytest.mark.parametrize("name", RUBRICS)
def test_a_quick_test_set_is_part_of_the_standard_one_to_the_pixel(name: str) -> None:
    declared = rubric(name, quick_count=40, count=60, thorough_count=80)
    quick, standard, thorough = (samples(declared, size) for size in ("quick", "standard", "thorough"))
    assert set(quick.ids.tolist()) < set(standard.ids.tolist()) < set(thorough.ids.tolist())
    place = {identity: index for index, identity in enumerate(standard.ids.tolist())}
    there = [place[identity] for identity in quick.ids.tolist()]
    np.testing.assert_array_equal(standard.inputs[there], quick.inputs)
    np.testing.assert_array_equal(standard.contents[there], quick.contents)
    for stratum, column in quick.strata.items():
        np.testing.assert_array_equal(standard.strata[stratum][there], column)


def test_views_are_corrupted_originals_and_retrieval_searches_the_originals() -> None:
    declared = rubric("fashion-retrieval", quick_count=20)
    chosen = samples(declared)
    assert chosen.corpus is not None
    assert chosen.labels is not None
    originals = chosen.corpus
    assert originals.ids.tolist() == originals.source_ids.tolist() == chosen.source_ids[:20].tolist()
    for number, view in enumerate(declared.test_set.views):
        mine = slice(20 * number, 20 * (number + 1))
        ids = [str(identity) for identity in originals.ids]
        expected = corrupt(originals.inputs, view.corruption, view.severity, declared.test_set.seed, ids)
        np.testing.assert_array_equal(chosen.inputs[mine], expected)
        np.testing.assert_array_equal(chosen.labels[mine], originals.labels)
        np.testing.assert_array_equal(chosen.contents[mine], originals.contents)
    assert samples(rubric("fashion-classification", quick_count=20)).corpus is None


@pytest.mark.parametrize("name", RUBRICS)
def test_the_fingerprint_sees_every_column(name: str) -> None:
    chosen = samples(rubric(name, quick_count=10))
    assert samples(rubric(name, quick_count=10)).fingerprint() == chosen.fingerprint()
    fingerprints = {chosen.fingerprint()}
    order = np.arange(len(chosen))[::-1]
    columns = {
        field.name: value
        for field in dataclasses.fields(chosen)
        if isinstance(value := getattr(chosen, field.name), np.ndarray)
    }
    for column, values in columns.items():
        fingerprints.add(dataclasses.replace(chosen, **{column: values[order]}).fingerprint())
    for stratum, values in chosen.strata.items():
        changed = values.copy()
        changed[0] = "z"
        fingerprints.add(dataclasses.replace(chosen, strata={**chosen.strata, stratum: changed}).fingerprint())
    first = {"view": "class"} if "class" in chosen.strata else {"view": "steps"}
    swapped = {first.get(stratum, stratum): values for stratum, values in chosen.strata.items()}
    fingerprints.add(dataclasses.replace(chosen, strata=swapped).fingerprint())
    expected = 2 + len(columns) + len(chosen.strata)
    if chosen.corpus is not None:
        fingerprints.add(dataclasses.replace(chosen, corpus=None).fingerprint())
        fewer = dataclasses.replace(chosen.corpus, ids=chosen.corpus.ids[::-1])
        fingerprints.add(dataclasses.replace(chosen, corpus=fewer).fingerprint())
        expected += 2
    assert len(fingerprints) == expected


@pytest.mark.parametrize("name", RUBRICS)
def test_another_process_reads_the_very_samples(name: str, tmp_path: Path) -> None:
    chosen = samples(rubric(name, quick_count=10))
    chosen.write(tmp_path / "samples")
    again = Samples.read(tmp_path / "samples")
    assert again.fingerprint() == chosen.fingerprint()
    assert len(again) == len(chosen)
    assert (again.corpus is None) == (chosen.corpus is None)


def test_the_starter_suite_calibrates_on_nothing_that_it_asks(starter: ResolvedSuite) -> None:
    for workload in starter.suite.workloads:
        declared = starter.rubrics[workload.name]
        asked = rubric_samples(
            declared.spec, locate(declared.spec.test_set.source, declared.file), declared.file, "thorough"
        )
        for calibration in starter.calibrations_of(workload):
            source = locate(calibration.source, starter.file)
            chosen = calibration_samples(calibration, source, starter.file, declared.spec.task)
            assert len(chosen) == calibration.count
            assert overlap(chosen, asked) == []


def test_overlap_goes_by_content_not_by_id() -> None:
    declared = rubric("fashion-retrieval", quick_count=20)
    asked = samples(declared)
    source = locate(declared.test_set.source, rubric_file(declared.name))
    calibration = Calibration(
        name="leak", source="x", split="test", selection="stratified", stratify_by="label", count=30, seed=7
    )
    chosen = calibration_samples(calibration, source, Path("suite.toml"), declared.task)
    # The same seed picks the same samples first: the 20 that are asked are among the 30.
    assert overlap(chosen, asked) == chosen.ids[:20].tolist()
    renamed = dataclasses.replace(chosen, ids=np.char.add("other-", chosen.ids.astype(np.str_)))
    assert len(overlap(renamed, asked)) == 20
    # Only what is searched holds it: still an overlap.
    assert asked.corpus is not None
    unasked = dataclasses.replace(asked, contents=np.asarray(["0"] * len(asked)))
    assert len(overlap(chosen, unasked)) == 20


def test_calibration_keeps_its_order_and_needs_no_labels(tables: Path) -> None:
    plain = {"name": "c", "source": "x", "split": "train", "count": 4, "seed": 3}

    def read(file: str, task: str, **more: Any) -> Samples:
        return calibration_samples(Calibration(**{**plain, **more}), tables / file, Path("suite.toml"), task)

    first = read("unlabelled.npz", "image-classification", selection="first")
    assert first.ids.tolist() == ["0", "1", "2", "3"]
    assert first.labels is None
    shuffled = read("unlabelled.npz", "image-classification", selection="random")
    assert shuffled.ids.tolist() == read("unlabelled.npz", "image-retrieval", selection="random").ids.tolist()
    assert shuffled.ids.tolist() != read("unlabelled.npz", "image-retrieval", selection="random", seed=4).ids.tolist()
    longer = read("unlabelled.npz", "image-classification", selection="random", count=8)
    assert longer.ids[:4].tolist() == shuffled.ids.tolist()
    prompts = read("prompts.jsonl", "generation", stratify_by="steps")
    assert (prompts.targets, sorted(int(text) % 2 for text in prompts.inputs.tolist())) == (None, [0, 0, 1, 1])
    labelled = read("plain.npz", "image-classification", count=3)
    assert labelled.labels is not None
    assert sorted(labelled.labels.tolist()) == [0, 1, 2]
    problem = refused(lambda: read("unlabelled.npz", "image-classification"))
    assert (problem.key, problem.value) == ("calibrations.c.stratify_by", "'label'")


SMALL: dict[str, Any] = {"class_names": [], "views": [{"name": "clean"}], "count": 6, "quick_count": 3}


def small(tables: Path, file: str, name: str = "fashion-classification", **test_set: Any) -> Samples:
    declared = rubric(name, **{**SMALL, **test_set})
    return rubric_samples(declared, tables / file, Path("rubric.toml"))


def test_columns_by_declared_names_and_further_ones_as_strata(tables: Path) -> None:
    chosen = small(tables, "named.npz", fields={"input": "x", "label": "y"}, selection="all")
    assert chosen.ids.tolist() == [str(i) for i in range(12)]
    assert chosen.strata.keys() == {"camera", "class", "images", "view"}
    assert chosen.strata["class"].tolist() == [str(i % 3) for i in range(12)]
    by_camera = small(tables, "named.npz", fields={"input": "x", "label": "y"}, stratify_by="camera")
    assert Counter(by_camera.strata["camera"].tolist()) == {"l": 3, "r": 3}


@pytest.mark.parametrize(
    ("file", "changes", "expected"),
    [
        ("float.npz", {}, ("float.npz", "images", "not images", "float64 [12, 6, 6]")),
        ("named.npz", {}, ("named.npz", "labels", "the file has no column 'labels' (wanted as label)", None)),
        ("negative.npz", {}, ("negative.npz", "labels", "not class labels", "int64 [6]")),
        ("soft.npz", {"selection": "all"}, ("soft.npz", "labels", "not class labels", "float64 [12, 12]")),
        ("twice.npz", {}, ("twice.npz", "ids", "sample ids repeat", None)),
        ("plain.npz", {"count": 13}, ("rubric.toml", "test_set.count", "more than there are", "13")),
        ("plain.npz", {"stratify_by": "input"}, ("rubric.toml", "test_set.stratify_by", None, "'input'")),
        ("plain.npz", {"stratify_by": "colour"}, ("rubric.toml", "test_set.stratify_by", None, "'colour'")),
        (
            "plain.npz",
            {"fields": {"picture": "images"}},
            ("rubric.toml", "test_set.fields.picture", "unknown role", None),
        ),
        ("plain.npz", {"fields": {"id": "names"}}, ("plain.npz", "names", None, None)),
        (
            "plain.npz",
            {"class_names": ["a", "b"]},
            ("rubric.toml", "test_set.class_names", "label 2 has no name", None),
        ),
    ],
)
def test_what_is_wrong_with_a_test_set(
    tables: Path, file: str, changes: dict[str, Any], expected: tuple[str, str, str | None, str | None]
) -> None:
    problem = refused(lambda: small(tables, file, **changes))
    where, key, message, value = expected
    assert (Path(problem.file).name, problem.key) == (where, key)
    assert message in {None, problem.message}
    assert value in {None, problem.value}


def test_text_tasks_take_text_alone(tables: Path) -> None:
    problem = refused(
        lambda: small(tables, "plain.npz", "arithmetic-steps", fields={"input": "images", "target": "labels"})
    )
    assert (problem.key, problem.message) == ("images", "not text")
    problem = refused(lambda: small(tables, "prompts.jsonl", "arithmetic-steps"))
    assert problem.message == "the file has no column 'target' (wanted as target)"
    blurred = {"views": [{"name": "b", "corruption": "blur", "severity": 1}], "count": 4}
    problem = refused(
        lambda: small(tables, "prompts.jsonl", "arithmetic-steps", fields={"target": "prompt"}, **blurred)
    )
    assert problem.message == "is not for texts"


def test_fields_to_report_by_must_be_there() -> None:
    declared = rubric("arithmetic-steps", quick_count=8).model_copy(update={"strata": ("steps", "clas", "colour")})
    with pytest.raises(DeclarationError) as caught:
        samples(declared)
    found = [(problem.key, problem.value, problem.expected) for problem in caught.value.problems]
    known = "one of: operators, steps, view"
    assert found == [("strata[1]", "'clas'", known), ("strata[2]", "'colour'", known)]
