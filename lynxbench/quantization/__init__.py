"""Scheme → model file and its manifest. Knows nothing of tasks, execution or scores; imports only `specs` and `errors`.

`build_artifact` does the work (call it in a child process: it loads ONNX Runtime and the quantizer); `artifact_key` and
`lookup` are cheap and load neither.
"""

from __future__ import annotations

from lynxbench.quantization.artifacts import artifact_key, artifact_path, lookup, model_files, model_sha256
from lynxbench.quantization.build import build_artifact
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.manifest import Manifest
from lynxbench.quantization.supported import why_unsupported

__all__ = [
    "CalibrationData",
    "Manifest",
    "artifact_key",
    "artifact_path",
    "build_artifact",
    "lookup",
    "model_files",
    "model_sha256",
    "why_unsupported",
]
