"""From somebody's trained model to an ONNX file that does the same, and to a suite that measures it.

Imports the rooms below; the frameworks that models come from are imported by the exporter that needs them.
"""

from __future__ import annotations

from lynxbench.intake.exporting import FRAMEWORKS, Export, export_model
from lynxbench.intake.inspection import Inspection, inspect_model
from lynxbench.intake.parity import Parity
from lynxbench.intake.starting import Started, start

__all__ = [
    "FRAMEWORKS",
    "Export",
    "Inspection",
    "Parity",
    "Started",
    "export_model",
    "inspect_model",
    "start",
]
