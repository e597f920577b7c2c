"""Equal declarations have equal digests, any change of an option changes them, and JSON loses nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from lynxbench.specs.base import Spec, build
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import builtin_folder, read_toml
from lynxbench.specs.resolve import builtin_suites
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import Protocol, Suite
from tests.specs.declare import RUBRIC, SUITE, built

BUILT_IN: list[tuple[type[Spec], Path]] = [
    *[(Suite, file) for file in builtin_suites().values()],
    *[(Rubric, file) for file in sorted(builtin_folder("rubrics").glob("*.toml"))],
    *[(ExecutorSpec, file) for file in sorted(builtin_folder("executors").glob("*.toml"))],
]
each_built_in = pytest.mark.parametrize(
    ("spec", "file"), BUILT_IN, ids=[f"{spec.__name__}-{file.stem}" for spec, file in BUILT_IN]
)


def shuffled(value: Any, random: Any) -> Any:
    """The same data, the keys of every table in another order."""
    if isinstance(value, Mapping):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


def violations(data: Any, spec: type[Spec]) -> list[str]:
    """Where `data` breaks the JSON Schema of `spec`."""
    return [error.json_path for error in Draft202012Validator(spec.model_json_schema()).iter_errors(data)]


def test_there_are_built_in_declarations_of_every_kind() -> None:
    assert {spec for spec, _ in BUILT_IN} == {Suite, Rubric, ExecutorSpec}


@each_built_in
def test_json_gives_the_declaration_back(spec: type[Spec], file: Path) -> None:
    declared = build(spec, read_toml(file), str(file))
    again = spec.from_json(declared.model_dump_json())
    assert again == declared
    assert again.digest() == declared.digest()
    assert hash(again) == hash(declared)


@each_built_in
def test_the_json_schema_accepts_what_is_built_in(spec: type[Spec], file: Path) -> None:
    Draft202012Validator.check_schema(spec.model_json_schema())
    assert violations(read_toml(file), spec) == []


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ('kind = "fp32"', 'kind = "fp33"', "$.schemes[0].kind"),
        ("count = 8", 'count = "8"', "$.calibrations[0].count"),
        ("count = 8", "count = 0", "$.calibrations[0].count"),
        ('models = ["net"]', 'models = ["a b"]', "$.workloads[0].models[0]"),
        ('models = ["net"]', "models = []", "$.workloads[0].models"),
        ('split = "train"', 'splt = "train"', "$.calibrations[0]"),
        ("budgets.quick", "budgets.quik", "$.budgets"),
    ],
)
def test_the_json_schema_refuses_what_an_editor_should_underline(before: str, after: str, path: str) -> None:
    assert path in violations(tomllib.loads(SUITE.replace(before, after)), Suite)


@given(random=st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(random: Any) -> None:
    for spec, text in ((Suite, SUITE), (Rubric, RUBRIC)):
        data = tomllib.loads(text)
        declared, other = build(spec, data, "x"), build(spec, shuffled(data, random), "x")
        assert other == declared
        assert other.canonical() == declared.canonical()
        assert other.digest() == declared.digest()


def test_defaults_said_or_left_out_are_the_same_declaration() -> None:
    short = built(Scheme, 'name = "s"\nkind = "int8-dynamic"')
    long = built(
        Scheme, 'name = "s"\nkind = "int8-dynamic"\nweight_type = "int8"\nper_channel = true\nop_types = "all"'
    )
    assert short.digest() == long.digest()
    assert built(Protocol, "").digest() == built(Protocol, "threads = 1").digest()
    assert built(Protocol, "block_s = 1").digest() == built(Protocol, "block_s = 1.0").digest()


_OTHER_OPTIONS = {
    "activation_type": "int8",
    "format": "qoperator",
    "method": "entropy",
    "op_types": ["Conv"],
    "per_channel": False,
    "reduce_range": True,
    "weight_type": "uint8",
}


@given(changes=st.sets(st.sampled_from(sorted(_OTHER_OPTIONS)), min_size=1))
def test_any_change_of_an_option_changes_the_digest(changes: set[str]) -> None:
    plain = {"name": "s", "kind": "int8-static"}
    digests = {build(Scheme, plain, "x").digest()}
    given: dict[str, Any] = dict(plain)
    for option in sorted(changes):
        given[option] = _OTHER_OPTIONS[option]
        digests.add(build(Scheme, given, "x").digest())
    assert len(digests) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        ("seed = 7", "seed = 8"),
        ("count = 40", "count = 41"),
        ('metric = "top-1"', 'metric = "ece"'),
        ('"higher-is-better"', '"lower-is-better"'),
        ("value = 0.01", "value = 0.02"),
        ('version = "1.0"', 'version = "1.1"'),
        ('strata = ["view", "class"]', 'strata = ["class", "view"]'),
    ],
)
def test_every_word_of_a_rubric_counts(change: tuple[str, str]) -> None:
    text = RUBRIC.replace("count = 40", "count = 40\nseed = 7")
    assert built(Rubric, text).digest() != built(Rubric, text.replace(*change)).digest()


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert built(Scheme, 'name = "s"\nkind = "fp32"').digest() == (
        "e90bb2b4dbef0e5004b26636a3b7722981cbdbd749721e035bfbf54a311799eb"
    )


def test_a_declaration_cannot_be_changed() -> None:
    scheme = built(Scheme, 'name = "s"\nkind = "fp32"')
    with pytest.raises(ValidationError, match="frozen"):
        scheme.name = "t"


@pytest.mark.parametrize("text", ["{", '{"name": "s"}', '{"name": "s", "kind": "fp32", "more": 1}', "[]"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Scheme.from_json(text)
