"""What an execution provider is called, comes from, may be told, and is allowed to leave to the CPU."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import Name, Spec, build, did_you_mean
from lynxbench.specs.scheme import SchemeKind

OptionValue = bool | int | float | str
OptionType = Literal["boolean", "integer", "number", "text"]
Platform = Literal["linux-x86_64", "linux-aarch64", "windows-x86_64", "windows-aarch64", "macos-arm64", "macos-x86_64"]
DeviceType = Literal["cpu", "gpu", "npu"]
Module = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"not a requirement such as onnxruntime>=1.31,<1.33: {error}") from None
    return text


RequirementText = Annotated[str, AfterValidator(_requirement)]


class Wheel(Spec):
    """The distribution that brings the provider, and what must stand beside it."""

    distribution: Name = Field(description="name on the package index")
    version: str = Field(description="version range, e.g. >=1.31,<1.33")
    extras: tuple[Name, ...] = Field(default=(), description="extras that a fresh installation needs, e.g. cuda")
    dependencies: tuple[RequirementText, ...] = Field(default=(), description="further distributions it needs")
    alternatives: tuple[RequirementText, ...] = Field(
        default=(), description="distributions that bring the same provider and are accepted where they stand"
    )
    install_without_dependencies: bool = Field(
        default=False, description="install the wheel alone: its declared dependencies would break the environment"
    )

    @field_validator("version")
    @classmethod
    def _is_a_range(cls, text: str) -> str:
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(f"not a version range such as >=1.31,<1.33: {error}") from None
        return text

    def requirement(self, *, extras: bool = True) -> str:
        """The wheel as pip takes it, e.g. ``onnxruntime-gpu[cuda,cudnn]==1.31.1``."""
        wanted = f"[{','.join(self.extras)}]" if extras and self.extras else ""
        return f"{self.distribution}{wanted}{self.version}"


class Plugin(Spec):
    """A provider library that ONNX Runtime loads at run time."""

    module: Module = Field(description="Python module that knows where the library is")
    path_function: Name = Field(default="get_library_path", description="its function that returns the path")
    registration: Name = Field(description="the name to register the library under; devices carry it as ep_name")


class DeviceFilter(Spec):
    """Which of the provider's devices count. A virtual device never does, unless the executor is simulated."""

    types: tuple[DeviceType, ...] = Field(default=(), description="cpu, gpu, npu; any when left out")
    vendors: tuple[str, ...] = Field(default=(), description="vendors as reported; any when left out")
    hint: str = Field(default="", description="what to do when there is no such device")


class Option(Spec):
    """One provider option that may be set."""

    type: OptionType
    choices: tuple[str, ...] = Field(default=(), description="the only texts that are accepted")
    effect: str = Field(default="", description="what it does, in words")


class Precision(Spec):
    """What the provider computes in when nobody asks for anything else."""

    computes: dict[SchemeKind, str] = Field(
        default_factory=dict, description="scheme kind → precision of the arithmetic; the scheme's own when left out"
    )
    changed_by: tuple[Name, ...] = Field(default=(), description="options that change the precision")


class Placement(Spec):
    """How much of a model may run on the CPU provider before the candidate counts as `partial`."""

    cpu_share: float = Field(default=0.0, ge=0, le=1, description="largest share of nodes tolerated on the CPU")
    cpu_op_types: tuple[str, ...] = Field(default=(), description="only these op types; any when left out")


class Libraries(Spec):
    """Shared libraries that the provider needs, so that a missing one can be named."""

    provider: str | None = Field(default=None, description="the provider's library, relative to site-packages")
    driver: tuple[str, ...] = Field(default=(), description="sonames that come with the device's driver")
    loaded_at_run_time: tuple[str, ...] = Field(default=(), description="sonames opened with dlopen")
    driver_hint: str = Field(default="", description="what to type when the driver is missing")
    toolkit_hint: str = Field(default="", description="what to type when another library is missing")


class ShapeProfiles(Spec):
    """Options that take the least, the best and the largest shape of every input."""

    min: Name
    opt: Name
    max: Name


class EngineCache(Spec):
    """Options through which a provider keeps what it compiled. LynxBench gives it a folder of its own."""

    switches: tuple[Name, ...] = Field(default=(), description="boolean options that turn the cache on")
    folders: tuple[Name, ...] = Field(default=(), description="options that take the folder")
    profiles: ShapeProfiles | None = Field(default=None, description="options that take shape ranges")


