"""One pass over the samples: fp32 and candidate side by side, tensor by tensor, everything streamed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.diagnosis.facts import TensorFacts
from lynxbench.diagnosis.feeds import Batch, Batches
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


class _Strata:
    """Which of the samples are of which stratum, as numbers: field → the names, and [n] which one each sample has."""

    def __init__(self, batches: Batches) -> None:
        self.n = batches.n
        self.names: dict[str, npt.NDArray[np.str_]] = {}
        self.codes: dict[str, npt.NDArray[np.intp]] = {}
        for field_name, column in batches.strata.items():
            if len(column) == batches.n:
                self.names[field_name], self.codes[field_name] = np.unique(column, return_inverse=True)


@dataclass
class _Tensor:
    """What is known so far about one tensor; it takes no more memory for more samples.

    by_stratum  field → [k] sums over the samples of a stratum of the share of a sample's values that lie outside
    rows        samples behind these; they are of no use where that is not all of them
    """

    low: float = math.inf
    high: float = -math.inf
    moments: Moments = field(default_factory=Moments)
    histogram: Histogram = field(default_factory=Histogram)
    error: Error = field(default_factory=Error)
    outside: int = 0
    rows: int = 0
    by_stratum: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def see(self, whole: npt.NDArray[Any], batch: Batch, ends: Range | None = None, of: _Strata | None = None) -> None:
        """Count what a batch made of this tensor in, without what fills the batch up; `ends`: what is inside."""
        values = batch.own(whole)
        good = np.isfinite(values)
        finite = values if good.all() else values[good]
        if finite.size == 0:
            return
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        self.moments.add(finite)
        self.histogram.add(finite)
        if ends is None:
            return
        # What is rounded to the last step is no more wrong than the rest.
        step = (ends[1] - ends[0]) / 255
        beyond = (values < ends[0] - step) | (values > ends[1] + step)
        self.outside += int(beyond.sum())
        if of is None or not batch.is_by_sample(whole):
            return
        shares = beyond.reshape(batch.rows, -1).mean(axis=1)
        self.rows += batch.rows
        for name, codes in of.codes.items():
            mine = codes[batch.start : batch.start + batch.rows]
            sums = np.bincount(mine, weights=shares, minlength=len(of.names[name])).astype(np.float64)
            self.by_stratum[name] = self.by_stratum.get(name, np.zeros_like(sums)) + sums


def observe(prepared: Any, artifact: Any, test: Batches, calibration: Batches | None) -> list[TensorFacts]:
    """Facts about every tensor that both graphs have, in the graph's order.

    Both graphs run op by op, graph optimizations disabled, so that what is seen is what the graph says; what fused
    kernels change is asked elsewhere. Raises what ONNX Runtime raises.
    """
    twins, ends = pairs(prepared, artifact), represented(artifact)
    producers = {name: node.op_type for node in prepared.graph.node for name in node.output}
    ranges = {name: ends.get(twin.removesuffix("_DequantizeLinear_Output")) for name, twin in twins.items()}
    nodes = {name: node.name for node in prepared.graph.node for name in node.output}
    strata = _Strata(test)
    facts = _inputs(prepared, artifact, ends, test, calibration, strata)
    for names in _chunks(prepared, list(twins), next(iter(test)).feed):
        seen = {name: _Tensor() for name in names}
        mine = session(with_all_outputs(prepared, names), 1, optimize=False, varied_shapes=True)
        its = [twins[name] for name in names]
        theirs = session(with_all_outputs(artifact, list(dict.fromkeys(its))), 1, optimize=False, varied_shapes=True)
        for batch in test:
            right = dict(zip(names, mine.run(names, batch.feed), strict=True))
            answers = dict(zip(its, theirs.run(its, _cast(theirs, batch.feed)), strict=True))
            for name in names:
                reference, values = batch.own(right[name]), batch.own(answers[twins[name]])
                seen[name].see(right[name], batch, ranges[name], strata)
                if reference.shape == values.shape:
                    good = np.isfinite(reference) & np.isfinite(values)
                    both = (reference, values) if good.all() else (reference[good], values[good])
                    seen[name].error.add(*both)
        met = {name: _Tensor() for name in names}
        if calibration is not None:
            for batch in calibration:
                for name, values in zip(names, mine.run(names, batch.feed), strict=True):
                    met[name].see(values, batch)
        facts += [
            _facts(name, producers[name], seen[name], met[name], ranges[name], strata)
            for name in names
            if seen[name].moments.n
        ]
    readers: dict[str, list[str]] = {}
    for node in prepared.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node.name)
    return [replace(one, node=nodes.get(one.name, ""), readers=tuple(readers.get(one.name, ()))) for one in facts]


def _inputs(
    prepared: Any,
    artifact: Any,
    ends: Mapping[str, Range],
    test: Batches,
    calibration: Batches | None,
    strata: _Strata,
) -> list[TensorFacts]:
    """Facts about the graph's inputs of floating point; only what rounding leaves of them has to be run."""
    types = element_types(prepared)
    constants = {tensor.name for tensor in prepared.graph.initializer}
    names = [one.name for one in prepared.graph.input if one.name not in constants and types[one.name] == FLOAT]
    seen, met = ({name: _Tensor() for name in names} for _ in range(2))
    made = {name for node in artifact.graph.node for name in node.output}
    rounded = {name: f"{name}_DequantizeLinear_Output" for name in names if f"{name}_DequantizeLinear_Output" in made}
    runner = session(with_all_outputs(artifact, list(rounded.values())), 1, optimize=False) if rounded else None
    for batches, tensors in ((test, seen), (calibration, met)):
        for batch in batches or ():
            for name in names:
                tensors[name].see(batch.feed[name], batch, ends.get(name) if tensors is seen else None, strata)
            if tensors is seen and runner is not None:
                for name, values in zip(rounded, runner.run(list(rounded.values()), batch.feed), strict=True):
                    seen[name].error.add(batch.own(batch.feed[name]), batch.own(values))
    return [
        _facts(name, "input", seen[name], met[name], ends.get(name), strata) for name in names if seen[name].moments.n
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
    strata: _Strata,
) -> TensorFacts:
    worst = None if ends is None else _worst(seen, strata)
    calibrated = met.moments.n > 0
    return TensorFacts(
        name=name,
        producer=producer,
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


def _worst(seen: _Tensor, strata: _Strata) -> tuple[str, str, float] | None:
    """The stratum with the largest mean share outside, of those with enough samples; None where none can be said."""
    if seen.rows != strata.n:
        return None
    found = []
    for name, sums in seen.by_stratum.items():
        counts = np.bincount(strata.codes[name], minlength=len(sums))
        found += [
            (name, str(value), float(total / count))
            for value, total, count in zip(strata.names[name], sums, counts, strict=True)
            if count >= STRATUM_SAMPLES
        ]
    return max(found, key=lambda item: item[2], default=None)
