"""What stands below the tables: what was not measured, what is worth knowing, where the files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from lynxbench.cli.text import plain
from lynxbench.records.location import Location
from lynxbench.records.record import MEASURED, Record

if TYPE_CHECKING:
    from rich.console import Console

_MOST_WARNINGS = 4
_MOST_NAMES = 4


def label(record: Record) -> str:
    """The scheme, with the executor where that is not the reference's."""
    name = str(record["scheme"])
    return name if record["executor"] == record["reference_executor"] else f"{name}, {record['executor']}"


def hang(console: Console, lead: str, text: str) -> None:
    """Print `lead` and `text`, with the lines that follow set in under the first."""
    lines = wrap(text, console.width, initial_indent=lead, subsequent_indent="    ", break_on_hyphens=False)
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def not_measured(console: Console, records: Sequence[Record]) -> None:
    """What has no measurement and why, then the warnings by how many rows they concern."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record["status"] not in MEASURED:
            who = f"{record['model']} {label(record)}"
            named = reasons.setdefault((str(record["status"]), str(record["reason"])), [])
            if who not in named:
                named.append(who)
    if reasons:
        console.print("not measured", style="bold")
        for (status, reason), named in reasons.items():
            some = "; ".join(named[:_MOST_NAMES]) + (
                f" and {len(named) - _MOST_NAMES} more" if named[_MOST_NAMES:] else ""
            )
            hang(console, "  ", f"{status}: {plain(some)}: {plain(reason)}")
        console.print()
    codes: dict[str, tuple[str, int]] = {}
    for record in records:
        for warning in record["warnings"]:
            advice, count = codes.get(warning["code"], (warning["advice"], 0))
            codes[warning["code"]] = (advice, count + 1)
    if codes:
        console.print("worth knowing", style="bold")
        ordered = sorted(codes.items(), key=lambda item: -item[1][1])
        for code, (advice, count) in ordered[:_MOST_WARNINGS]:
            hang(console, "  ", f"{code} ({count} of {len(records)} cells): {plain(advice)}")
        if ordered[_MOST_WARNINGS:]:
            rest = ", ".join(f"{code} ({count})" for code, (_, count) in ordered[_MOST_WARNINGS:])
            hang(console, "  ", f"and {rest}: each with advice in the records")
        console.print()


def where(console: Console, records: Sequence[Record], folder: Location) -> None:
    """The host, the files, and what to type again."""
    first = records[0]
    version = next((r["onnxruntime_version"] for r in records if r["onnxruntime_version"]), "?")
    console.print(
        f"measured on {plain(first['cpu'])} ({', '.join(first['isa_flags']) or 'no int8 instructions'}), "
        f"{first['cores_usable']:g} cores, ONNX Runtime {version}",
        style="dim", markup=False,
    )  # fmt: skip
    if isinstance(folder, Path) and (folder / "records.parquet").is_file():
        files = f"{folder}/records.parquet  predictions.parquet  latencies.parquet"
    else:
        files = f"{folder}/"
    console.print(f"files     {files}", markup=False, soft_wrap=True)
    console.print(f"again     lynxbench show {folder}", markup=False, soft_wrap=True)
