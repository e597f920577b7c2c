"""`lynxbench leaderboard keygen`, `bundle`, `verify` and `add`: handing results in, and taking others' in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.cli.output import Column, Form, Row, Table, write, write_json
from lynxbench.cli.text import plain, size
from lynxbench.errors import UntrustedInput

if TYPE_CHECKING:
    from lynxbench.leaderboard.admission import Looked

_COLUMNS = (
    Column("file"),
    Column("bundle", expendable=1),
    Column("sweep", expendable=2),
    Column("signer"),
    Column("trust"),
)


def keygen_command(file: Path, *, as_json: bool) -> int:
    """Make a key to sign bundles with."""
    from lynxbench.leaderboard.attestation import make_key

    key_id = make_key(file)
    if as_json:
        write_json({"private": str(file), "public": f"{file}.pub", "key_id": key_id})
        return 0
    print(f"private   {plain(str(file))}   for you alone: whoever has it signs in your name")
    print(f"public    {plain(str(file))}.pub   give this to those who take your bundles in")
    print(f"key id    {key_id}")
    return 0


def bundle_command(results: Path, *, key: Path | None, out: Path | None, as_json: bool) -> int:
    """Write a results folder as one file."""
    from lynxbench.leaderboard.bundle import SUFFIX, make_bundle
    from lynxbench.leaderboard.manifest import sha256

    target = out or Path(results.resolve().name + SUFFIX)
    manifest = make_bundle(results, target, key)
    bundled = target.stat().st_size
    if as_json:
        about = {"file": str(target), "sha256": sha256(target), "bytes": bundled, "signed": key is not None}
        write_json({**about, "manifest": manifest.model_dump(mode="json")})
        return 0
    print(f"bundle    {plain(str(target))}   {size(bundled)}, {'signed' if key else 'not signed: self-reported'}")
    print(f"check     lynxbench leaderboard verify {plain(str(target))}")
    return 0


def verify_command(files: Sequence[Path], *, trusted: Path | None, form: Form) -> int:
    """Look into bundles; 4 when any is refused."""
    from lynxbench.leaderboard.admission import verify

    known = _known(trusted)
    return _each(files, lambda file: (verify(file, known), "sound"), form)


def add_command(files: Sequence[Path], *, to: Path, trusted: Path | None, form: Form) -> int:
    """Take bundles into a folder; 4 when any is refused."""
    from lynxbench.leaderboard.admission import add

    known = _known(trusted)

    def taken(file: Path) -> tuple[Looked, str]:
        folder, looked = add(file, to, known)
        return looked, str(folder)

    return _each(files, taken, form)


def _known(trusted: Path | None) -> Mapping[str, str]:
    """The keys in the folder given, else in the user's own, which there need not be."""
    from lynxbench.leaderboard.attestation import known_keys
    from lynxbench.specs.load import user_folder

    if trusted is None:
        own = user_folder("trusted-keys")
        return known_keys(own) if own.is_dir() else {}
    return known_keys(trusted)


def _each(files: Sequence[Path], look: Callable[[Path], tuple[Looked, str]], form: Form) -> int:
    rows: list[Row] = []
    refused = False
    for file in files:
        try:
            looked, where = look(file)
        except UntrustedInput as error:
            refused = True
            values = {"file": str(file), "refused": " ".join(str(error).split())}
            rows.append(Row(values, {"file": file.name, "trust": f"refused: {values['refused']}"}))
            continue
        rows.append(_row(file, looked, where))
    columns = (*_COLUMNS, Column("rows", right=True), Column("tiers"), Column("where"), Column("refused"))
    write(Table(columns if form in ("json", "csv") else _COLUMNS, rows), form)
    return UntrustedInput.exit_code if refused else 0


def _row(file: Path, looked: Looked, where: str) -> Row:
    tiers = Counter(one.tier for one in looked.trust.values())
    values: dict[str, Any] = {
        "file": str(file),
        "bundle": looked.facts.bundle,
        "sweep": looked.sweep,
        "signer": looked.facts.signer,
        "trust": where,
        "rows": len(looked.trust),
        "tiers": dict(tiers),
        "where": where,
    }
    key_id = looked.facts.key_id
    signer = looked.facts.signer or ("nobody" if key_id is None else f"unknown key {key_id[:12]}")
    words = ", ".join(f"{count} {tier}" for tier, count in tiers.most_common())
    return Row(
        values,
        {
            "file": file.name,
            "bundle": looked.facts.bundle[:16],
            "signer": signer,
            "trust": words if where == "sound" else f"{words} → {where}",
        },
    )
