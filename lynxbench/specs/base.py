"""What every declaration shares: frozen, strict, digestible, and wrong only with a clear explanation."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from lynxbench.errors import DeclarationError, Problem

S = TypeVar("S", bound="Spec")
Location = tuple[int | str, ...]

# A name goes into file names, tables and commands, so it is one plain token.
# (In Rust's regex, which pydantic uses, `$` is the very end: "a\n" does not pass.)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
_SHA256 = r"^[0-9a-f]{64}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]

_PATTERNS = {
    _NAME: "a plain name: letters, digits, '.', '_', '+', '-', at most 64 characters, beginning with a letter or digit",
    _SHA256: "a SHA-256: 64 digits and letters a to f, lower case",
}


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
    problems: list[Problem] = []
    built: S | None = None
    try:
        built = spec.model_validate(as_frozen(dict(data)))
    except ValidationError as error:
        problems = problems_of(error, spec, file)
    # Free-form options (a metric's parameters, a budget's changes) are looked at too, where pydantic takes anything.
    known = {problem.key for problem in problems}
    for location, value in _not_finite(data):
        if dotted(location) not in known:
            problems.append(Problem(file, dotted(location), "wrong value", _show(value), "a finite number"))
    if built is None or problems:
        raise DeclarationError(problems)
    return built


def problems_of(error: ValidationError, spec: type[BaseModel], file: str) -> list[Problem]:
    """Pydantic's errors in our words: what was found, what was expected, what to try."""
    problems: list[Problem] = []
    unions: dict[Location, dict[str, list[tuple[Location, Problem]]]] = {}
    places: dict[Location, int] = {}
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["input"]:
            continue  # its items were refused one by one; that they are then missing is no news
        location, union, annotation = _place(spec, tuple(item["loc"]))
        problem = _problem(item, file, location, annotation)
        if union is None:
            problems.append(problem)
            continue
        at, alternative = union
        if at not in unions:
            places[at] = len(problems)
            problems.append(problem)
        unions.setdefault(at, {}).setdefault(alternative, []).append((location, problem))
    for at in sorted(places, key=lambda at: -places[at]):
        problems[places[at] : places[at] + 1] = _one_of_many(at, unions[at])
    return problems


def _one_of_many(at: Location, alternatives: Mapping[str, list[tuple[Location, Problem]]]) -> list[Problem]:
    """A field of several types: the complaints of the type that was meant, else one that names all of them."""
    meant = [
        [problem for _, problem in found]
        for found in alternatives.values()
        if any(len(location) > len(at) for location, _ in found)
    ]
    if meant:
        return meant[0]
    flat = [problem for found in alternatives.values() for _, problem in found]
    expected = list(dict.fromkeys(problem.expected for problem in flat if problem.expected))
    hints = [problem.hint for problem in flat if problem.hint]
    first = flat[0]
    return [
        Problem(first.file, first.key, "wrong value", first.value, " or ".join(expected), hints[0] if hints else None)
    ]


def _problem(item: ErrorDetails, file: str, location: Location, annotation: Any) -> Problem:
    kind, key, value = item["type"], dotted(location), item["input"]
    if kind == "extra_forbidden":
        known = [name for model in _models_in(annotation) for name in model.model_fields]
        return Problem(file, key, "unknown key", hint=did_you_mean(str(location[-1]), known))
    if kind == "missing":
        fields = [model.model_fields.get(str(location[-1])) for model in _models_in(annotation)]
        described = next((field.description for field in fields if field is not None), None)
        return Problem(file, key, "required, but missing", expected=described)
    if kind == "literal_error":
        # What pydantic says is "'a', 'b' or 'c'".
        listed = str(item["ctx"]["expected"]).replace(" or ", ", ").split(", ")
        choices = [choice.strip("'") for choice in listed]
        close = nearest(value, choices) if isinstance(value, str) else None
        hint = None if close is None else f"did you mean {close!r}?"
        return Problem(file, key, "not a known value", _show(value), ", ".join(choices), hint)
    if kind == "value_error":
        shown = None if isinstance(value, Mapping) else _show(value)
        return Problem(file, key, str(item["ctx"]["error"]), shown)
    return Problem(file, key, "wrong value", _show(value), _expected(item))


_TYPES = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "text",
    "too_short": "at least one",
    "tuple_type": "a list",
}


def _expected(item: ErrorDetails) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind == "string_too_short":
        return f"text of at least {context['min_length']} character{'' if context['min_length'] == 1 else 's'}"
    if kind == "string_too_long":
        return f"text of at most {context['max_length']} character{'' if context['max_length'] == 1 else 's'}"
    return _TYPES.get(kind, item["msg"].removeprefix("Input should be "))


def _show(value: Any) -> str:
    text = _as_toml(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _as_toml(value: Any) -> str:
    """Much as it stands in the file, rather than in Python's words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_as_toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_as_toml(item)}' for key, item in value.items())} }}"
    return repr(value)


def _not_finite(value: Any, location: Location = ()) -> Iterator[tuple[Location, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield location, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, (*location, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, (*location, index))


def _place(spec: type[BaseModel], parts: Location) -> tuple[Location, tuple[Location, str] | None, Any]:
    """Where an error is in the file: its location without pydantic's tags for alternatives of a union, which union it
    belongs to (location and tag) if any, and the annotation of what holds the last key.
    """
    kept: list[int | str] = []
    union: tuple[Location, str] | None = None
    here: Any = spec
    holder: Any = spec
    for part in parts:
        alternatives = _alternatives(here)
        if len(alternatives) > 1 and isinstance(part, str):
            union = union or (tuple(kept), part)
            here = next((inner for inner in alternatives if _tag(inner) == part.split("[")[0]), None)
            continue
        if part == "[key]":  # the key of a table is wrong, not its value
            continue
        holder = here = alternatives[0]
        here = _inside(here, part)
        kept.append(part)
    return tuple(kept), union, holder


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        return [inner for inner in get_args(annotation) if inner is not type(None)]
    return [annotation]


def _tag(annotation: Any) -> str:
    """What pydantic calls an alternative, without its arguments."""
    origin = get_origin(annotation) or annotation
    return "literal" if origin is typing.Literal else str(getattr(origin, "__name__", origin))


def _inside(annotation: Any, part: int | str) -> Any:
    """The annotation one step further in; None where that cannot be said."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else field.annotation
    arguments = get_args(annotation)
    return (arguments[0] if isinstance(part, int) else arguments[-1]) if arguments else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    return [inner for inner in _alternatives(annotation) if isinstance(inner, type) and issubclass(inner, BaseModel)]
