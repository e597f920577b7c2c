"""How late queries of the server scenario are issued: LynxBench beside MLPerf's LoadGen, interleaved, on one session.

    python benchmarks/lateness.py [--seconds 4] [--rates 300 1000 5000]

Both send Poisson arrivals to the same ONNX Runtime session (one thread, about 0.1 ms a run), served one at a time by a
second thread, in turns of one second. Lateness is the time from a query's scheduled arrival to its issue; latency is
from the schedule to the answer. LoadGen's figures are read from its trace. Without `mlcommons-loadgen` only LynxBench's
own are printed.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from lynxbench.measurement import serve_block, time_block, warm_up

TURN_S = 1.0
RATES_PER_S = (300, 1_000, 5_000)


@dataclass(frozen=True)
class Turn:
    """One turn of one engine: [n] ns each."""

    lateness_ns: np.ndarray[Any, Any]
    latency_ns: np.ndarray[Any, Any]


def make_run(layers: int = 6) -> Callable[[], object]:
    """One bound run of a chain of small matrix products, on one thread."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((random.standard_normal((256, 256)) / 16).astype(np.float32), f"w{layer}")
        for layer in range(layers)
    ]
    nodes = [helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"h{layer + 1}"]) for layer in range(layers)]
    ends = [helper.make_tensor_value_info(f"h{end}", TensorProto.FLOAT, [32, 256]) for end in (0, layers)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("h0", random.standard_normal((32, 256)).astype(np.float32))
    binding.bind_output(f"h{layers}", "cpu")
    return partial(session.run_with_iobinding, binding)


def our_turn(run: Callable[[], object], rate_per_s: float, seconds: float, seed: int) -> Turn:
    block = serve_block([run], rate_per_s, round(seconds * 1e9), seed)
    assert block.lateness_ns is not None
    return Turn(block.lateness_ns, block.latencies_ns)


def single_stream_turns(
    loadgen: Any, run: Callable[[], object]
) -> tuple[Callable[[float], np.ndarray[Any, Any]], Callable[[float], np.ndarray[Any, Any]]]:
    """A closed loop of one query, by LynxBench and by LoadGen: seconds → latencies [n] in ns."""

    def ours(seconds: float) -> np.ndarray[Any, Any]:
        return time_block([run], round(seconds * 1e9)).latencies_ns

    def theirs(seconds: float) -> np.ndarray[Any, Any]:
        settings = loadgen.TestSettings()
        settings.scenario = loadgen.TestScenario.SingleStream
        settings.mode = loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms = round(seconds * 1000)
        settings.min_query_count = 1

        def issue(samples: Sequence[Any]) -> None:
            for sample in samples:
                run()
                loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])

        turn = _under_loadgen(loadgen, settings, issue)
        return turn.latency_ns - turn.lateness_ns

    return ours, theirs


def loadgen_turn(loadgen: Any, run: Callable[[], object], rate_per_s: float, seconds: float, seed: int) -> Turn:
    """The same under LoadGen's server scenario, through a worker thread as its own examples do."""
    waiting: SimpleQueue[int | None] = SimpleQueue()

    def issue(samples: Sequence[Any]) -> None:
        for sample in samples:
            waiting.put(sample.id)

    def serve() -> None:
        while (sample := waiting.get()) is not None:
            run()
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample, 0, 0)])

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate_per_s
    settings.server_target_latency_ns = 1_000_000_000
    settings.min_duration_ms = round(seconds * 1000)
    settings.min_query_count = settings.max_query_count = round(rate_per_s * seconds)
    settings.schedule_rng_seed = seed + 1
    server = threading.Thread(target=serve)
    server.start()
    try:
        return _under_loadgen(loadgen, settings, issue)
    finally:
        waiting.put(None)
        server.join()


def _under_loadgen(loadgen: Any, settings: Any, issue: Callable[[Sequence[Any]], None]) -> Turn:
    """One run under LoadGen, every query's times from its trace."""
    with tempfile.TemporaryDirectory() as folder:
        logs = loadgen.LogSettings()
        logs.log_output.outdir = folder
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = True
        sut = loadgen.ConstructSUT(issue, lambda: None)
        qsl = loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
        try:
            # A stray audit.config in the current directory would change the settings on the quiet.
            loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, str(Path(folder) / "no-audit.config"))
        finally:
            loadgen.DestroyQSL(qsl)
            loadgen.DestroySUT(sut)
        # The trace is one event a line, but not always whole JSON: its threads write it side by side.
        found = re.findall(
            r'"issue_start_ns":(\d+),"complete_ns":(\d+)', (Path(folder) / "mlperf_log_trace.json").read_text()
        )
    return Turn(*np.array(found, dtype=np.int64).T)


def measure(seconds: float = 4.0, rates_per_s: Sequence[float] = RATES_PER_S) -> list[dict[str, Any]]:
    """A row for each rate and engine: lateness and latency percentiles in µs over all its turns."""
    run = make_run()
    warm_up([run], 200, 0.5)
    engines: dict[str, Callable[..., Turn]] = {"lynxbench": partial(our_turn, run)}
    try:
        import mlperf_loadgen
    except ImportError:
        pass
    else:
        engines["loadgen"] = partial(loadgen_turn, mlperf_loadgen, run)
    rows = []
    for rate in rates_per_s:
        turns: dict[str, list[Turn]] = {name: [] for name in engines}
        for seed in range(max(1, round(seconds / TURN_S))):
            for name in sorted(engines, reverse=bool(seed % 2)):
                turns[name].append(engines[name](rate, min(TURN_S, seconds), seed))
                time.sleep(0.05)
        for name, taken in turns.items():
            late = np.concatenate([turn.lateness_ns for turn in taken]) / 1e3
            latency = np.concatenate([turn.latency_ns for turn in taken]) / 1e3
            rows.append(
                {"rate_per_s": rate, "engine": name, "n": len(late)}
                | {f"lateness_p{q}_us": float(np.percentile(late, q)) for q in (50, 90, 99)}
                | {f"latency_p{q}_us": float(np.percentile(latency, q)) for q in (50, 99)}
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each engine at each rate")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_PER_S, help="queries a second")
    arguments = parser.parse_args()
    print(f"{'queries/s':>9}  {'engine':<10}{'n':>7}{'lateness p50 / p90 / p99, µs':>34}{'latency p50 / p99, µs':>28}")
    for row in measure(arguments.seconds, arguments.rates):
        late = " / ".join(f"{row[f'lateness_p{q}_us']:.1f}" for q in (50, 90, 99))
        latency = " / ".join(f"{row[f'latency_p{q}_us']:.0f}" for q in (50, 99))
        print(f"{row['rate_per_s']:>9,.0f}  {row['engine']:<10}{row['n']:>7,}{late:>34}{latency:>28}")


if __name__ == "__main__":
    main()
