"""A room imports only rooms below it, and importing the house costs nothing that is not needed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lynxbench"

# Top to bottom; rooms of one floor do not import each other.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"cli"}),
    frozenset({"study", "tuning"}),
    frozenset({"diagnosis", "fetching", "intake", "leaderboard"}),
    frozenset({"sweep"}),
    frozenset({"conclusions"}),
    frozenset({"records"}),
    frozenset({"scoring", "measurement", "execution", "quantization", "tasks"}),
    frozenset({"datasets"}),
    frozenset({"specs"}),
    frozenset({"errors"}),
)
# Outside the floors: data, the entry point, and the package itself, which offers the verbs in Python.
OUTSIDE = {"suites", "__main__", "__init__"}
HEAVY = (
    "dask",
    "distributed",
    "duckdb",
    "fsspec",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sklearn",
    "sympy",
)
OPTIONAL = ("dask", "distributed", "duckdb", "fsspec", "onnxruntime", "pandas", "polars", "sklearn")

BLOCKED_IMPORTS = f"""
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ImportError(name + " is not here")

sys.meta_path.insert(0, Blocked())
import lynxbench
names = [module.name for module in pkgutil.walk_packages(lynxbench.__path__, "lynxbench.")]
for name in names:
    if name != "lynxbench.__main__":
        importlib.import_module(name)
print(len(names))
"""


def python(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of `names` a fresh process has loaded after `statement`."""
    return python(f"{statement}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])").split()


def room(module: str) -> str:
    return module.split(".")[1]


def imported_rooms(file: Path) -> set[str]:
    """The rooms that a file imports, wherever in the file: inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            if node.module == "lynxbench":
                found |= {alias.name for alias in node.names if alias.name in set().union(*FLOORS)}
            elif node.module and node.module.startswith("lynxbench."):
                found.add(room(node.module))
        elif isinstance(node, ast.Import):
            found |= {room(alias.name) for alias in node.names if alias.name.startswith("lynxbench.")}
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_is_on_a_floor() -> None:
    assert {room_of(file) for file in files()} - OUTSIDE == set().union(*FLOORS)


def test_a_room_imports_only_rooms_below_it() -> None:
    wrong = []
    for file in files():
        if (mine := room_of(file)) in OUTSIDE:
            continue
        floor = next(number for number, rooms in enumerate(FLOORS) if mine in rooms)
        allowed = {mine}.union(*FLOORS[floor + 1 :])
        wrong += [f"{file.relative_to(ROOT)} imports {other}" for other in imported_rooms(file) - allowed]
    assert wrong == []


def test_import_linter_agrees() -> None:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    assert command is not None, "import-linter belongs to the dev group"
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_can_be_imported_without_what_is_optional_or_heavy() -> None:
    assert int(python(BLOCKED_IMPORTS)) > 50


@pytest.mark.parametrize("statement", ["import lynxbench", "import lynxbench.cli", "import lynxbench.cli.app"])
def test_the_command_line_starts_light(statement: str) -> None:
    assert loaded_by(statement, HEAVY) == []


def test_the_parent_of_a_sweep_never_imports_onnxruntime() -> None:
    statement = "import lynxbench.sweep.run, lynxbench.cli.sweep"
    assert loaded_by(statement, ("onnxruntime", "sklearn", "pandas", "polars", "duckdb")) == []


def test_declarations_are_read_without_numpy() -> None:
    resolve = "from lynxbench.specs.resolve import resolve_suite\nresolve_suite('starter')"
    assert loaded_by(resolve, HEAVY) == []
