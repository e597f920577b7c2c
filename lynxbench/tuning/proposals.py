"""What is worth trying instead of a scheme that loses: single changes with their reasons, and combinations of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lynxbench.diagnosis.causes import Cause, Finding
from lynxbench.diagnosis.run import Diagnosis
from lynxbench.diagnosis.sensitivity import Part, Sensitivity
from lynxbench.diagnosis.time_causes import float_op_type
from lynxbench.specs.base import as_frozen
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.scheme_options import OPTIONS

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Lists that a change adds to; any other option is replaced.
_ADDED_TO = ("op_types_kept_float", "nodes_kept_float")
# A name may have 64 characters, and a table needs room for others; of a longer one the changes are only counted.
_LONGEST_NAME = 48
# Op types left in float one more at a time: with more, products alone are the simpler scheme.
_MOST_OP_TYPES = 3


@dataclass(frozen=True)
class Change:
    """One thing that a scheme does otherwise. `name` is a word for names of schemes, `why` a clause for readers."""

    name: str
    options: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Proposal:
    """A scheme to try: `base` with all `changes`."""

    scheme: Scheme
    base: str
    changes: tuple[Change, ...]

    @property
    def why(self) -> str:
        """The changes, each with its reason."""
        return "; ".join(f"{change.name}: {change.why}" for change in self.changes)


def changed(base: Scheme, changes: Sequence[Change]) -> Proposal | None:
    """`base` with all `changes`; None where they change nothing, or cannot be had together or of this kind."""
    options = base.options()
    for change in changes:
        if change.options.get("kind", options["kind"]) != options["kind"]:
            options = {}
        for name, value in change.options.items():
            kept = options.get(name, ())
            options[name] = [*kept, *(one for one in value if one not in kept)] if name in _ADDED_TO else value
    if options.get("method") != "percentile":
        options.pop("percentile", None)
    if options.get("method") != "moving-average":
        options.pop("averaging_constant", None)
    name = "+".join((base.name, *(change.name for change in changes)))
    if len(name) > _LONGEST_NAME:
        name = f"{base.name[:_LONGEST_NAME]}+{len(changes)}-changes"
    try:
        scheme = Scheme.model_validate(as_frozen({"name": name, **options}))
    except ValidationError:
        return None
    return None if scheme.options() == base.options() else Proposal(scheme, base.name, tuple(changes))


def single_changes(scheme: Scheme, found: Diagnosis, *, calibrated: bool) -> list[Change]:
    """Changes worth trying alone, in order: what answers a cause best, other ways to quantize products, the parts that
    cost most left in float, what else answers a cause, what helps often.

    `calibrated`: there is calibration data, so that a static scheme can be built.
    """
    mends = [list(_mends(finding, scheme, found, calibrated)) for finding in found.findings]
    changes = [
        *(change for some in mends for change in some[:1]),
        *_kinds(scheme, found, calibrated),
        *_by_part(found.sensitivity, scheme),
        *(change for some in mends for change in some[1:]),
        *_usual(scheme),
    ]
    return _once(scheme, changes)


def usual_changes(scheme: Scheme) -> list[Change]:
    """What is worth trying without a diagnosis, of a scheme that loses nothing: another may be faster still."""
    return _once(scheme, _usual(scheme))


def _once(scheme: Scheme, changes: Iterable[Change]) -> list[Change]:
    """Those that change the scheme, each name once."""
    once: dict[str, Change] = {}
    for change in changes:
        if changed(scheme, (change,)) is not None:
            once.setdefault(change.name, change)
    return list(once.values())


def all_mends(scheme: Scheme, found: Diagnosis, *, calibrated: bool) -> tuple[Change, ...]:
    """The first change that answers each cause of a loss, together."""
    mends = []
    for finding in found.findings:
        if finding.cause.is_about_time:
            continue
        first = next(iter(_mends(finding, scheme, found, calibrated)), None)
        if first is not None and "kind" not in first.options:
            mends.append(first)
    return tuple(mends)


def _mends(finding: Finding, scheme: Scheme, found: Diagnosis, calibrated: bool) -> Iterator[Change]:
    """What answers a cause, the most specific change first."""
    cause, why = finding.cause, f"{finding.cause.value} at {finding.where}"
    if cause == Cause.MASK_CONSTANT_STRETCHES_RANGE:
        tensors = [mask.tensor for mask in found.masks if mask.quantized]
        yield Change("mask-float", {"nodes_kept_float": _around(tensors, found)}, why)
        producers = {one.producer for one in found.tensors if one.name in tensors}
        # Leaving in float what is never quantized is refused.
        names = sorted({*producers, "Softmax"} & found.op_types.keys())
        yield Change("softmax-float", {"op_types_kept_float": names}, why)
    elif cause == Cause.EXTREME_WEIGHT:
        places = {finding.where, *finding.others}
        yield Change("weight-float", {"nodes_kept_float": [w.node for w in found.weights if w.name in places]}, why)
    elif cause == Cause.CALIBRATION_MISSES_RANGE:
        yield Change("minmax", {"method": "minmax"}, why)
    elif cause == Cause.PRODUCTS_SATURATE:
        yield Change("7-bit", {"reduce_range": True}, why)
        yield Change("u8-weights", {"weight_type": "uint8"}, why)
    elif cause == Cause.ACTIVATION_OUTLIER:
        places = {finding.where, *finding.others}
        yield Change("outlier-float", {"nodes_kept_float": _around(sorted(places), found)}, why)
        yield Change("percentile", {"method": "percentile", "percentile": 99.99}, why)
        yield Change("smooth", {"smooth_alpha": 0.5}, why)
    elif cause == Cause.PER_TENSOR_WEIGHTS:
        yield Change("per-channel", {"per_channel": True}, why)
    elif cause == Cause.BATCH_DEPENDENT_SCALES and calibrated:
        yield _static(why)
    elif cause == Cause.TYPES_OFF_FAST_PATH:
        yield Change("u8s8", {"activation_type": "uint8", "weight_type": "int8"}, why)
    elif cause == Cause.SLOW_INTEGER_KERNEL:
        op_type = float_op_type(finding.where)
        if scheme.kind == "int8-dynamic" and calibrated:
            yield _static(why)
        yield Change(f"{op_type.lower()}-float", {"op_types_kept_float": [op_type]}, why)
    elif cause == Cause.UNFUSED_QDQ:
        yield _products(found)


def _static(why: str) -> Change:
    return Change("static", {"kind": "int8-static", "op_types": list(PRODUCTS), "per_channel": True}, why)


def _products(found: Diagnosis) -> Change:
    # Of a graph without a ConvTranspose the record would note that there is none.
    there = {weight.op_type for weight in found.weights} | {tensor.producer for tensor in found.tensors}
    op_types = [one for one in PRODUCTS if one in there] or list(PRODUCTS)
    return Change("products", {"op_types": op_types}, "products alone are quantized")


def _kinds(scheme: Scheme, found: Diagnosis, calibrated: bool) -> Iterator[Change]:
    """Other ways to quantize products, which is where the time of most models goes."""
    if scheme.kind not in ("int8-static", "int8-dynamic"):
        return
    if scheme.kind == "int8-static":
        with_weights = {weight.node for weight in found.weights}
        both = [t.node for t in found.tensors if t.producer in ("MatMul", "Gemm") and t.node not in with_weights]
        if both:
            kept = {"nodes_kept_float": list(dict.fromkeys(both))}
            why = "products with weights alone are quantized, those of two activations are not"
            yield Change("linear", {**_products(found).options, **kept}, why)
        if any(weight.op_type in ("MatMul", "Gemm") for weight in found.weights):
            yield Change("dynamic", {"kind": "int8-dynamic", "op_types": "all"}, "scales computed anew in each run")
    elif calibrated:
        yield _static("scales fixed by calibration")
    if scheme.op_types == "all":
        yield _products(found)


def _around(tensors: Iterable[str], found: Diagnosis) -> list[str]:
    """Every node that writes or reads one of `tensors`: as long as one of them is quantized, the tensor is."""
    wanted = set(tensors)
    names = [name for one in found.tensors if one.name in wanted for name in (one.node, *one.readers) if name]
    return list(dict.fromkeys(names))


def _by_part(found: Sensitivity | None, scheme: Scheme) -> Iterator[Change]:
    """Parts left in float, those first that cost most: op types one more at a time, nodes twice as many each time."""
    if found is None:
        return
    known = OPTIONS[scheme.kind]
    op_types, nodes = (_suspects(found, kind) for kind in ("op-type", "node"))
    if "op_types_kept_float" in known:
        for count in range(1, min(len(op_types), _MOST_OP_TYPES) + 1):
            names = [part.name for part in op_types[:count]]
            what = f"{' and '.join(names)} cost{'s' if count == 1 else ''} most"
            yield Change("+".join((*names, "float")).replace("+float", "-float"), {"op_types_kept_float": names}, what)
    if "nodes_kept_float" in known:
        count = 1
        while count <= len(nodes) // 2:
            names = [name for part in nodes[:count] for name in part.nodes]
            what = "the node that costs most" if count == 1 else f"the {count} nodes that cost most"
            yield Change(f"{count}-float", {"nodes_kept_float": names}, f"{what}: {', '.join(names[:3])}")
            count *= 2


def _suspects(found: Sensitivity, kind: Any) -> list[Part]:
    """Parts by what leaving them in float wins back, by the rubric; those that were not tried by the proxy's order."""
    tried = [trial.part for trial in found.of(kind, "left-in-float") if trial.loss is not None]
    waiting = [one.part for one in found.not_tried if one.how == "left-in-float" and one.part.kind == kind]
    return tried + waiting


