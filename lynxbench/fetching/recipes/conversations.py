"""Text retrieval: find the reply to what somebody says, among the replies to everything that anybody says.

The English conversations of ChatterBot's corpus, first line and first reply; a topic is a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from lynxbench.fetching.archives import read_members

FILES = "chatterbot_corpus/data/english/"
SHORTEST = 8  # characters of a line that says something
CALIBRATION_SHARE = 4  # one conversation in so many
_ITEM = re.compile(r"(- - |  - |- -$|  -$|- )(.*)")
_BLOCK = re.compile(r"[|>][+-]? ")  # how YAML marks a text of several lines


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """queries.jsonl, documents.jsonl and calibration.jsonl: no text of the last is in the others."""
    found = read_members(archives["chatterbot-corpus"], lambda name: name.startswith(FILES) and name.endswith(".yml"))
    asked: list[tuple[str, str, str]] = []
    kept: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for name, content in found.items():
        for lines in conversations(content.decode("utf-8")):
            query, reply = (*(" ".join(line.split()) for line in lines[:2]), "", "")[:2]
            if min(len(query), len(reply)) < SHORTEST or query.lower() in seen:
                continue
            # A line that comes again has other replies, which are right as well: its first is the one.
            seen.add(query.lower())
            number = int(hashlib.sha256(query.lower().encode()).hexdigest(), 16)
            target = kept if number % CALIBRATION_SHARE == 0 else asked
            target.append((PurePosixPath(name).stem, query, reply))
    documents = {reply: f"reply-{number:04d}" for number, reply in enumerate(dict.fromkeys(r for _, _, r in asked))}
    _write(
        folder / "queries.jsonl",
        (
            {"id": f"query-{number:04d}", "text": query, "target_id": documents[reply], "topic": topic}
            for number, (topic, query, reply) in enumerate(asked)
        ),
    )
    _write(folder / "documents.jsonl", ({"id": name, "text": reply} for reply, name in documents.items()))
    taken = {text for _, query, reply in asked for text in (query, reply)}
    texts = dict.fromkeys(text for _, query, reply in kept for text in (query, reply) if text not in taken)
    _write(folder / "calibration.jsonl", ({"id": f"text-{n:04d}", "text": text} for n, text in enumerate(texts)))


def conversations(text: str) -> list[list[str]]:
    """The lines of each conversation of one file.

    The corpus uses a small part of YAML: lists of lists of plain or quoted lines, which may go on indented below.
    """
    found: list[list[str]] = []
    _, _, below = text.partition("conversations:")
    for line in below.splitlines():
        item = _ITEM.match(line)
        if item is not None and item[1].startswith("-"):
            found.append([item[2].strip()])
        elif item is not None and found:
            found[-1].append(item[2].strip())
        elif line.strip() and found and line.startswith("   "):
            found[-1][-1] += " " + line.strip()
    return [
        [_unquoted(_BLOCK.sub("", line, count=1) if _BLOCK.match(line) else line) for line in lines] for lines in found
    ]


def _unquoted(line: str) -> str:
    if len(line) > 1 and line[0] == line[-1] == "'":
        return line[1:-1].replace("''", "'")
    if len(line) > 1 and line[0] == line[-1] == '"':
        try:
            return str(json.loads(line.replace("\\'", "'")))
        except ValueError:
            return line[1:-1]
    return line


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
