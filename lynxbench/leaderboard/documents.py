"""JSON from strangers: what no parser refuses by itself is refused here, before and after parsing.

A bundle holds no TOML and no YAML: one parser less that must withstand everything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from lynxbench.errors import UntrustedInput
from lynxbench.specs.base import Spec, as_frozen, problems_of

S = TypeVar("S", bound=Spec)

MOST_BYTES = 8 << 20
MOST_DEPTH = 40  # ours are less than ten deep; Python's own parser gives up somewhere near a thousand
MOST_DIGITS = 19  # as many as an int64 has
LONGEST_NAME = 200
LONGEST_TEXT = 20_000

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
# White space that people write into descriptions.
_SPACES = str.maketrans(dict.fromkeys("\n\t\u00a0\u202f", " "))


def parse(content: bytes, what: str) -> Any:
    """JSON as plain values; `what` names it in the reason.

    Raises `UntrustedInput` for what is too large or too deep, no UTF-8, a duplicate key, NaN, a number that is no int64
    or no finite float, and text with characters that are not seen: control, bidirectional, zero-width, surrogates.
    """
    if len(content) > MOST_BYTES:
        raise UntrustedInput(f"{what}: {len(content):,} bytes, at most {MOST_BYTES:,} are read")
    deepest = depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", content)):
        depth += 1 if bracket.group() in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH:
        raise UntrustedInput(f"{what}: nested {deepest:,} deep, at most {MOST_DEPTH} are read")
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=lambda pairs: _object(pairs, what),
            parse_constant=lambda word: _refuse(f"{what}: {word} is no number"),
            parse_float=lambda digits: _float(digits, what),
            parse_int=lambda digits: _integer(digits, what),
        )
    except UnicodeDecodeError as error:
        raise UntrustedInput(f"{what}: no UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise UntrustedInput(f"{what}: no JSON: {error}") from None
    _check_texts(value, what)
    return value


def parse_as(spec: type[S], value: Any, what: str) -> S:
    """`value` as a declaration; the first thing wrong with it is the reason. Raises `UntrustedInput`."""
    try:
        return spec.model_validate(as_frozen(value))
    except ValidationError as error:
        problems = problems_of(error, spec, what)
        first = " ".join(str(problems[0]).split()) if problems else f"{what}: {error.error_count()} things are wrong"
        raise UntrustedInput(first[:400]) from None


def newer(value: Any, key: str, known: int, what: str) -> None:
    """Raise `UntrustedInput` when a newer LynxBench wrote `value`: asked before anything else is read of it."""
    found = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(found, int) and not isinstance(found, bool) and found > known:
        raise UntrustedInput(f"{what}: {key} {found} is newer than {known}, the newest that is known here: upgrade")


def check_name(text: str, what: str) -> None:
    """Raise `UntrustedInput` unless every character of `text` is seen, in one line of sensible length."""
    if len(text) > LONGEST_NAME:
        raise UntrustedInput(f"{what}: a name of {len(text):,} characters, at most {LONGEST_NAME} are taken")
    _check_seen(text, what)


def check_free_text(text: str, what: str) -> None:
    """Raise `UntrustedInput` when `text` is longer than anybody reads; what it holds is stripped where it is shown."""
    if len(text) > LONGEST_TEXT:
        raise UntrustedInput(f"{what}: a text of {len(text):,} characters, at most {LONGEST_TEXT:,} are taken")


def _check_seen(text: str, what: str) -> None:
    if not text.isprintable():
        first = next(c for c in text if not c.isprintable())
        raise UntrustedInput(f"{what}: holds U+{ord(first):04X}, a character that is not seen")


def _check_texts(value: Any, what: str) -> None:
    if isinstance(value, str):
        check_free_text(value, what)
        _check_seen(value.translate(_SPACES), what)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, what)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_name(key, f"{what}: a key")
            _check_texts(item, f"{what}: {key}" if what.count(":") < 4 else what)


def _refuse(reason: str) -> NoReturn:
    raise UntrustedInput(reason)


def _object(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _refuse(f"{what}: key {key!r} twice in one object")
            seen.add(key)
    return made


def _float(digits: str, what: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(f"{what}: {digits[:20]} is no finite number")


def _integer(digits: str, what: str) -> int:
    if len(digits.removeprefix("-")) > MOST_DIGITS:
        _refuse(f"{what}: a whole number of {len(digits):,} digits")
    return int(digits)
