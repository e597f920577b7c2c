"""Generated files are as the code would write them now."""

from __future__ import annotations

from tests.generated import files


def test_generated_files_are_current() -> None:
    for path, content in files().items():
        assert path.read_text() == content, f"{path} is stale: run make docs"
