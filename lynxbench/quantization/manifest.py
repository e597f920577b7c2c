"""What an artifact is and how it came about: the JSON file beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OWN_HASH = "manifest_sha256"


@dataclass(frozen=True)
class Manifest:
    """How one model file was made from another.

    model_sha256, model_bytes        the source: graph and external data
    artifact_sha256, artifact_bytes  the file that was written
    options              every option of the scheme in effect (`Scheme.options`)
    calibration          digest, count and method of what the ranges were observed on; None where none was needed
    libraries            library → version
    op_types_before      op type → number of nodes in the source
    op_types_after       op type → number of nodes in the artifact
    nodes_quantized      nodes of the artifact that read a number in the scheme's lower precision
    seconds              phase → wall time
    ran                  whether one run was made; False where no input could be made up that the source accepts
    warnings             what the user should know: options without effect, nodes left in float, the library's remarks
    """

    model_sha256: str
    model_bytes: int
    artifact_sha256: str
    artifact_bytes: int
    options: dict[str, Any]
    calibration: dict[str, Any] | None
    libraries: dict[str, str]
    op_types_before: dict[str, int]
    op_types_after: dict[str, int]
    nodes_quantized: int
    seconds: dict[str, float]
    ran: bool
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """The manifest as JSON, keys sorted, with a hash over all the rest."""
        content = dataclasses.asdict(self)
        return json.dumps({**content, _OWN_HASH: _hash(content)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The inverse of `to_json`; raises `ValueError` when `text` is no manifest, or not as it was written."""
        data = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, dict) or set(data) != {*names, _OWN_HASH}:
            raise ValueError("not a manifest of this version")
        if data.pop(_OWN_HASH) != _hash(data):
            raise ValueError("not as it was written")
        return cls(**{**data, "warnings": tuple(data["warnings"])})

    @classmethod
    def beside(cls, artifact: Path) -> Path:
        """Where the manifest of `artifact` lies."""
        return artifact.with_name(artifact.name + ".json")


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
