"""As much of JSON Schema (2020-12) as our own schemas use; a keyword that it does not know is an error, not a pass."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_SAYS_NOTHING = {"$defs", "$schema", "default", "description", "format", "title"}


def violations(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "$"
) -> list[str]:
    """What in `value` breaks `schema`, each with its path."""
    root = schema if root is None else root
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword not in _SAYS_NOTHING:
            found += _KEYWORDS[keyword](value, rule, schema, root, at)
    return found


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _type(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    names = [rule] if isinstance(rule, str) else rule
    return [] if any(_is(value, name) for name in names) else [f"{at}: {value!r} is no {' or '.join(names)}"]


def _ref(value: Any, rule: str, schema: Any, root: Any, at: str) -> list[str]:
    target = root
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    return violations(value, target, root, at)


def _any_of(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    tried = [violations(value, choice, root, at) for choice in rule]
    return [] if any(not found for found in tried) else [f"{at}: fits none of {len(tried)}: {tried}"]


def _properties(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        problem
        for name, inner in rule.items()
        if name in value
        for problem in violations(value[name], inner, root, f"{at}.{name}")
    ]


def _additional(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    further = [name for name in value if name not in schema.get("properties", {})]
    if rule is False:
        return [f"{at}.{name}: not allowed" for name in further]
    inner = {} if rule is True else rule
    return [problem for name in further for problem in violations(value[name], inner, root, f"{at}.{name}")]


def _items(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [problem for index, item in enumerate(value) for problem in violations(item, rule, root, f"{at}[{index}]")]


def _names(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    names = value if isinstance(value, dict) else {}
    return [problem for name in names for problem in violations(name, rule, root, f"{at}.{name}")]


def _unless(broken: bool, at: str, what: str) -> list[str]:
    return [f"{at}: {what}"] if broken else []


def _size(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _length(value: Any, kind: type) -> float:
    return len(value) if isinstance(value, kind) else math.nan


_KEYWORDS: Mapping[str, Any] = {
    "$ref": _ref,
    "additionalProperties": _additional,
    "anyOf": _any_of,
    "const": lambda v, r, s, root, at: _unless(v != r, at, f"{v!r} is not {r!r}"),
    "enum": lambda v, r, s, root, at: _unless(v not in r, at, f"{v!r} is none of {r}"),
    "exclusiveMaximum": lambda v, r, s, root, at: _unless(_size(v) >= r, at, f"{v} is not below {r}"),
    "exclusiveMinimum": lambda v, r, s, root, at: _unless(_size(v) <= r, at, f"{v} is not above {r}"),
    "items": _items,
    "maxLength": lambda v, r, s, root, at: _unless(_length(v, str) > r, at, f"longer than {r}"),
    "maximum": lambda v, r, s, root, at: _unless(_size(v) > r, at, f"{v} exceeds {r}"),
    "minItems": lambda v, r, s, root, at: _unless(_length(v, list) < r, at, f"fewer than {r} items"),
    "minLength": lambda v, r, s, root, at: _unless(_length(v, str) < r, at, f"shorter than {r}"),
    "minimum": lambda v, r, s, root, at: _unless(_size(v) < r, at, f"{v} is below {r}"),
    "pattern": lambda v, r, s, root, at: _unless(isinstance(v, str) and not re.search(r, v), at, f"{v!r} is not {r}"),
    "properties": _properties,
    "propertyNames": _names,
    "required": lambda v, r, s, root, at: [f"{at}.{n}: missing" for n in r if isinstance(v, dict) and n not in v],
    "type": _type,
}
