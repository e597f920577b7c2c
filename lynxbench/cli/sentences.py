"""Sentences under a table, each with its further lines set in."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import TYPE_CHECKING

from lynxbench.cli.text import plain

if TYPE_CHECKING:
    from rich.console import Console


def say(to: Console, sentences: Iterable[str], *, mark: str = "  • ") -> None:
    """Print each sentence after `mark`, broken at the terminal's width."""
    for sentence in sentences:
        lines = wrap(
            plain(sentence),
            to.width,
            initial_indent=mark,
            subsequent_indent=" " * len(mark),
            break_on_hyphens=False,
            break_long_words=False,
        )
        to.print("\n".join(lines), markup=False, soft_wrap=True)
