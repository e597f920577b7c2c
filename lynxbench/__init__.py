"""LynxBench: what quantization does to the speed and the accuracy of your own model, on your own hardware."""

from __future__ import annotations

__version__ = "0.1.0"
