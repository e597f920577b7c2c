"""Declarations as TOML text: the inverse of reading them, for files that a user is to keep."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(data: Mapping[str, Any]) -> str:
    """Plain data as TOML: values first, then tables, then arrays of tables; what is deeper stands inline.

    None is left out, as TOML has no such value. Raises `TypeError` for anything that is no plain data.
    """
    given = {key: value for key, value in data.items() if value is not None}
    tables = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    arrays = {key: value for key, value in given.items() if _is_table_array(value)}
    blocks = [_pairs({key: value for key, value in given.items() if key not in tables and key not in arrays})]
    blocks += [f"[{_key(key)}]\n{_pairs(value)}" for key, value in tables.items()]
    blocks += [f"[[{_key(key)}]]\n{_pairs(item)}" for key, items in arrays.items() for item in items]
    return "\n".join(block for block in blocks if block)


def _is_table_array(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in table.items() if value is not None)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        items = [f"{_key(key)} = {_inline(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_inline(item) for item in value)}]"
    raise TypeError(f"{type(value).__name__} is no plain data")


def _text(text: str) -> str:
    # JSON's escapes are TOML's; TOML wants one more character escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
