"""One environment for each executor whose wheel cannot share one, kept in LynxBench's cache folder.

`<cache>/environments/<executor>/` holds `venv/` and, written last, `environment.json` with every resolved version.
LynxBench itself is linked in, not copied; and a worker always runs the code of the process that starts it
(`worker_command`), so that an environment can never hold a stale LynxBench.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock
from packaging.requirements import Requirement

from lynxbench.errors import StoreError
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import PACKAGE, cache_folder

INSTALL_TIMEOUT_S = 1800.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# A worker turns texts into tokens, answers, times and writes; it neither trains, draws nor scores. Checked by a test
# that opens a session in such an environment with these alone.
WORKER_NEEDS = ("filelock", "numpy", "packaging", "platformdirs", "psutil", "pydantic", "tokenizers")


@dataclass(frozen=True)
class Environment:
    """An executor's own environment. `versions` are all its distributions; `wheel_digest` tells a stale one."""

    executor: str
    python: str
    wheel: str
    wheel_digest: str
    installer: str
    lynxbench_source: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Command:
    """How to start a process."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def create(
    spec: ExecutorSpec,
    *,
    cache_dir: Path | None = None,
    lynxbench_source: Path | None = None,
    python: str = sys.executable,
    force: bool = False,
) -> Environment:
    """Make the environment of `spec`, or return the one that is there and intact.

    lynxbench_source: folder that holds the package `lynxbench`, the running one by default; python: interpreter to
    build on. Uses uv where it is installed, else venv and pip. Raises `StoreError` with the installer's last words.
    """
    folder = _folder(spec.name, cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        current = _read(folder)
        if current is not None and not force and _intact(spec, current):
            return current
        (folder / "environment.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "venv", ignore_errors=True)
        uv = shutil.which("uv")
        source = (lynxbench_source or PACKAGE.parent).resolve()
        venv = folder / "venv"
        _run([uv, "venv", "--quiet", "--python", python, str(venv)] if uv else [python, "-m", "venv", str(venv)])
        inside = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        pip = (
            [uv, "pip", "install", "--quiet", "--python", str(inside)]
            if uv
            else [str(inside), "-m", "pip", "install", "-q"]
        )
        _run([*pip, *_requirements(spec, source)])
        if spec.wheel.install_without_dependencies:
            _run([*pip, "--no-deps", spec.wheel.requirement()])
        _link(inside, source)
        versions = _versions(inside)
        environment = Environment(
            executor=spec.name,
            python=str(inside),
            wheel=spec.wheel.requirement(),
            wheel_digest=spec.wheel.digest(),
            installer="uv" if uv else "pip",
            lynxbench_source=str(source),
            versions=versions,
        )
        temporary = folder / "environment.json.tmp"
        temporary.write_text(json.dumps(asdict(environment), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(folder / "environment.json")
        return environment


def list_environments(*, cache_dir: Path | None = None) -> tuple[Environment, ...]:
    """All environments that were completed, by name."""
    root = _root(cache_dir)
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return tuple(found for folder in folders if folder.is_dir() and (found := _read(folder)) is not None)


def remove(name: str, *, cache_dir: Path | None = None) -> bool:
    """Delete the environment of executor `name`, half-made ones too; False when there is none."""
    folder = _folder(name, cache_dir)
    # A name is one plain token, so that nothing outside (".." above all) can ever be deleted.
    if not _NAME.fullmatch(name) or not folder.is_dir():
        return False
    with FileLock(str(folder) + ".lock"):
        (folder / "environment.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    Path(str(folder) + ".lock").unlink(missing_ok=True)
    return True


def interpreter(spec: ExecutorSpec, *, cache_dir: Path | None = None) -> Path | None:
    """The interpreter of the executor's own environment; None when there is none, or it was made for another wheel."""
    found = _read(_folder(spec.name, cache_dir))
    return Path(found.python) if found is not None and _intact(spec, found) else None


def worker_command(spec: ExecutorSpec, module: str, *, python: str | None = None) -> Command:
    """How to start `module` for `spec`: the interpreter (this one unless given) and the variables it needs.

    An environment of its own must not see this one's packages, so there PYTHONPATH leads to this LynxBench alone.
    """
    chosen = python or sys.executable
    env = {**os.environ, **spec.variables}
    if chosen == sys.executable:
        inherited = [env["PYTHONPATH"]] if env.get("PYTHONPATH") else []
        env["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *inherited])
    else:
        env["PYTHONPATH"] = str(_code_alone())
        env.pop("PYTHONHOME", None)
    return Command((chosen, "-P", "-m", module), env)


def _code_alone() -> Path:
    """A folder that holds this `lynxbench` and no other installed package: the checkout, else one with a link."""
    if (PACKAGE.parent / "pyproject.toml").is_file():
        return PACKAGE.parent
    folder = cache_folder() / "links" / hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / PACKAGE.name).symlink_to(PACKAGE, target_is_directory=True)
    return folder


def _root(cache_dir: Path | None) -> Path:
    return (cache_dir or cache_folder()) / "environments"


def _folder(name: str, cache_dir: Path | None) -> Path:
    return _root(cache_dir) / name


def _read(folder: Path) -> Environment | None:
    try:
        return Environment(**json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _intact(spec: ExecutorSpec, environment: Environment) -> bool:
    return environment.wheel_digest == spec.wheel.digest() and Path(environment.python).exists()


def _requirements(spec: ExecutorSpec, source: Path) -> list[str]:
    """What to install: what a worker needs of LynxBench's dependencies, the wheel, and what must stand beside it."""
    own = [text for text in _declared(source) if Requirement(text).name in WORKER_NEEDS]
    wheel = [] if spec.wheel.install_without_dependencies else [spec.wheel.requirement()]
    return [*own, *wheel, *spec.wheel.dependencies]


def _declared(source: Path) -> list[str]:
    """LynxBench's dependencies, those of its extras too: the checkout's pyproject.toml, else the installed metadata."""
    project = source / "pyproject.toml"
    if project.is_file():
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        return [*declared["dependencies"], *itertools.chain.from_iterable(declared["optional-dependencies"].values())]
    return [text.partition(";")[0].strip() for text in importlib.metadata.requires("lynxbench") or []]


def _link(python: Path, source: Path) -> None:
    """Let the environment import `lynxbench` from `source`, and nothing else that lies there."""
    where = _answer([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    site = Path(where.strip())
    (site / "lynxbench").symlink_to(source / "lynxbench", target_is_directory=True)


def _versions(python: Path) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}, sort_keys=True))"
    )
    versions: dict[str, str] = json.loads(_answer([str(python), "-c", code]))
    return versions


def _run(argv: list[str]) -> None:
    _answer(argv)


def _answer(argv: list[str]) -> str:
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"{' '.join(argv)}: {error}") from None
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise StoreError(f"{' '.join(argv)} ended with {done.returncode}:\n{tail}")
    return done.stdout
