"""The process that holds one deployment: `python -m lynxbench.sweep.worker`, spoken to in JSON lines.

open         model on its executor, cold start timed apart, first run compared with the reference outputs
search_load  the batch size and the queries in flight that answer most samples a second
answer       the whole test set at one batch size, predictions to a file
adopt        in a fresh process: what an earlier one answered
prepare      bind the queries of a scenario and warm up
search_rate  the highest rate of arrivals whose p99 holds a limit
block        one timed block
recheck      the timed queries once more, compared with the accuracy pass
usage        peak memory, and the providers once more
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.samples import Samples
from lynxbench.execution import Sensors, out_of_memory, usable_cores
from lynxbench.measurement import (
    Block,
    harness_overhead_ns,
    is_warm,
    search_load,
    search_rate,
    serve_block,
    time_block,
    time_in_flight,
    warm_up,
)
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.rubric import TaskName
from lynxbench.specs.suite import Model, Protocol
from lynxbench.sweep.child import serve
from lynxbench.sweep.wire import block_to_wire, save_predictions
from lynxbench.tasks import CachedQuery, Query, answer_all, batches, first_feed, get_task

# Queries bound for timing: enough different samples that caches and branches see real variety.
TIMED_QUERIES = 32
# ... but no more than this much input, so that big models fit.
TIMED_QUERIES_BYTES = 256 << 20
# Binding takes two runs a query: for slow models it stops after this time, with at least so many bound.
BINDING_S = 0.1
LEAST_QUERIES = 2
# After timing so many answers are compared with the accuracy pass; of slow models as many as this time allows, and one.
RECHECKED_QUERIES = 2
RECHECK_S = 0.1
# Untimed runs before each block: another candidate had the caches just now, and this gives them back. A run that is
# longer than this fills them anew by itself.
LEAD_IN_RUNS = 2
LEAD_IN_WORTH_NS = 5_000_000
# The rate search begins at half of what the candidate can serve without a pause, where most limits hold.
START_LOAD = 0.5
# Even where the accuracy pass was warm-up enough: how long a run takes is read from these runs, or this one.
TIMED_WARM_UP_S = 0.01
# One try of a batch size or of queries in flight.
SEARCH_NS = 200_000_000
SEARCH_WARM_UP_RUNS = 5
SEARCH_WARM_UP_S = 0.05


class Worker:
    """The state between requests."""

    def __init__(self) -> None:
        self._answers: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
        self._queries: dict[str, tuple[int, list[Query], list[np.ndarray[Any, Any]]]] = {}
        self._ran: dict[int, tuple[int, int]] = {}  # runs and ns of the accuracy pass, by batch size
        self._next: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._sensed: dict[str, Sensors] = {}  # before a scenario's first block
        self._joules: dict[str, float] = {}  # over its blocks, where energy can be read
        self._queries_timed: dict[str, int] = {}
        self._token_times: dict[str, list[tuple[int, int, int]]] = {}
        self._run_ns: dict[str, float] = {}

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Everything that needs no ONNX Runtime, so that `open` times just the cold start."""
        self._model = Model.from_json(request["model"])
        self._samples = Samples.read(Path(request["samples"]))
        self._task_name: TaskName = request["task"]
        self._task = get_task(self._task_name)
        return {}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        from lynxbench.execution import Executor

        spec = ExecutorSpec.from_json(request["executor"])
        self._executor = Executor(
            spec,
            threads=request["threads"],
            options=request["options"],
            scheme=request["scheme_kind"],
            spinning=False,
            cache_dir=Path(request["cache"]),
        )
        cold = self._executor.open(Path(request["artifact"]), shapes=request["shapes"])
        feed = first_feed(self._task, self._samples, self._model, self._executor.inputs)
        references = []
        for file in request["references"]:
            with np.load(file, allow_pickle=False) as archive:
                references.append({name: archive[name] for name in archive.files})
        verification = self._executor.verify(feed, references, scheme=request["scheme_kind"])
        return {
            "import_ns": cold.import_ns,
            "register_ns": cold.register_ns,
            "create_ns": cold.create_ns,
            "engine_build_ns": cold.engine_build_ns,
            "first_run_ns": verification.first_run_ns,
            "status": verification.status,
            "reason": verification.reason,
            "nodes": [
                {"provider": provider, "op_type": op_type, "count": count}
                for provider, ops in sorted(verification.nodes.items())
                for op_type, count in sorted(ops.items())
            ],
            "options": dict(verification.options),
            "threads": verification.threads,
            "onnxruntime_version": verification.onnxruntime_version,
            "wheel": verification.wheel,
            "device": verification.device,
            "precision": verification.precision,
            "cautions": [caution.value for caution in verification.cautions],
            "differences": list(verification.differences),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        batch_size = request["batch_size"]
        begun_ns = time.perf_counter_ns()
        answers = answer_all(self._task, self._executor, self._samples, self._model, batch_size)
        runs = math.ceil(len(next(iter(answers.values()))) / batch_size)
        self._ran[batch_size] = (runs, time.perf_counter_ns() - begun_ns)
        self._answers[batch_size] = answers
        if request["raw"] is not None:
            np.savez(request["raw"], **answers)  # type: ignore[arg-type]
        predictions = self._task.predictions(self._samples, answers)
        save_predictions(predictions, Path(request["out"]))
        return {"n": len(predictions)}

    def adopt(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take over what an earlier process of this candidate answered: answers are compared with it after timing."""
        for batch_size, file in request["answers"]:
            with np.load(file, allow_pickle=False) as archive:
                self._answers[batch_size] = {name: archive[name] for name in archive.files}
            self._ran[batch_size] = (0, 0)
        return {}

    def search_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """First the batch size with one query in flight, then the queries in flight at that batch size."""

        def samples_per_s(batch_size: int, in_flight: int) -> float:
            try:
                queries, _ = self._bind(batch_size, in_flight)
                warm_up([query.run for query in queries], SEARCH_WARM_UP_RUNS, SEARCH_WARM_UP_S)
                block = _closed_loop(queries, in_flight, SEARCH_NS, 0)
            except Exception as error:
                if out_of_memory(error):
                    raise MemoryError(str(error)) from error
                raise
            return batch_size * len(block) / (block.busy_ns / 1e9)

        sizes = search_load(request["batch_sizes"], lambda size: samples_per_s(size, 1))
        lanes = search_load(request["in_flight"], lambda lanes: samples_per_s(sizes.load, lanes))
        return {
            "batch_size": sizes.load,
            "in_flight": lanes.load,
            "batch_sizes_tried": sizes.tried,
            "in_flight_tried": lanes.tried,
        }

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        protocol = Protocol.from_json(request["protocol"])
        batch_size, in_flight = request["batch_size"], request["in_flight"]
        queries, positions = self._bind(batch_size, in_flight)
        name = request["scenario"]
        self._queries[name] = (batch_size, queries, positions)
        self._in_flight[name] = in_flight
        self._sensed[name] = self._executor.read_sensors()
        self._joules[name], self._queries_timed[name] = 0.0, 0
        self._next[name] = 0
        # The accuracy pass ran this session at this batch size, by the same bound path: its runs count. What it leaves
        # of the declared warm-up is run now; each query's own memory was touched when it was bound.
        ran, ran_ns = self._ran[batch_size]
        runs_left, s_left = protocol.warm_up_runs - ran, protocol.warm_up_s - ran_ns / 1e9
        if is_warm(ran, ran_ns, protocol.warm_up_runs, protocol.warm_up_s):
            runs_left, s_left = 0, 0.0
        warm = warm_up([query.run for query in queries], max(1, runs_left), max(TIMED_WARM_UP_S, s_left))
        self._run_ns[name] = warm.wall_ns / warm.runs
        return {
            "warm_up_cut_short": ran + warm.runs < protocol.warm_up_runs,
            "warm_up_runs": ran + warm.runs,
            "warm_up_ns": ran_ns + warm.wall_ns,
            "harness_overhead_ns": harness_overhead_ns(),
        }

    def _bind(self, batch_size: int, in_flight: int) -> tuple[list[Query], list[np.ndarray[Any, Any]]]:
        """Queries spread over the test set, bound and loaded, with the samples of each; at least one for each lane."""
        inputs = self._task.inputs(self._samples)
        chosen = list(batches(len(inputs), batch_size))
        room = max(1, TIMED_QUERIES_BYTES // max(1, inputs[: min(batch_size, len(inputs))].nbytes))
        wanted = max(in_flight, min(TIMED_QUERIES, room, len(chosen)))
        # Spread over the whole test set; the full batches first, as the accuracy pass saw them.
        positions = [chosen[i] for i in np.linspace(0, len(chosen) - 1, wanted).round().astype(int)]
        queries: list[Query] = []
        begun = time.monotonic()
        for position in positions:
            if len(queries) >= max(LEAST_QUERIES, in_flight) and time.monotonic() - begun > BINDING_S:
                break
            feed = self._task.feed(inputs[position], self._model, self._executor.inputs)
            query = self._task.query(self._executor, feed, self._model)
            query.load(feed)
            queries.append(query)
        return queries, positions[: len(queries)]

    def search_rate(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["scenario"]
        runs = [query.run for query in self._queries[name][1]]
        found = search_rate(
            partial(_serve, runs),
            limit_ns=request["limit_ns"],
            start_per_s=START_LOAD * 1e9 / self._run_ns[name],
            time_limit_s=request["time_limit_s"],
            seed=request["seed"],
        )
        last = next((probe for probe in reversed(found.probes) if not probe.held), None)
        return {
            "rate_per_s": found.rate_per_s,
            "high_per_s": found.high_per_s,
            "stopped_by": found.stopped_by,
            "tried": [[probe.rate_per_s, probe.p99_ns, probe.reason] for probe in found.probes],
            "reason": None if last is None else f"at {last.rate_per_s:.4g} queries/s {last.reason}",
        }

    def block(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["scenario"]
        _, queries, _ = self._queries[name]
        if self._run_ns[name] < LEAD_IN_WORTH_NS:
            warm_up([query.run for query in queries], LEAD_IN_RUNS, 0.0)
        self._taken(queries)  # those of warm-up and of the lead-in
        runs, first, duration_ns = [query.run for query in queries], self._next[name], request["duration_ns"]
        before = self._executor.read_sensors() if self._sensed[name].energy_uj is not None else None
        if request["rate_per_s"] is None:
            block = _closed_loop(queries, self._in_flight[name], duration_ns, first)
        else:
            block = _serve(runs, request["rate_per_s"], duration_ns, request["seed"], first)
        if before is not None:
            self._joules[name] += self._executor.read_sensors().joules_since(before) or 0.0
        self._queries_timed[name] += len(block)
        self._token_times.setdefault(name, []).extend(self._taken(queries))
        self._next[name] = block.next_query
        return block_to_wire(block)

    @staticmethod
    def _taken(queries: Sequence[Query]) -> list[tuple[int, int, int]]:
        """When the tokens of the queries came, of those that tell."""
        return [times for query in queries if isinstance(query, CachedQuery) for times in query.take_token_times()]

    def recheck(self, request: dict[str, Any]) -> dict[str, Any]:
        """Share of the timed queries' answers that are not those of the accuracy pass."""
        batch_size, queries, positions = self._queries[request["scenario"]]
        different = total = 0
        begun = time.monotonic()
        for query, position in list(zip(queries, positions, strict=True))[:RECHECKED_QUERIES]:
            if total and time.monotonic() - begun > RECHECK_S:
                break
            query.run()
            # What fills the last batch up was answered in the first ones, beside other samples.
            own = position >= position[0]
            for name, every in query.answer().items():
                values, expected = every[own], self._answers[batch_size][name][position[own]]
                same = (
                    np.isclose(values, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
                    if values.dtype.kind == "f"
                    else values == expected
                )
                rows = same.reshape(len(same), -1).all(axis=1)
                different += int((~rows).sum())
                total += len(rows)
        times = self._token_times.get(request["scenario"], [])
        return {"difference": different / total, "sensed": {**self._beside(request["scenario"]), **_tokens(times)}}

    def _beside(self, name: str) -> dict[str, Any]:
        """What stood beside time from a scenario's warm-up to now; the host's energy, not this process's alone."""
        before, after = self._sensed[name], self._executor.read_sensors()
        # A counter that moves ten times a second stands still through a few short blocks: that is no energy of 0.
        joules = self._joules[name] / max(1, self._queries_timed[name]) or None
        reason = before.reasons.get("energy_uj") or "the energy counter did not move: longer blocks would tell"
        return {
            "energy_joules": joules,
            "energy_reason": None if joules is not None else reason,
            "frequency_before_hz": before.frequency_hz,
            "frequency_after_hz": after.frequency_hz,
            "temperature_before_c": before.temperature_c,
            "temperature_after_c": after.temperature_c,
            "throttled_n": after.throttled_since(before),
            "device_memory_bytes": after.device_memory_bytes,
            "device_memory_reason": after.reasons.get("device_memory_bytes"),
        }

    def usage(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"peak_rss_bytes": _peak_rss_bytes()}


def _tokens(times: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Medians over timed queries; a time per token only of queries with more than one."""
    if not times:
        return {}
    further = [rest / (tokens - 1) for _, rest, tokens in times if tokens > 1]
    return {
        "first_token_p50_ns": float(np.median([first for first, _, _ in times])),
        "output_token_p50_ns": float(np.median(further)) if further else None,
        "output_tokens_mean": float(np.mean([tokens for _, _, tokens in times])),
    }


def _closed_loop(queries: Sequence[Query], in_flight: int, duration_ns: int, first: int) -> Block:
    runs = [query.run for query in queries]
    if in_flight == 1:
        return time_block(runs, duration_ns, first=first)
    return time_in_flight([runs[lane::in_flight] for lane in range(in_flight)], duration_ns, first=first)


def _serve(
    runs: Sequence[Callable[[], object]], rate_per_s: float, duration_ns: int, seed: int, first: int = 0
) -> Block:
    return serve_block(runs, rate_per_s, duration_ns, seed, first=first, usable_cores=usable_cores())


def _peak_rss_bytes() -> int:
    """The most memory that this process has held; on Linux of its own image alone.

    `getrusage` will not do there: it starts from what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


REQUESTS = (
    "load", "open", "search_load", "answer", "adopt", "prepare", "search_rate", "block", "recheck", "usage",
)  # fmt: skip


def main() -> None:
    """Serve until the parent closes the pipe."""
    worker = Worker()
    serve({name: getattr(worker, name) for name in REQUESTS})


if __name__ == "__main__":
    main()
