"""File types: magika's own ONNX model, and files out of wheels whose type their extension says.

A sample is what magika looks at: the first and the last 1,024 bytes, without blanks around them, and 256 where there
is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lynxbench.fetching.archives import read_member, read_members

MODEL = "magika/models/standard_v3_3/"
# Extensions that say what a file is, in magika's words.
TYPES = {
    "c": "c", "cs": "cs", "css": "css", "docx": "docx", "emf": "emf", "gif": "gif", "h": "c", "htm": "html",
    "html": "html", "ico": "ico", "ini": "ini", "j2": "jinja", "jinja": "jinja", "jpeg": "jpeg", "jpg": "jpeg",
    "js": "javascript", "json": "json", "md": "markdown", "pem": "pem", "png": "png", "po": "po", "pptx": "pptx",
    "proto": "proto", "ps1": "powershell", "py": "python", "pyi": "python", "pyx": "python", "rst": "rst",
    "sh": "shell", "sty": "latex", "svg": "svg", "tex": "latex", "toml": "toml", "ts": "typescript", "ttf": "ttf",
    "wav": "wav", "woff": "woff", "woff2": "woff2", "xml": "xml", "yaml": "yaml", "yml": "yaml", "zip": "zip",
}  # fmt: skip
SHORTEST_BYTES, LARGEST_BYTES = 300, 1 << 20
# Types are as unequal as projects are: the most files of one type in the test set, and for calibration.
MOST_TEST, MOST_CALIBRATION = 40, 16
FEWEST = 6  # files of a type that is asked at all
# How much of a file is seen: all of it, or what a scanner of packets or a broken download has.
PARTS: Mapping[str, int | None] = {"whole": None, "first-256": 256, "first-64": 64}
BLOCK = 4096


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """model.onnx, files-test.npz and files-calibration.npz; the archives but magika are where files come from."""
    config = json.loads(read_member(archives["magika"], MODEL + "config.min.json"))
    labels = [str(label) for label in config["target_labels_space"]]
    (folder / "model.onnx").write_bytes(read_member(archives["magika"], MODEL + "model.onnx"))
    asked, kept = _split(_files([path for name, path in sorted(archives.items()) if name != "magika"]))
    # What a licence's first lines are is the same in many files: each is asked once, and not calibrated on.
    seen: set[bytes] = set()
    for name, chosen, parts in (("test", asked, PARTS), ("calibration", kept, {"whole": None})):
        rows = []
        for kind, file, content in chosen:
            for part, length in parts.items():
                found = features(content[:length])
                if found.tobytes() not in seen:
                    seen.add(found.tobytes())
                    rows.append((f"{file}#{part}", file, kind, part, labels.index(kind), found))
        ids, files, kinds, looks, numbers, inputs = zip(*rows, strict=True)
        np.savez_compressed(
            folder / f"files-{name}.npz",
            ids=np.asarray(ids),
            original=np.asarray(files),
            type=np.asarray(kinds),
            part=np.asarray(looks),
            labels=np.asarray(numbers, dtype=np.int64),
            inputs=np.stack(inputs),
        )


def features(content: bytes, size: int = 1024, padding: int = 256) -> npt.NDArray[np.int32]:
    """[2 · size] int32: the first and the last bytes of a file as magika's model takes them."""
    first, last = content[:BLOCK].lstrip(), content[-BLOCK:].rstrip()
    if len(content) <= BLOCK:
        first = last = content.strip()
    found = np.full(2 * size, padding, dtype=np.int32)
    head, tail = first[:size], last[-size:]
    found[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    found[2 * size - len(tail) :] = np.frombuffer(tail, dtype=np.uint8)
    return found


def _files(wheels: list[Path]) -> dict[str, list[tuple[str, bytes]]]:
    """Type → files of it (name, content), each content once, in an order that only contents decide."""
    found: dict[str, dict[str, tuple[str, bytes]]] = {}
    for wheel in wheels:
        for name, content in read_members(wheel, lambda member: _extension(member) in TYPES).items():
            if SHORTEST_BYTES <= len(content) <= LARGEST_BYTES:
                digest = hashlib.sha256(content).hexdigest()
                found.setdefault(TYPES[_extension(name)], {}).setdefault(digest, (name, content))
    return {kind: [files[digest] for digest in sorted(files)] for kind, files in sorted(found.items())}


def _split(found: Mapping[str, list[tuple[str, bytes]]]) -> tuple[list[tuple[str, str, bytes]], ...]:
    """(type, file, content) to be asked, and for calibration: never the same file."""
    asked, kept = [], []
    for kind, files in found.items():
        if len(files) < FEWEST:
            continue
        # A quarter for calibration, before anything is cut off: rare types are in both.
        share = min(MOST_CALIBRATION, max(1, len(files) // 4))
        kept += [(kind, name, content) for name, content in files[:share]]
        asked += [(kind, name, content) for name, content in files[share : share + MOST_TEST]]
    return asked, kept


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix.removeprefix(".").lower()
