"""Reading declarations from TOML, and finding them: by directory, in the user's configuration, built in."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Spec, build, did_you_mean
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.hub import HUB, hub_file
from lynxbench.specs.rubric import Rubric

S = TypeVar("S", bound=Spec)
# What has a file of its own and is called by its name.
N = TypeVar("N", Rubric, ExecutorSpec)
R = TypeVar("R")

BUILTIN = "builtin:"
FETCHED = "fetched:"
PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Declared(Generic[S]):
    """A validated declaration, the file it stands in, and its digest."""

    spec: S
    file: Path

    @property
    def digest(self) -> str:
        return self.spec.digest()


def read_toml(file: Path) -> dict[str, Any]:
    """The file as plain data. Raises `DeclarationError` when it cannot be read or is no TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DeclarationError([Problem(str(file), "", "no such file")]) from None
    except IsADirectoryError:
        raise DeclarationError([Problem(str(file), "", "is a folder, not a TOML file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError([Problem(str(file), "", f"cannot be read: {error}")]) from None
    except (tomllib.TOMLDecodeError, ValueError) as error:  # a number of thousands of digits is a plain ValueError
        raise DeclarationError([Problem(str(file), "", f"is not valid TOML: {error}")]) from None
    except RecursionError:
        raise DeclarationError([Problem(str(file), "", "is not valid TOML: nested too deep")]) from None


def collect(actions: Iterable[Callable[[], R]]) -> list[R]:
    """Run all; raise one `DeclarationError` with the problems of all that failed."""
    results: list[R] = []
    problems: list[Problem] = []
    for action in actions:
        try:
            results.append(action())
        except DeclarationError as error:
            problems.extend(error.problems)
    if problems:
        raise DeclarationError(problems)
    return results


def locate(path: str, declared_in: Path) -> Path:
    """Where a declared path points: `builtin:` into the package's suites, `fetched:` to what `lynxbench suite fetch`
    made, `hf://` to a local copy from the hub, else relative to the declaring file. Raises `DeclarationError` where the
    hub has no such file or is not to be had, and where there is nothing of that name to fetch.
    """
    if path.startswith(HUB):
        return hub_file(path)
    if path.startswith(FETCHED):
        from lynxbench.specs.fetched import fetched_file

        return fetched_file(path)
    if path.startswith(BUILTIN):
        return PACKAGE / "suites" / path.removeprefix(BUILTIN)
    return (declared_in.parent / Path(path).expanduser()).resolve()


def builtin_folder(kind: str) -> Path:
    """`executors` or `rubrics`: inside an installed package, or at the top of a checkout."""
    packaged = PACKAGE / "builtin" / kind
    return packaged if packaged.is_dir() else PACKAGE.parent / kind


def user_folder(kind: str) -> Path:
    """The user's own declarations: `LYNXBENCH_CONFIG`, else the platform's configuration folder."""
    configured = os.environ.get("LYNXBENCH_CONFIG")
    if configured:
        return Path(configured) / kind
    from platformdirs import user_config_path

    return user_config_path("lynxbench", appauthor=False) / kind


def cache_folder() -> Path:
    """Where artifacts are kept: `LYNXBENCH_CACHE`, else the platform's cache folder."""
    configured = os.environ.get("LYNXBENCH_CACHE")
    if configured:
        return Path(configured)
    from platformdirs import user_cache_path

    return user_cache_path("lynxbench", appauthor=False)


def load_folder(kind: str, spec: type[N], given: Path | None) -> dict[str, Declared[N]]:
    """All declarations of a kind by name: `given` first, then the user's, then built-in.

    Raises `DeclarationError` for every file that is wrong, for a folder given that does not exist, and for a
    name declared twice.
    """
    folders = [user_folder(kind), builtin_folder(kind)]
    if given is not None:
        if not given.is_dir():
            raise DeclarationError(
                [Problem(str(given), "", "no such folder", hint=f"--{kind} takes a folder of TOML files")]
            )
        folders.insert(0, given)
    # A folder given that is also one of the others counts once.
    once = {folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}
    files = [file for folder in reversed(once.values()) for file in sorted(folder.glob("*.toml"))]

    def one(file: Path) -> Declared[N]:
        return Declared(build(spec, read_toml(file), str(file)), file)

    return unique(collect([partial(one, file) for file in files]))


def unique(declarations: Iterable[Declared[N]]) -> dict[str, Declared[N]]:
    """By name; two files that declare one name are an error, never a silent choice."""
    found: dict[str, Declared[N]] = {}
    problems = []
    for declared in declarations:
        name = declared.spec.name
        if name in found:
            problems.append(
                Problem(
                    str(declared.file),
                    "name",
                    f"{name!r} is already declared in {found[name].file}",
                    hint="rename one of them",
                )
            )
        found.setdefault(name, declared)
    if problems:
        raise DeclarationError(problems)
    return found


def override(data: dict[str, Any], assignment: str) -> dict[str, Any]:
    """Apply one ``--set a.b=value``: tables by key, lists by an item's name or index; the value is TOML, else text."""
    where = f"--set {assignment}"
    key, separator, text = assignment.partition("=")
    if not separator or not key.strip():
        raise DeclarationError([Problem(where, "", "is not KEY=VALUE", hint="e.g. --set protocol.time_limit_s=5")])
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return {**data, **_assigned(data, key.strip().split("."), value, where)}


def _assigned(node: Any, path: list[str], value: Any, where: str) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, list):
        names = [str(item.get("name")) if isinstance(item, Mapping) else "" for item in node]
        # Names may hold dots themselves: the longest that fits is meant.
        named = next((n for n in range(len(path), 0, -1) if ".".join(path[:n]) in names), None)
        if named is not None:
            index, rest = names.index(".".join(path[:named])), path[named:]
        elif head.isdecimal() and int(head) < len(node):
            index = int(head)
        else:
            raise DeclarationError([Problem(where, head, "no such item", hint=did_you_mean(head, filter(None, names)))])
        return [*node[:index], _assigned(node[index], rest, value, where), *node[index + 1 :]]
    if isinstance(node, Mapping):
        return {**node, head: _assigned(node.get(head, {} if rest else None), rest, value, where)}
    raise DeclarationError([Problem(where, head, "lies inside a plain value, not a table")])
