"""Reading TOML, finding declarations, and changing a suite from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs
import pytest

from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import (
    PACKAGE,
    builtin_folder,
    cache_folder,
    load_folder,
    locate,
    override,
    read_toml,
    user_folder,
)
from lynxbench.specs.rubric import Rubric
from tests.specs.declare import RUBRIC, refused


def rubric_file(folder: Path, name: str, *, file: str | None = None, title: str = "Is it right?") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file or f"{name}.toml")
    path.write_text(RUBRIC.replace('name = "small"', f'name = "{name}"').replace("Is it right?", title))
    return path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder."""
    monkeypatch.setenv("LYNXBENCH_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_unreadable_toml(tmp_path: Path) -> None:
    broken, latin = tmp_path / "broken.toml", tmp_path / "latin.toml"
    broken.write_text("a = [1,\n")
    latin.write_bytes(b'a = "\xff"')
    for path, said in (
        (tmp_path / "none.toml", "no such file"),
        (tmp_path, "is a folder, not a TOML file"),
        (broken, "is not valid TOML"),
        (latin, "cannot be read"),
    ):
        (problem,) = refused(lambda path=path: read_toml(path))
        assert problem.file == str(path)
        assert problem.message.startswith(said)


def test_paths_lead_from_the_declaring_file(tmp_path: Path) -> None:
    declared_in = tmp_path / "suites" / "mine.toml"
    assert locate("net.onnx", declared_in) == (tmp_path / "suites" / "net.onnx").resolve()
    assert locate("../net.onnx", declared_in) == (tmp_path / "net.onnx").resolve()
    assert locate("/data/net.onnx", declared_in) == Path("/data/net.onnx")
    assert locate("~/net.onnx", declared_in) == (Path.home() / "net.onnx").resolve()
    assert locate("builtin:starter/NOTICE", declared_in) == PACKAGE / "suites" / "starter" / "NOTICE"


def test_folders_of_the_environment_and_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYNXBENCH_CONFIG", str(tmp_path / "a"))
    monkeypatch.setenv("LYNXBENCH_CACHE", str(tmp_path / "b"))
    assert user_folder("rubrics") == tmp_path / "a" / "rubrics"
    assert cache_folder() == tmp_path / "b"
    monkeypatch.delenv("LYNXBENCH_CONFIG")
    monkeypatch.delenv("LYNXBENCH_CACHE")
    assert user_folder("executors") == platformdirs.user_config_path("lynxbench", appauthor=False) / "executors"
    assert cache_folder() == platformdirs.user_cache_path("lynxbench", appauthor=False)


def test_given_users_and_built_in_declarations_are_all_found(tmp_path: Path, config: Path) -> None:
    mine = rubric_file(config / "rubrics", "of-the-user")
    given = rubric_file(tmp_path / "given", "of-the-command")
    found = load_folder("rubrics", Rubric, tmp_path / "given")
    built_in = sorted(builtin_folder("rubrics").glob("*.toml"))
    assert [declared.file for declared in found.values()] == [given, mine, *built_in]
    assert found["of-the-user"].spec.title == "Is it right?"
    assert found["of-the-user"].digest == found["of-the-user"].spec.digest()


def test_the_current_folder_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rubric_file(tmp_path / "rubrics", "lying-around")
    rubric_file(tmp_path, "lying-around-too")
    monkeypatch.chdir(tmp_path)
    assert not {"lying-around", "lying-around-too"} & load_folder("rubrics", Rubric, None).keys()


def test_a_name_declared_twice_is_an_error_wherever_it_stands(tmp_path: Path, config: Path) -> None:
    first = rubric_file(tmp_path / "given", "same", file="a.toml")
    second = rubric_file(tmp_path / "given", "same", file="b.toml", title="Another question?")
    third = rubric_file(config / "rubrics", "same")
    rubric_file(config / "rubrics", "fashion-retrieval")
    found = refused(lambda: load_folder("rubrics", Rubric, tmp_path / "given"))
    assert [(problem.file, problem.key) for problem in found] == [
        (str(second), "name"),
        (str(third), "name"),
        (str(builtin_folder("rubrics") / "fashion-retrieval.toml"), "name"),
    ]
    assert found[0].message == f"'same' is already declared in {first}"


def test_a_folder_that_is_given_and_the_users_own_counts_once(config: Path) -> None:
    rubric_file(config / "rubrics", "once")
    assert "once" in load_folder("rubrics", Rubric, config / "rubrics")
    assert load_folder("executors", ExecutorSpec, builtin_folder("executors")).keys() >= {"cpu", "cuda"}


def test_all_wrong_files_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    rubric_file(tmp_path, "fine")
    for name in ("b", "a"):
        path = rubric_file(tmp_path, name)
        path.write_text(path.read_text().replace("count = 40", "count = 0"))
    found = refused(lambda: load_folder("rubrics", Rubric, tmp_path))
    assert [(problem.file, problem.key) for problem in found] == [
        (str(tmp_path / "a.toml"), "test_set.count"),
        (str(tmp_path / "b.toml"), "test_set.count"),
    ]


def test_a_folder_given_must_be_there(tmp_path: Path) -> None:
    (problem,) = refused(lambda: load_folder("rubrics", Rubric, tmp_path / "rubrik"))
    assert (problem.file, problem.message) == (str(tmp_path / "rubrik"), "no such folder")
    assert problem.hint == "--rubrics takes a folder of TOML files"


DATA: dict[str, Any] = {
    "name": "s",
    "models": [{"name": "net", "path": "a"}, {"name": "net.v2", "path": "b"}, {"name": "1", "path": "c"}],
    "protocol": {"threads": 1, "nested": {"deep": 1}},
}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("name=other", ("name",), "other"),
        ('name="with = sign"', ("name",), "with = sign"),
        ("name=a=b", ("name",), "a=b"),
        ("protocol.threads=4", ("protocol", "threads"), 4),
        ("protocol.threads = 4", ("protocol", "threads"), 4),
        ("protocol.block_s=0.5", ("protocol", "block_s"), 0.5),
        ("protocol.nested.deep=true", ("protocol", "nested", "deep"), True),
        ("new.table.key=[1, 2]", ("new", "table", "key"), [1, 2]),
        ("models.net.path=x.onnx", ("models", 0, "path"), "x.onnx"),
        ("models.net.v2.path=x.onnx", ("models", 1, "path"), "x.onnx"),
        ("models.0.path=x.onnx", ("models", 0, "path"), "x.onnx"),
        ("models.1.path=x.onnx", ("models", 2, "path"), "x.onnx"),  # the name goes before the position
        ("models.2.path=x.onnx", ("models", 2, "path"), "x.onnx"),
        ('models=[{ name = "only" }]', ("models",), [{"name": "only"}]),
    ],
)
def test_set_changes_one_thing(assignment: str, path: tuple[str | int, ...], value: object) -> None:
    before = repr(DATA)
    changed: Any = override(DATA, assignment)
    assert repr(DATA) == before
    reached = changed
    for part in path:
        reached = reached[part]
    assert reached == value
    assert {key: item for key, item in changed.items() if key != path[0]} == {
        key: item for key, item in DATA.items() if key != path[0]
    }


@pytest.mark.parametrize(
    ("assignment", "key", "message", "hint"),
    [
        ("protocol.threads", "", "is not KEY=VALUE", "e.g. --set protocol.time_limit_s=5"),
        ("=3", "", "is not KEY=VALUE", "e.g. --set protocol.time_limit_s=5"),
        ("models.nat.path=x", "nat", "no such item", "did you mean 'net'?"),
        ("models.7.path=x", "7", "no such item", "one of: 1, net, net.v2"),
        ("models.².path=x", "²", "no such item", "one of: 1, net, net.v2"),
        ("name.more=x", "more", "lies inside a plain value, not a table", None),
    ],
)
def test_set_says_what_it_cannot_find(assignment: str, key: str, message: str, hint: str | None) -> None:
    (problem,) = refused(lambda: override(DATA, assignment))
    assert (problem.file, problem.key, problem.message) == (f"--set {assignment}", key, message)
    assert problem.hint == hint
