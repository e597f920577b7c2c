"""`lynxbench list schemes`: every kind with its options, and when it pays."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from lynxbench.specs.scheme import Scheme
from lynxbench.specs.scheme_options import DEPENDENT, OPTIONS, VALUES

MEASURED = "measured on a 2-core AMD Zen 4 with VNNI, ONNX Runtime 1.32, 1 thread, speed over fp32"
_WIDTH = 110


@dataclass(frozen=True)
class Advice:
    """When a kind of scheme pays, on which hardware, and what it costs."""

    pays: str
    costs: str


ADVICE: dict[str, Advice] = {
    "fp32": Advice("The model as it is, anywhere: the usual reference.", "Four bytes a weight."),
    "fp16": Advice(
        "GPUs and NPUs with float16 kernels, and half the file anywhere.",
        "The CPU provider casts around float32 kernels: 0.94× on MiniLM, 0.99× on ResNet18. Overflows above 65504.",
    ),
    "bf16": Advice(
        "GPUs with bfloat16 kernels, for models that overflow float16; half the file.",
        "8 significant bits. The CPU provider has no kernels: unsupported there, and only the graph is checked.",
    ),
    "fp8": Advice(
        "GPUs with float8 kernels, a quarter of the file. Weights and activations in float8e4m3fn, QDQ form.",
        "Needs calibration, and ONNX Runtime's scales clip beyond 4.5 standard deviations. The CPU "
        "provider rounds between float32 kernels: it shows accuracy, never speed. ONNX Runtime does not load it "
        "where a Clip or Relu comes right before a float8 number.",
    ),
    "int8-dynamic": Advice(
        "CPUs, where MatMul and Gemm take the time: 2.26× on MiniLM. No calibration.",
        "Convolutions: 0.21× on ResNet18 (0.96× with uint8 weights, which make MiniLM 1.29×). Scales follow each "
        "batch, so answers depend on the batch size.",
    ),
    "int8-static": Advice(
        "CPUs with VNNI, and NPUs: 3.21× on ResNet18, 1.72× on MiniLM (1.92× with MatMul and Gemm only), each with "
        "uint8 activations and int8 weights; per channel costs no time.",
        "Needs calibration, and accuracy depends on it. Other types are slower: int8 with int8 0.54× on MiniLM, 1.16× "
        "on ResNet18; 16-bit activations 0.80 to 0.87× and 0.65 to 0.71×. Without VNNI, reduce_range avoids overflow.",
    ),
    "weights-only": Advice(
        "Models bound by memory, such as generation one token at a time, and small files: 4 bits in blocks of 32 or "
        "128 at accuracy_level 4 made MiniLM 1.15× and 1.29×.",
        "Products only: convolutions stay in float. hqq needs PyTorch; gptq needs calibration, all of it in memory.",
    ),
}


def scheme_kinds() -> list[dict[str, Any]]:
    """One row a kind: name, about, pays, costs, measured, and its options with default, values and meaning."""
    properties = Scheme.model_json_schema()["properties"]
    rows = []
    for kind, names in OPTIONS.items():
        advice = ADVICE[kind]
        defaults = Scheme.model_validate({"name": "x", "kind": kind}).options()
        dependent = {name: f"{value} with {other} {of}" for name, other, of, value in DEPENDENT}
        options = [
            {
                "name": name,
                "default": defaults.get(name),
                "default_then": dependent.get(name),
                "values": list(VALUES.get((kind, name), ())) or _values(properties[name]),
                "meaning": properties[name].get("description", ""),
            }
            for name in properties
            if name in names
        ]
        rows.append({"name": kind, "about": advice.pays, **asdict(advice), "measured": MEASURED, "options": options})
    return rows


def kinds_as_text(rows: list[dict[str, Any]]) -> str:
    """The rows for a terminal."""
    lines = [f"Ratios are {MEASURED}.", ""]
    for row in rows:
        lines += [row["name"], *_wrapped("pays: ", row["pays"]), *_wrapped("costs: ", row["costs"])]
        for option in row["options"]:
            default = _shown(option["default"]) if option["default_then"] is None else option["default_then"]
            values = f" ({' | '.join(option['values'])})" if option["values"] else ""
            lines += _wrapped("", f"{option['name']} = {default}{values}: {option['meaning']}", hang="    ")
        lines.append("")
    return "\n".join(lines[:-1])


def _wrapped(label: str, text: str, hang: str = "") -> list[str]:
    return textwrap.wrap(label + text, _WIDTH, initial_indent="  " + hang, subsequent_indent="    " + hang)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if not isinstance(value, list) else "[" + ", ".join(value) + "]"


def _values(declared: dict[str, Any]) -> list[str]:
    """What an option may be, where that is a list of words or numbers."""
    found: list[str] = []
    for one in declared.get("anyOf", [declared]):
        found += [str(value) for value in one.get("enum", [])]
    return found
