"""Suites from strangers: TOML is refused for what JSON in bundles is refused for, as a declaration that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import lynxbench
from tests.specs.declare import SUITE

WRONG: list[tuple[str, str, str, str]] = [
    ("13 NaN", "block_s = 0.1", "block_s = nan", "protocol.block_s"),
    ("14 1e999", "block_s = 0.1", "block_s = 1e999", "protocol.block_s"),
    ("15 5,000 digits", "count = 8", f"count = {'9' * 5000}", "is not valid TOML"),
    ("16 100,000 deep", "count = 8", f"count = {'[' * 100_000}{']' * 100_000}", "nested too deep"),
    ("17 a key twice", 'version = "1.0"', 'version = "1.0"\nversion = "1.0"', "is not valid TOML"),
    ("18 half a surrogate pair", 'name = "net"', 'name = "\\ud800"', "is not valid TOML"),
    ("19 a bidirectional mark", 'name = "net"', 'name = "net\u202e"', "models[0].name"),
    ("20 a newline in a name", 'name = "net"', 'name = "net\\n"', "models[0].name"),
    ("21 an unknown field", 'name = "net"', 'name = "net"\ncolour = "red"', "models[0].colour"),
]


@pytest.mark.parametrize(("old", "new", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_is_a_wrong_declaration(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SUITE
    (tmp_path / "suite.toml").write_text(SUITE.replace(old, new, 1), encoding="utf-8")
    ran = lynxbench("validate", "suite.toml", home=tmp_path)
    assert ran.code == 2, ran.err
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert "\u202e" not in ran.err
