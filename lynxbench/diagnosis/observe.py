"""One pass over the samples: fp32 and candidate side by side, tensor by tensor, everything streamed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.diagnosis.facts import TensorFacts
from lynxbench.diagnosis.graphs import Range, pairs, represented, with_all_outputs
from lynxbench.diagnosis.streaming import Error, Histogram, Moments
from lynxbench.quantization.check import session
from lynxbench.quantization.graphs import FLOAT, element_types
from lynxbench.tasks import Feed

# What the observed tensors of one batch may take in both graphs: where they take more, the samples are read
# several times.
CHUNK_BYTES = 128 << 20
# A stratum of fewer samples is not named: one strange sample would be its whole share.
STRATUM_SAMPLES = 8


@dataclass(frozen=True)
class Batches:
    """Samples as the model takes them, readable again and again; `strata`: field → [n] of the same order."""

    feeds: Any
    strata: Mapping[str, npt.NDArray[np.str_]]

    def __iter__(self) -> Iterator[Feed]:
        return iter(self.feeds())


@dataclass
class _Tensor:
    """What is known so far about one tensor."""

    low: float = math.inf
    high: float = -math.inf
    moments: Moments = field(default_factory=Moments)
    histogram: Histogram = field(default_factory=Histogram)
    error: Error = field(default_factory=Error)
    outside: int = 0
    rows_outside: list[npt.NDArray[np.float64]] = field(default_factory=list)  # [b] shares, a number a sample

    def see(self, values: npt.NDArray[Any], ends: Range | None) -> None:
        good = np.isfinite(values)
        finite = values if good.all() else values[good]
        if finite.size == 0:
            return
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        self.moments.add(finite)
        self.histogram.add(finite)
        if ends is not None and values.ndim:
            # What is rounded to the last step is no more wrong than the rest.
            step = (ends[1] - ends[0]) / 255
            beyond = (values < ends[0] - step) | (values > ends[1] + step)
            self.outside += int(beyond.sum())
            self.rows_outside.append(beyond.reshape(len(values), -1).mean(axis=1))


def observe(prepared: Any, artifact: Any, test: Batches, calibration: Batches | None) -> list[TensorFacts]:
    """Facts about every tensor that both graphs have, in the graph's order.

    Both graphs run op by op, graph optimizations disabled, so that what is seen is what the graph says; what fused
    kernels change is asked elsewhere. Raises what ONNX Runtime raises.
    """
    twins, ends = pairs(prepared, artifact), represented(artifact)
    producers = {name: node.op_type for node in prepared.graph.node for name in node.output}
    ranges = {name: ends.get(twin.removesuffix("_DequantizeLinear_Output")) for name, twin in twins.items()}
    nodes = {name: node.name for node in prepared.graph.node for name in node.output}
    facts = _inputs(prepared, ends, test, calibration)
    for names in _chunks(prepared, list(twins), next(iter(test))):
        seen = {name: _Tensor() for name in names}
        mine = session(with_all_outputs(prepared, names), 1, optimize=False, varied_shapes=True)
        its = [twins[name] for name in names]
        theirs = session(with_all_outputs(artifact, list(dict.fromkeys(its))), 1, optimize=False, varied_shapes=True)
        for feed in test:
            right = dict(zip(names, mine.run(names, feed), strict=True))
            answers = dict(zip(its, theirs.run(its, _cast(theirs, feed)), strict=True))
            for name in names:
                reference, values = right[name], answers[twins[name]]
                seen[name].see(reference, ranges[name])
                if reference.shape == values.shape:
                    good = np.isfinite(reference) & np.isfinite(values)
                    both = (reference, values) if good.all() else (reference[good], values[good])
                    seen[name].error.add(*both)
        met = {name: _Tensor() for name in names}
        if calibration is not None:
            for feed in calibration:
                for name, values in zip(names, mine.run(names, feed), strict=True):
                    met[name].see(values, None)
        facts += [
            _facts(name, producers[name], seen[name], met[name], ranges[name], test.strata)
            for name in names
            if seen[name].moments.n
        ]
    readers: dict[str, list[str]] = {}
    for node in prepared.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node.name)
    return [
        replace(one, node=nodes.get(one.name, ""), readers=tuple(readers.get(one.name, ()))) for one in facts
    ]


def _inputs(prepared: Any, ends: Mapping[str, Range], test: Batches, calibration: Batches | None) -> list[TensorFacts]:
    """Facts about the graph's inputs of floating point, which no run has to tell."""
    types = element_types(prepared)
    constants = {tensor.name for tensor in prepared.graph.initializer}
    names = [one.name for one in prepared.graph.input if one.name not in constants and types[one.name] == FLOAT]
    seen, met = ({name: _Tensor() for name in names} for _ in range(2))
    for batches, tensors in ((test, seen), (calibration, met)):
        for feed in batches or ():
            for name in names:
                tensors[name].see(feed[name], ends.get(name) if tensors is seen else None)
    return [
        _facts(name, "input", seen[name], met[name], ends.get(name), test.strata)
        for name in names
        if seen[name].moments.n
    ]


