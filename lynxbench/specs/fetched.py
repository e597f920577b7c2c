"""What a suite's models and data are made from: pinned archives, the parts made of them, and where parts lie."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Name, Sha256, Spec, build, did_you_mean
from lynxbench.specs.load import FETCHED, PACKAGE, cache_folder, read_toml

# One plain name: it becomes a file in the cache, and is compared with what pip and apt write.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]{0,159}$")]
SOURCES = "sources.toml"


class Archive(Spec):
    """One pinned file of a package index, of which some files are read and nothing is ever run."""

    name: Name = Field(description="how --only and messages call it")
    kind: Literal["pip", "apt"] = Field(description="which tool has it")
    package: Name
    version: str = Field(min_length=1)
    file: FileName = Field(description="the wheel's or Debian package's file name")
    sha256: Sha256
    size_bytes: int = Field(ge=1)
    licence: str = Field(min_length=1, description="SPDX id of what is taken, or in words")
    homepage: str = Field(min_length=1)
    taken: str = Field(min_length=1, description="what is taken out of it, in words")

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_folder() / "archives" / self.sha256 / self.file


class Part(Spec):
    """A folder of files made from archives: a model, or a workload's data."""

    name: Name
    recipe: Name = Field(description="which recipe of `lynxbench.fetching` makes it")
    version: int = Field(ge=1, description="raised when the recipe would write other files")
    archives: tuple[Name, ...] = Field(min_length=1)


class Sources(Spec):
    """Everything that `lynxbench suite fetch` downloads and makes for one suite."""

    suite: Name
    archives: tuple[Archive, ...] = Field(min_length=1)
    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        names = [archive.name for archive in self.archives]
        strangers = [name for part in self.parts for name in part.archives if name not in names]
        if strangers:
            raise ValueError(f"there is no archive {strangers[0]!r}; {did_you_mean(strangers[0], names)}")
        for kind, listed in (("archive", names), ("part", [part.name for part in self.parts])):
            repeated = sorted({name for name in listed if listed.count(name) > 1})
            if repeated:
                raise ValueError(f"duplicate {kind} name: {', '.join(repeated)}")
        return self

    def archives_of(self, part: Part) -> tuple[Archive, ...]:
        """The archives that a part is made from, in its order."""
        by_name = {archive.name: archive for archive in self.archives}
        return tuple(by_name[name] for name in part.archives)

    def folder(self, part: Part) -> Path:
        """Where the part lies once it is made, named by all that it is made from."""
        made_from = Made(part=part, sha256=tuple(archive.sha256 for archive in self.archives_of(part)))
        return cache_folder() / "fetched" / self.suite / f"{part.name}-{made_from.digest()[:16]}"


class Made(Spec):
    """What names a part's folder."""

    part: Part
    sha256: tuple[Sha256, ...]


def sources_file(suite: str) -> Path | None:
    """The file that says what a built-in suite is made from; None for a suite that needs nothing."""
    file = PACKAGE / "suites" / suite / SOURCES
    return file if file.is_file() else None


def suites_with_sources() -> tuple[str, ...]:
    """The built-in suites whose models and data have to be fetched."""
    return tuple(sorted(file.parent.name for file in (PACKAGE / "suites").glob(f"*/{SOURCES}")))


@lru_cache(maxsize=4)
def read_sources(file: Path) -> Sources:
    """The declaration in `file`. Raises `DeclarationError`."""
    return build(Sources, read_toml(file), str(file))


def fetched_file(address: str) -> Path:
    """Where ``fetched:SUITE/PART/FILE`` lies, there or not. Raises `DeclarationError` for unknown ones."""
    suite, _, rest = address.removeprefix(FETCHED).partition("/")
    name, _, path = rest.partition("/")
    file = sources_file(suite)
    known = suites_with_sources() if file is None else tuple(part.name for part in read_sources(file).parts)
    if file is None or name not in known or not path or ".." in Path(path).parts:
        hint = did_you_mean(suite if file is None else name, known)
        expected = f"{FETCHED}SUITE/PART/FILE"
        raise DeclarationError([Problem(address, "", "is nothing that can be fetched", expected=expected, hint=hint)])
    sources = read_sources(file)
    return sources.folder(next(part for part in sources.parts if part.name == name)) / path


def missing_part(address: str) -> str | None:
    """The part that ``fetched:SUITE/PART/FILE`` needs and that is not there; None where it is, or for other paths."""
    if not address.startswith(FETCHED) or fetched_file(address).is_file():
        return None
    return "/".join(address.removeprefix(FETCHED).split("/")[:2])