class ExecutorSpec(Spec):
    """An execution provider with its device, options, precision defaults and wheel."""

    name: Name
    title: str = Field(min_length=1, description="what people call it")
    provider: Name = Field(description="ONNX Runtime's name, e.g. CUDAExecutionProvider")
    wheel: Wheel
    plugin: Plugin | None = None
    device: DeviceFilter = DeviceFilter()
    options: dict[str, OptionValue] = Field(default_factory=dict, description="provider options that are always given")
    allowed_options: dict[str, Option] = Field(default_factory=dict, description="options that may be given, by name")
    scheme_options: dict[SchemeKind, dict[str, OptionValue]] = Field(
        default_factory=dict, description="options that a scheme needs on top, by scheme kind"
    )
    threads: str = Field(description='"intra_op_num_threads", the name of a provider option, or "unsupported"')
    precision: Precision = Precision()
    schemes: tuple[SchemeKind, ...] = Field(min_length=1, description="scheme kinds that the provider can run")
    read_back: Literal["host", "read-back", "stream"] = Field(
        description="host: computes in host memory; read-back: copies inside the call; stream: resident device buffers"
    )
    memory: Name = Field(default="cpu", description="stream: ONNX Runtime's name of the device memory, e.g. cuda")
    placement: Placement = Placement()
    engine_cache: EngineCache = EngineCache()
    libraries: Libraries = Libraries()
    variables: dict[str, str] = Field(default_factory=dict, description="what the process must start with")
    simulated: bool = Field(default=False, description="true: times are those of a simulator and are never ranked")
    environment: Literal["shared", "own"] = Field(description="own: its wheel cannot share an environment with others")
    platforms: tuple[Platform, ...] = Field(min_length=1)
    platform_note: str = Field(default="", description="why it does not run elsewhere, and where to go instead")
    notes: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.threads not in {"intra_op_num_threads", "unsupported"} and self.threads not in self.allowed_options:
            raise ValueError(
                f'threads = "{self.threads}" is neither intra_op_num_threads nor unsupported nor an allowed option'
            )
        cache = self.engine_cache
        profiles = (cache.profiles.min, cache.profiles.opt, cache.profiles.max) if cache.profiles else ()
        named = {
            "precision.changed_by": self.precision.changed_by,
            "engine_cache": (*cache.switches, *cache.folders, *profiles),
        }
        for key, names in named.items():
            for name in names:
                if name not in self.allowed_options:
                    raise ValueError(f'{key} names "{name}", which is not an allowed option')
        if self.read_back == "stream" and self.memory == "cpu":
            raise ValueError('read_back = "stream" needs memory, e.g. memory = "cuda"')
        found = _problems(self, self.options, "")
        for kind, options in self.scheme_options.items():
            found += _problems(self, options, kind)
        if found:
            hint = f" ({found[0].hint})" if found[0].hint else ""
            raise ValueError(f"{found[0].key}: {found[0].message}{hint}")
        return self


def load_executor(path: Path) -> ExecutorSpec:
    """The executor declared by the TOML file at `path`; `DeclarationError` names every problem."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeclarationError([Problem(str(path), "", f"not readable as TOML: {error}")]) from None
    return build(ExecutorSpec, data, str(path))


def check_options(spec: ExecutorSpec, options: Mapping[str, OptionValue], file: str) -> None:
    """Raise `DeclarationError` for every option that `spec` does not allow or whose value has the wrong type."""
    found = tuple(_problems(spec, options, file))
    if found:
        raise DeclarationError(found)


def _problems(spec: ExecutorSpec, options: Mapping[str, OptionValue], file: str) -> list[Problem]:
    found = []
    for name, value in options.items():
        key = f"options.{name}"
        allowed = spec.allowed_options.get(name)
        if allowed is None:
            hint = did_you_mean(name, spec.allowed_options) or f"executor {spec.name} takes no options"
            message = f"executor {spec.name} knows no option {name!r}"
            found.append(Problem(file, key, message, value=repr(value), hint=hint))
        elif not _has_type(value, allowed.type):
            found.append(Problem(file, key, "wrong value", value=repr(value), expected=allowed.type))
        elif allowed.choices and str(value) not in allowed.choices:
            found.append(
                Problem(
                    file,
                    key,
                    "not a known value",
                    value=repr(value),
                    expected=", ".join(allowed.choices),
                    hint=did_you_mean(str(value), allowed.choices),
                )
            )
    return found


def _has_type(value: OptionValue, kind: OptionType) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, {"integer": int, "number": int | float, "text": str}[kind])