def _chunks(prepared: Any, names: Sequence[str], feed: Feed) -> Iterator[list[str]]:
    """Tensors that fit into `CHUNK_BYTES` together, one at least."""
    runner = session(with_all_outputs(prepared, names), 1, optimize=False)
    sizes = {name: array.nbytes for name, array in zip(names, runner.run(list(names), feed), strict=True)}
    chunk: list[str] = []
    for name in names:
        if chunk and 2 * (sizes[name] + sum(sizes[one] for one in chunk)) > CHUNK_BYTES:
            yield chunk
            chunk = []
        chunk.append(name)
    if chunk:
        yield chunk


def _cast(runner: Any, feed: Feed) -> Feed:
    """The feed in the float type that the candidate's inputs have."""
    half = {item.name for item in runner.get_inputs() if item.type == "tensor(float16)"}
    return {name: array.astype(np.float16) if name in half else array for name, array in feed.items()}


def _facts(
    name: str,
    producer: str,
    seen: _Tensor,
    met: _Tensor,
    ends: Range | None,
    strata: Mapping[str, npt.NDArray[np.str_]],
) -> TensorFacts:
    worst = None if ends is None else _worst(np.concatenate(seen.rows_outside), strata)
    calibrated = met.moments.n > 0
    return TensorFacts(
        name=name,
        producer=producer,
        # An input is the same for both.
        sqnr_db=seen.error.sqnr_db,
        cosine=seen.error.cosine,
        low=seen.low,
        high=seen.high,
        kurtosis=seen.moments.kurtosis,
        p999=seen.histogram.magnitude(99.9),
        represented_low=None if ends is None else ends[0],
        represented_high=None if ends is None else ends[1],
        calibration_low=met.low if calibrated else None,
        calibration_high=met.high if calibrated else None,
        outside_share=None if ends is None else seen.outside / seen.moments.n,
        worst_field=None if worst is None else worst[0],
        worst_stratum=None if worst is None else worst[1],
        worst_outside_share=None if worst is None else worst[2],
        distance=seen.histogram.distance(met.histogram) if calibrated else None,
    )


def _worst(
    shares: npt.NDArray[np.float64], strata: Mapping[str, npt.NDArray[np.str_]]
) -> tuple[str, str, float] | None:
    """The stratum with the largest mean share, of those with enough samples and of fields that fit `shares` [n]."""
    found = [
        (name, str(value), float(shares[column == value].mean()))
        for name, column in strata.items()
        if len(column) == len(shares)
        for value in np.unique(column)
        if int((column == value).sum()) >= STRATUM_SAMPLES
    ]
    return max(found, key=lambda item: item[2], default=None)
