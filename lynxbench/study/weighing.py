"""Facts about the weights of model files in the cache, by a child process: `python -m lynxbench.study.weighing`.

Where a file or what it was made from is no longer in the cache there are no facts; nothing is built again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lynxbench.diagnosis.facts import WeightFacts, as_plain
from lynxbench.diagnosis.weights import CHANNEL_AXIS, weight_facts
from lynxbench.errors import CellError
from lynxbench.quantization.manifest import Manifest
from lynxbench.quantization.prepare import kept_model
from lynxbench.sweep.child import Child, serve

COMMAND = (sys.executable, "-m", "lynxbench.study.weighing")
TIMEOUT_S = 600.0
MEMORY_BYTES = 8 << 30
# Facts of other names are those of another version: found out again.
_VERSION = hashlib.sha256(",".join(one.name for one in fields(WeightFacts)).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class ModelFile:
    """A candidate's model file in the cache, with what its manifest says."""

    path: Path
    manifest: Mapping[str, Any]


def files_in(cache: Path) -> dict[str, ModelFile]:
    """Model files by their SHA-256."""
    found = {}
    for file in (cache / "artifacts").glob("*.onnx.json"):
        with suppress(OSError, ValueError):
            manifest = Manifest.from_json(file.read_text(encoding="utf-8"))
            path = file.with_name(file.name.removesuffix(".json"))
            if path.is_file():
                found[manifest.artifact_sha256] = ModelFile(path, vars(manifest))
    return found


def weigh(
    files: Iterable[ModelFile], cache: Path, on_file: Callable[[int], None] = lambda done: None
) -> dict[str, list[dict[str, Any]]]:
    """Facts of the weights by the SHA-256 of the model file; those that cannot be had are not in it.

    What was found is kept in `cache`, as a decomposition of large weights takes seconds.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    child: Child | None = None
    try:
        for done, file in enumerate(files):
            on_file(done)
            sha256 = str(file.manifest["artifact_sha256"])
            kept = cache / "weights" / f"{sha256}-{_VERSION}.json"
            with suppress(OSError, ValueError):
                found[sha256] = json.loads(kept.read_text(encoding="utf-8"))
                continue
            child = child or Child(COMMAND, memory_limit_bytes=MEMORY_BYTES)
            request = {"do": "weigh", "artifact": str(file.path), "model_sha256": file.manifest["model_sha256"]}
            try:
                facts = child.ask({**request, "cache": str(cache / "ranges")}, TIMEOUT_S)["weights"]
            except CellError:
                child.close()
                child = None
                continue
            if facts is not None:
                found[sha256] = facts
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(facts), encoding="utf-8")
    finally:
        if child is not None:
            child.close()
    return found


def _weigh(request: dict[str, Any]) -> dict[str, Any]:
    """The weights of one file against those of the model that it was made from; None where that is not kept."""
    import onnx

    prepared = kept_model(request["model_sha256"], Path(request["cache"]))
    if prepared is None:
        return {"weights": None}
    turned = {
        node.input[1]: any(item.name == "transB" and item.i for item in node.attribute)
        for node in prepared.graph.node
        if node.op_type == "Gemm"
    }
    facts = weight_facts(prepared, onnx.load(request["artifact"]))
    return {
        "weights": [
            {**as_plain(one), "channels": one.shape[0 if turned.get(one.name) else CHANNEL_AXIS[one.op_type]]}
            for one in facts
        ]
    }


def main() -> None:
    """Serve until the parent closes the pipe."""
    serve({"weigh": _weigh})


if __name__ == "__main__":
    main()