def _usual(scheme: Scheme) -> Iterator[Change]:
    """What helps often, cause or no cause; options that the kind has not, or that are so already, fall away later."""
    yield Change("per-channel", {"per_channel": True}, "one scale a channel")
    yield Change("per-tensor", {"per_channel": False}, "one scale a weight, whose kernels may be faster")
    if scheme.kind == "int8-static":
        yield Change("percentile", {"method": "percentile", "percentile": 99.99}, "ranges without the largest 0.01 %")
        yield Change("entropy", {"method": "entropy"}, "ranges by least divergence")
        yield Change("minmax", {"method": "minmax"}, "ranges by the largest values")
        yield Change("smooth", {"smooth_alpha": 0.5}, "outliers moved into the weights")
    if scheme.kind in ("int8-static", "int8-dynamic"):
        yield Change("7-bit", {"reduce_range": True}, "weights of 7 bits")
        yield Change("u8-weights", {"weight_type": "uint8"}, "weights with a zero point")
    if scheme.kind == "int8-static":
        yield Change("a16", {"activation_type": "uint16"}, "activations of 16 bits")
    if scheme.kind == "weights-only":
        yield Change("8-bit", {"bits": 8}, "weights of 8 bits")
        yield Change("block-32", {"block_size": 32}, "a scale for each 32 weights")
