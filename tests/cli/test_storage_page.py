"""docs/storage.md, command by command, against a real S3 server."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lynxbench.records.compaction import ABANDONED_S, KEEP_S
from lynxbench.records.objects import PATIENCE_S
from tests.object_server import ObjectServer
from tests.running import ROOT, lynxbench

PAGE = (ROOT / "docs" / "storage.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_from_top_to_bottom(tmp_path: Path, s3: ObjectServer) -> None:
    bucket = s3.bucket()
    (block,) = blocks("sh")
    said = []
    for line in block.splitlines():
        ran = lynxbench(*shlex.split(line.replace("s3://bench", f"s3://{bucket}"))[1:], home=tmp_path)
        assert ran.code == 0, ran.err
        said.append(ran.out.replace(bucket, "bench"))
    told, layout = blocks("text")
    for line in told.splitlines():
        assert any(line in out for out in said), line
    patterns = [re.sub(r"[A-Z_]{2,}(-[A-Z]+)?", "[^/]+", line.split()[0]) for line in layout.splitlines()]
    patterns = [pattern.replace("000002", r"\d{6}").replace("/records/work", r"/\w+/work") for pattern in patterns]
    for name in s3.names(f"{bucket}/team/first"):
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name
    assert len(patterns) == 6


def test_what_the_page_says_is_what_there_is() -> None:
    assert f"`--keep` hours ({KEEP_S / 3600:g})" in PAGE
    assert PATIENCE_S == 600
    assert "tried for ten minutes" in PAGE
    assert ABANDONED_S == 7 * 86_400
    assert "in a week clears it away" in PAGE
