"""What every declaration shares: frozen, strict, digestible, and wrong only with a clear explanation."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from lynxbench.errors import DeclarationError, Problem

S = TypeVar("S", bound="Spec")

# A name goes into file names, tables and commands, so it is one plain token.
# (In Rust's regex, which pydantic uses, `$` is the very end: "a\n" does not pass.)
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Spec(BaseModel):
    """A declaration: frozen, no unknown keys, no silent conversions, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def canonical(self) -> str:
        """The declaration as JSON with sorted keys: equal declarations give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The declaration that `model_dump_json` wrote; raises pydantic's ValidationError on anything else."""
        return cls.model_validate(as_frozen(json.loads(text)))

    def __hash__(self) -> int:
        # Options in plain dicts cannot be hashed; their text can.
        return hash(self.canonical())

    def digest(self) -> str:
        """SHA-256 (hex) of `canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` was probably meant to be, or None."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.55)
    return found[0] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """A hint that names the nearest choice, else all of them when there are few."""
    known = sorted(set(choices))
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    if known and len(known) <= 12:
        return "one of: " + ", ".join(known)
    return None


def dotted(location: Iterable[int | str]) -> str:
    """``("schemes", 2, "kind")`` → ``schemes[2].kind``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def as_frozen(value: Any) -> Any:
    """TOML arrays as tuples, all the way down: strict frozen models hold no lists."""
    if isinstance(value, list):
        return tuple(as_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: as_frozen(item) for key, item in value.items()}
    return value


def build(spec: type[S], data: Mapping[str, Any], file: str) -> S:
    """Validate `data` as `spec`; raise `DeclarationError` with every problem, each naming `file` and key."""
    try:
        return spec.model_validate(as_frozen(dict(data)))
    except ValidationError as error:
        raise DeclarationError(problems_of(error, spec, file)) from None


def problems_of(error: ValidationError, spec: type[BaseModel], file: str) -> list[Problem]:
    """Pydantic's errors in our words: what was found, what was expected, what to try."""
    problems = []
    for item in error.errors(include_url=False):
        location = tuple(item["loc"])
        kind = item["type"]
        if kind == "too_short" and item["input"]:
            continue  # its items were refused one by one; that they are then missing is no news
        if kind == "extra_forbidden":
            known = _fields_at(spec, location[:-1])
            problems.append(
                Problem(file, _key(spec, location), "unknown key", hint=did_you_mean(str(location[-1]), known))
            )
        elif kind == "missing":
            problems.append(Problem(file, _key(spec, location), "required, but missing", expected=_describe(spec, location)))
        elif kind in {"literal_error", "enum"}:
            choices = [choice.strip("'") for choice in str(item.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")]
            problems.append(
                Problem(
                    file,
                    _key(spec, location),
                    "not a known value",
                    value=_show(item["input"]),
                    expected=", ".join(choices),
                    hint=did_you_mean(str(item["input"]), choices),
                )
            )
        elif kind == "value_error":
            problems.append(Problem(file, _key(spec, location), str(item["ctx"]["error"]), value=_show_small(item["input"])))
        else:
            message = item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            problems.append(
                Problem(file, _key(spec, location), "wrong value", value=_show(item["input"]), expected=_plain(kind, message))
            )
    return problems


def _plain(kind: str, message: str) -> str:
    if kind == "string_pattern_mismatch":
        return "a plain name: letters, digits, '.', '_', '+', '-', at most 64 characters, beginning with a letter or digit"
    if kind == "too_short":
        return "at least one"
    return {"string": "text", "tuple": "a list", "boolean": "true or false", "integer": "a whole number"}.get(message, message)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _show_small(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else _show(value)


def _key(spec: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The location without the tags that pydantic adds for unions."""
    kept: list[int | str] = []
    for index, part in enumerate(location):
        here = _models_at(spec, tuple(location[:index]))
        if isinstance(part, str) and here and all(part not in model.model_fields for model in here):
            tagged = any(part in {model.__name__, _tag(model)} for model in here)
            if tagged and index + 1 < len(location):
                continue
        kept.append(part)
    return dotted(kept)


def _tag(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    values = get_args(field.annotation) if field is not None else ()
    return str(values[0]) if values else ""


def _fields_at(spec: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    return [name for model in _models_at(spec, location) for name in model.model_fields]


def _describe(spec: type[BaseModel], location: tuple[int | str, ...]) -> str | None:
    for model in _models_at(spec, location[:-1]):
        field = model.model_fields.get(str(location[-1]))
        if field is not None and field.description:
            return field.description
    return None


def _models_at(spec: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The pydantic models that may stand at a location, by walking the annotations."""
    models: list[type[BaseModel]] = [spec]
    for part in location:
        if isinstance(part, int):
            continue
        following: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(part)
            if field is not None:
                following.extend(_models_in(field.annotation))
        if following:
            models = following
        else:
            tagged = [model for model in models if part in {model.__name__, _tag(model)}]
            models = tagged or models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {typing.Union, types.UnionType, tuple, dict, Mapping, Annotated} or get_args(annotation):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []
