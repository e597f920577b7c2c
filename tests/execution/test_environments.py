"""Environments: when one counts as there, and what is written about it. `test_real_providers` makes real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from lynxbench.errors import StoreError
from lynxbench.execution import Environment, create, interpreter, list_environments, remove
from lynxbench.specs.executor import ExecutorSpec, Wheel
from tests.execution.environments import CHECKOUT

Specs = Mapping[str, ExecutorSpec]


def written(spec: ExecutorSpec, cache: Path, **changes: str) -> Environment:
    """An environment as `create` leaves it, with this interpreter standing in for its own."""
    facts = {
        "executor": spec.name,
        "python": sys.executable,
        "wheel": spec.wheel.requirement(),
        "wheel_digest": spec.wheel.digest(),
        "installer": "pip",
        "lynxbench_source": str(CHECKOUT),
        **changes,
    }
    environment = Environment(**facts, versions={"onnxruntime-openvino": "1.24.1"})
    folder = cache / "environments" / spec.name
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(json.dumps(asdict(environment)), encoding="utf-8")
    return environment


def test_there_and_intact(specs: Specs, tmp_path: Path) -> None:
    spec = specs["openvino-cpu"]
    assert interpreter(spec, cache_dir=tmp_path) is None
    environment = written(spec, tmp_path)
    assert interpreter(spec, cache_dir=tmp_path) == Path(sys.executable)
    assert list_environments(cache_dir=tmp_path) == (environment,)
    assert create(spec, cache_dir=tmp_path) == environment  # made nothing: there was one


def test_made_for_another_wheel_or_gone(specs: Specs, tmp_path: Path) -> None:
    spec = specs["openvino-cpu"]
    written(spec, tmp_path / "a", wheel_digest="0" * 64)
    written(spec, tmp_path / "b", python=str(tmp_path / "nowhere"))
    assert [interpreter(spec, cache_dir=tmp_path / name) for name in "ab"] == [None, None]


def test_half_made(specs: Specs, tmp_path: Path) -> None:
    spec = specs["openvino-cpu"]
    folder = tmp_path / "environments" / spec.name
    (folder / "venv").mkdir(parents=True)
    (folder / "environment.json").write_text('{"executor": "openv', encoding="utf-8")
    assert interpreter(spec, cache_dir=tmp_path) is None
    assert list_environments(cache_dir=tmp_path) == ()
    assert remove(spec.name, cache_dir=tmp_path)
    assert not folder.exists()


def test_remove_touches_environments_alone(specs: Specs, tmp_path: Path) -> None:
    written(specs["openvino-cpu"], tmp_path)
    (tmp_path / "precious").mkdir()
    for name in ("../precious", "..", ".", "", "unknown", str(tmp_path / "precious")):
        assert not remove(name, cache_dir=tmp_path)
    assert (tmp_path / "precious").is_dir()
    assert remove("openvino-cpu", cache_dir=tmp_path)
    assert not remove("openvino-cpu", cache_dir=tmp_path)
    assert list_environments(cache_dir=tmp_path) == ()


def test_an_installer_that_fails_leaves_nothing_usable(specs: Specs, tmp_path: Path) -> None:
    wheel = Wheel(distribution="lynxbench-no-such-wheel", version="==1.0")
    spec = specs["openvino-cpu"].model_copy(update={"wheel": wheel})
    with pytest.raises(StoreError, match="no-python"):
        create(spec, cache_dir=tmp_path, python=str(tmp_path / "no-python"))
    assert interpreter(spec, cache_dir=tmp_path) is None
    assert list_environments(cache_dir=tmp_path) == ()


def test_a_worker_needs_no_more_than_an_environment_has() -> None:
    """`execution` opens sessions in environments that hold only what `WORKER_NEEDS` names."""
    from lynxbench.execution.environments import WORKER_NEEDS

    code = (
        "import sys, lynxbench.execution\n"
        "third = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in third if name != 'lynxbench' and not name.startswith('_')))"
    )
    env = {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=env)
    # Debian's Python has a sitecustomize of its own.
    brought_along = {"annotated_types", "pydantic_core", "sitecustomize", "typing_extensions", "typing_inspection"}
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {*WORKER_NEEDS, *brought_along}
