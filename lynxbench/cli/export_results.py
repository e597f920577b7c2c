"""`lynxbench export-results`: records in the formats of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from lynxbench.cli.output import write_json
from lynxbench.cli.text import plain
from lynxbench.conclusions.exchange.exporting import export
from lynxbench.conclusions.exchange.terms import Relationship, Terms, pairs, places
from lynxbench.conclusions.material import material
from lynxbench.errors import UsageError
from lynxbench.specs.base import did_you_mean

_NEXT = {
    "every-eval-ever": "check     every-eval-ever validate {folder}",
    "hf-eval-results": "next      each .eval_results folder belongs into the repository of the model beside it",
    "croissant": "check     mlcroissant validate --jsonld {folder}/croissant.json",
}
_MOST_FILES = 5


def export_command(
    results: Path,
    format_: str,
    *,
    out: Path | None,
    only: Sequence[str],
    model_ids: Sequence[str],
    datasets: Sequence[str],
    organization: str | None,
    relationship: str,
    url: str | None,
    license_: str | None,
    as_json: bool,
) -> int:
    """Write the files and say which; returns the exit code."""
    if relationship not in get_args(Relationship):
        hint = did_you_mean(relationship, get_args(Relationship)) or f"one of: {', '.join(get_args(Relationship))}"
        raise UsageError(f"--relationship {relationship}: {hint}")
    terms = Terms(
        organization=organization,
        relationship=cast(Relationship, relationship),
        models=pairs("--model-id", model_ids),
        datasets=places(datasets),
        url=url,
        license=license_,
    )
    target = out or Path(f"{results.resolve().name}-{format_}")
    found = material(results)
    done = export(found, format_, target, terms, only)
    if as_json:
        skipped = [{"cell_id": record["cell_id"], "why": why} for record, why in done.skipped]
        about = {"format": format_, "folder": str(target), "rows": done.rows, "files": list(done.files)}
        write_json({**about, "skipped": skipped})
        return 0
    print(
        f"{done.rows:,} rows in {len(done.files):,} file{'' if len(done.files) == 1 else 's'} of {plain(str(target))}"
    )
    for file in done.files[:_MOST_FILES]:
        print(f"  {plain(file)}")
    if done.files[_MOST_FILES:]:
        print(f"  and {len(done.files) - _MOST_FILES:,} more")
    for why, count in Counter(why for _, why in done.skipped).most_common():
        print(f"left out  {count:,} row{'' if count == 1 else 's'}: {plain(why)}")
    unnamed = sorted({r["model"] for r in found.records if r["model"] not in terms.models})
    if format_ == "every-eval-ever" and unnamed:
        print(f"to say    whose model each is, by --model-id MODEL=ORG/NAME: {plain(', '.join(unnamed))}")
    print(_NEXT[format_].format(folder=plain(str(target))))
    return 0
