"""What may predict a loss: quantities of a candidate that need no label, each with what is expected of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lynxbench.records.record import Record

Source = Literal["record", "model file", "diagnosis"]
# What one candidate is known by: its row, the manifest of its model file, facts of its weights, its diagnosis.
Known = Mapping[str, Any]


@dataclass(frozen=True)
class Correlate:
    """One quantity. `expected`: the sign that its correlation with the loss would have if what is said of it were true.

    `of` gives its value from what is known of a candidate, None where that lacks something.
    """

    name: str
    meaning: str
    source: Source
    expected: int
    of: Callable[[Known], float | None]


_FLOAT_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8}
_TYPE_BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int4": 4, "uint4": 4}
_NOT_COMPUTING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Constant"})


def weight_bits(record: Record) -> float:
    """Bits of a quantized weight, 7 with reduced range."""
    options = json.loads(record["scheme_options"])
    if record["scheme_kind"] in _FLOAT_BITS:
        return _FLOAT_BITS[record["scheme_kind"]]
    bits = options.get("bits") or _TYPE_BITS[options.get("weight_type", "int8")]
    return float(bits - (1 if options.get("reduce_range") else 0))


def activation_bits(record: Record) -> float:
    """Bits of a quantized activation; 32 where activations stay in float."""
    kind = record["scheme_kind"]
    if kind == "int8-dynamic":
        return 8
    options = json.loads(record["scheme_options"])
    return float(_TYPE_BITS.get(options.get("activation_type", ""), _FLOAT_BITS.get(kind, 32)))


def quantized_share(manifest: Mapping[str, Any]) -> float | None:
    """Nodes that read a number of lower precision, of all that compute."""
    computing = sum(count for op, count in manifest["op_types_after"].items() if op not in _NOT_COMPUTING)
    return manifest["nodes_quantized"] / computing if computing else None


def _field(name: str) -> Callable[[Known], float | None]:
    return lambda known: _number(known["record"][name])


def _part(part: str, of: Callable[[Any], float | None]) -> Callable[[Known], float | None]:
    return lambda known: None if known.get(part) is None else of(known[part])


def _worst(part: str, list_name: str | None, of: Callable[[Any], float | None], worst: Any) -> Any:
    """`worst` over the values that items of a list have."""

    def value(found: Any) -> float | None:
        items = found if list_name is None else found[list_name]
        values = [one for item in items if (one := of(item)) is not None]
        return float(worst(values)) if values else None

    return _part(part, value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _quantized(name: str) -> Callable[[Any], float | None]:
    return lambda weight: _number(weight[name]) if weight["scales"] is not None else None


def _flatness(weight: Any) -> float | None:
    """The effective rank over the largest that its shape allows."""
    rank, shape = weight["effective_rank"], weight["shape"]
    if rank is None or weight["scales"] is None:
        return None
    channels, size = int(weight["channels"]), 1
    for extent in shape:
        size *= int(extent)
    return float(rank) / min(channels, size // channels)


def _represented(name: str) -> Callable[[Any], float | None]:
    return lambda tensor: _number(tensor[name]) if tensor["represented_low"] is not None else None


def _stretch(tensor: Any) -> float | None:
    if tensor["represented_low"] is None or not tensor["p999"]:
        return None
    return float(max(-tensor["represented_low"], tensor["represented_high"]) / tensor["p999"])


CORRELATES: tuple[Correlate, ...] = (
    Correlate("weight bits", "bits of a quantized weight", "record", -1, lambda k: weight_bits(k["record"])),
    Correlate(
        "activation bits", "bits of a quantized activation", "record", -1, lambda k: activation_bits(k["record"])
    ),
    Correlate("size", "bytes of the model file over the reference's", "record", -1, lambda k: k["size_ratio"]),
    Correlate("output SQNR", "signal over error of the outputs, no label needed", "record", -1, _field("sqnr_db")),
    Correlate(
        "quantized share", "of the nodes that compute", "model file", 1, _part("manifest", quantized_share)
    ),
    Correlate(
        "weight SQNR", "signal over error of the worst weight", "model file", -1,
        _worst("weights", None, _quantized("sqnr_db"), min),
    ),
    Correlate(
        "weight outlier", "largest over 99th percentile, worst quantized weight", "model file", 1,
        _worst("weights", None, _quantized("outlier_ratio"), max),
    ),
    Correlate(
        "channel range", "widest over median channel, worst quantized weight", "model file", 1,
        _worst("weights", None, _quantized("channel_range_ratio"), max),
    ),
    Correlate(
        "top-1 % share", "of the norm's square in 1 % of the weights, worst quantized weight", "model file", 1,
        _worst("weights", None, _quantized("top_share"), max),
    ),
    Correlate(
        "effective rank", "over the largest possible, least of the quantized weights", "model file", -1,
        _worst("weights", None, _flatness, min),
    ),
    Correlate(
        "tensor SQNR", "signal over error of the worst tensor", "diagnosis", -1,
        _worst("diagnosis", "tensors", lambda tensor: tensor["sqnr_db"], min),
    ),
    Correlate(
        "range stretch", "of the worst scale, over the 99.9th percentile of its tensor", "diagnosis", 1,
        _worst("diagnosis", "tensors", _stretch, max),
    ),
    Correlate(
        "kurtosis", "of the worst quantized tensor", "diagnosis", 1,
        _worst("diagnosis", "tensors", _represented("kurtosis"), max),
    ),
    Correlate(
        "outside share", "of the values beyond what a scale expresses, worst tensor", "diagnosis", 1,
        _worst("diagnosis", "tensors", lambda tensor: tensor["outside_share"], max),
    ),
    Correlate(
        "calibration distance", "Kolmogorov–Smirnov to the test samples, worst quantized tensor", "diagnosis", 1,
        _worst("diagnosis", "tensors", _represented("distance"), max),
    ),
)  # fmt: skip
