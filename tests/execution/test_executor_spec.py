"""Executor declarations: the built-in ones load, and wrong ones are told in words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from lynxbench.errors import DeclarationError
from lynxbench.specs.base import build
from lynxbench.specs.executor import ExecutorSpec, check_options
from lynxbench.specs.load import builtin_folder

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "provider": "MyExecutionProvider",
    "schemes": ["fp32"],
    "threads": "my_threads",
    "read_back": "host",
    "environment": "own",
    "platforms": ["linux-x86_64"],
    "wheel": {"distribution": "onnxruntime-mine", "version": "==1.0"},
    "allowed_options": {
        "my_threads": {"type": "integer"},
        "mode": {"type": "text", "choices": ["fast", "exact"]},
        "graph": {"type": "boolean"},
    },
}


def problems(**changes: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        build(ExecutorSpec, {**MINIMAL, **changes}, "mine.toml")
    return str(caught.value)


def test_the_catalogue_holds_what_the_readme_promises(specs: Mapping[str, ExecutorSpec]) -> None:
    assert set(specs) == {
        "coreml",
        "cpu",
        "cuda",
        "directml",
        "migraphx",
        "nxrt",
        "openvino",
        "openvino-cpu",
        "qnn-htp",
        "qnn-htp-simulator",
        "tensorrt",
        "tensorrt-rtx",
        "webgpu",
        "webgpu-software",
    }


def test_simulated_executors_say_so(specs: Mapping[str, ExecutorSpec]) -> None:
    assert {name for name, spec in specs.items() if spec.simulated} == {"qnn-htp-simulator", "webgpu-software"}


def test_one_that_runs_nowhere_near_linux_says_where_to_go(specs: Mapping[str, ExecutorSpec]) -> None:
    elsewhere = {name: spec for name, spec in specs.items() if "linux-x86_64" not in spec.platforms}
    assert set(elsewhere) == {"coreml", "directml", "qnn-htp"}
    assert all(spec.platform_note for spec in elsewhere.values())


def test_no_declaration_lets_int8_ranges_come_from_a_hidden_table(specs: Mapping[str, ExecutorSpec]) -> None:
    names = [option for spec in specs.values() for option in spec.allowed_options]
    assert not [name for name in names if "calibration" in name]


def test_the_digest_follows_the_content() -> None:
    first = build(ExecutorSpec, MINIMAL, "mine.toml")
    assert first.digest() == build(ExecutorSpec, dict(reversed(MINIMAL.items())), "other.toml").digest()
    assert first.digest() != build(ExecutorSpec, {**MINIMAL, "threads": "unsupported"}, "mine.toml").digest()


def test_an_unknown_option_names_the_nearest() -> None:
    spec = build(ExecutorSpec, MINIMAL, "mine.toml")
    with pytest.raises(DeclarationError) as caught:
        check_options(spec, {"my_thread": 2, "graph": 1, "mode": "fsat"}, "suite.toml")
    unknown, wrong_type, wrong_choice = caught.value.problems
    assert (unknown.file, unknown.key, unknown.hint) == (
        "suite.toml",
        "options.my_thread",
        "did you mean 'my_threads'?",
    )
    assert (wrong_type.key, wrong_type.expected) == ("options.graph", "boolean")
    assert (wrong_choice.expected, wrong_choice.hint) == ("fast, exact", "did you mean 'fast'?")


def test_a_boolean_is_no_integer() -> None:
    spec = build(ExecutorSpec, MINIMAL, "mine.toml")
    with pytest.raises(DeclarationError):
        check_options(spec, {"my_threads": True}, "suite.toml")
    check_options(spec, {"my_threads": 2, "graph": True, "mode": "exact"}, "suite.toml")


def test_wrong_declarations() -> None:
    assert "neither intra_op_num_threads nor unsupported" in problems(threads="theads")
    assert 'precision.changed_by names "tf32"' in problems(precision={"changed_by": ["tf32"]})
    assert 'engine_cache names "path"' in problems(engine_cache={"folders": ["path"]})
    assert 'read_back = "stream" needs memory' in problems(read_back="stream")
    assert "did you mean 'mode'?" in problems(options={"mod": "fast"})
    assert "did you mean 'graph'?" in problems(scheme_options={"fp32": {"grap": True}})
    assert "wheel.version" in problems(wheel={"distribution": "a", "version": "1.x"})
    assert "wheel.dependencies[0]" in problems(wheel={"distribution": "a", "version": "", "dependencies": ["a b c"]})
    assert "did you mean 'environment'?" in problems(enviroment="own")
    assert "platforms" in problems(platforms=[])
    assert "schemes[0]" in problems(schemes=["int8"])


def test_the_readme_keeps_its_word(specs: Mapping[str, ExecutorSpec]) -> None:
    readme = (builtin_folder("executors") / "README.md").read_text(encoding="utf-8")
    example = readme.split("```toml\n")[1].split("```")[0]
    assert len(example.splitlines()) == 15
    assert build(ExecutorSpec, tomllib.loads(example), "README.md") == specs["nxrt"]
    named = set(re.findall(r"`([a-z0-9-]+)`", readme.split("## Add")[0]))
    assert set(specs) - {"nxrt"} <= named
    undocumented = [
        name for name in ExecutorSpec.model_fields if f"`{name}`" not in readme and f"[{name}]" not in readme
    ]
    assert set(undocumented) <= {"name", "title", "notes", "memory"}
