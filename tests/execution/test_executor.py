"""The executor's life on the CPU provider: open, verify, run, bind, close."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lynxbench.errors import CellError, DeclarationError
from lynxbench.execution import Caution, Executor, TensorInfo, graph_inputs
from lynxbench.execution.binding import ALIGNMENT_BYTES, bind
from lynxbench.execution.probe import TINY_MODEL
from lynxbench.specs.executor import ExecutorSpec
from tests.execution import models

References = Callable[[Path, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.perceptron(tmp_path / "perceptron.onnx")


def test_inputs_and_outputs_as_declared(cpu: ExecutorSpec, model: Path) -> None:
    float32 = np.dtype(np.float32)
    with Executor(cpu, threads=1) as executor:
        cold = executor.open(model)
        assert executor.inputs == (TensorInfo("x", float32, (None, 16)),) == graph_inputs(model)
        assert executor.outputs == (TensorInfo("y", float32, (None, 4)),)
    assert cold.create_ns > 0
    assert cold.engine_build_ns == 0
    assert executor.inputs == ()


def test_a_bound_run_reads_the_very_memory_and_writes_where_one_looks(cpu: ExecutorSpec, model: Path) -> None:
    feed = {"x": models.sample((5, 16))}
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        bound = executor.bind(feed)
        assert np.array_equal(bound.outputs["y"], executor.run(feed)["y"])
        other = models.sample((5, 16), seed=9)
        bound.inputs["x"][...] = other
        bound()
        assert np.array_equal(bound.outputs["y"], executor.run({"x": other})["y"])
        assert feed["x"] is not bound.inputs["x"]
        assert all(
            array.ctypes.data % ALIGNMENT_BYTES == 0 for array in (*bound.inputs.values(), *bound.outputs.values())
        )


@pytest.mark.parametrize("read_back", ["host", "read-back", "stream"])
def test_every_way_of_binding_gives_the_same(cpu: ExecutorSpec, model: Path, read_back: str) -> None:
    """The ways for devices run on host memory too, so that their logic is proven where no device is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    first, second = models.sample((3, 16)), models.sample((3, 16), seed=1)
    expected = [session.run(None, {"x": x})[0] for x in (first, second)]
    bound = bind(session, {"x": first}, {"y": expected[0]}, read_back, "cpu")
    other = bind(session, {"x": second}, {"y": expected[0]}, read_back, "cpu")
    bound()
    other()
    assert np.array_equal(bound.outputs["y"], expected[0])
    assert np.array_equal(other.outputs["y"], expected[1])
    bound.inputs["x"][...] = second
    bound.call()
    assert np.array_equal(bound.outputs["y"], expected[1])


def test_verification_of_a_sound_session(cpu: ExecutorSpec, model: Path, references: References) -> None:
    feed = {"x": models.sample((5, 16))}
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        found = executor.verify(feed, references(model, feed), scheme="fp32")
    assert (found.status, found.reason, found.cautions) == ("ok", None, ())
    assert found.providers_before == found.providers_after == ("CPUExecutionProvider",)
    assert found.nodes == {"CPUExecutionProvider": {"Gemm": 1, "MatMul": 1, "Relu": 1}}
    assert found.differences == (0.0, pytest.approx(0.0, abs=1e-5))
    assert found.finite
    assert found.first_run_ns > 0
    assert found.threads == 1
    assert found.busy_threads == pytest.approx(1.0, abs=0.2)
    assert found.wheel.startswith("onnxruntime")


def test_wrong_outputs_are_rejected(cpu: ExecutorSpec, model: Path) -> None:
    feed = {"x": models.sample((5, 16))}
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        right = executor.run(feed)
        wrong = {"y": -right["y"]}
        assert executor.verify(feed, [wrong, wrong]).status == "rejected"
        assert executor.verify(feed, [wrong, right]).status == "ok"
        broken = executor.verify(feed, [{"y": right["y"][:1]}])
    assert broken.status == "rejected"
    assert broken.differences == (None,)
    assert "cannot be compared" in str(broken.reason)


def test_int8_kernels_differ_with_the_optimization_level(
    tmp_path: Path, cpu: ExecutorSpec, references: References
) -> None:
    """Why there are two references: by the fused kernel alone, an exact provider would look wrong."""
    model = models.quantized(tmp_path / "quantized.onnx")
    feed = {"x": models.sample((8, 64))}
    with Executor(cpu, threads=1, optimization="disabled") as executor:
        executor.open(model)
        found = executor.verify(feed, references(model, feed), scheme="int8-static")
    fused, plain = found.differences
    assert plain == 0
    assert fused is not None
    assert fused < 0.06  # one step of the output's scale
    assert found.status == "ok"


def test_kernels_after_fusion(tmp_path: Path, cpu: ExecutorSpec) -> None:
    model = models.quantized(tmp_path / "quantized.onnx")
    with Executor(cpu, threads=1, profile_dir=tmp_path) as executor:
        executor.open(model)
        executor.run({"x": models.sample((8, 64))})
        kernels = executor.kernels()["CPUExecutionProvider"]
    assert "QLinearMatMul" in kernels
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        with pytest.raises(CellError, match="profile_dir"):
            executor.kernels()


def test_a_failing_run_is_no_session_on_another_provider(
    tmp_path: Path, cpu: ExecutorSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models.lookup(tmp_path / "lookup.onnx")
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        assert executor._session._enable_fallback is False  # ONNX Runtime's default would rebuild the session
        with pytest.raises(CellError, match="failed in its run") as caught:
            executor.run({"x": np.array([0, 99])})
        assert caught.value.status == "failed"
        assert executor.run({"x": np.array([2])})["y"].tolist() == [[0, 0, 1, 0]]
    assert "Falling back" not in capsys.readouterr().out


def test_feeds_are_checked(cpu: ExecutorSpec, model: Path) -> None:
    with Executor(cpu, threads=1) as executor:
        executor.open(model)
        for feed, message in [
            ({}, "the feed has"),
            ({"x": np.zeros((2, 16))}, "float64"),
            ({"x": np.zeros((2, 15), dtype=np.float32)}, r"shape \['\?', 16\], the feed has \[2, 15\]"),
            ({"x": np.zeros(16, dtype=np.float32)}, "shape"),
        ]:
            with pytest.raises(CellError, match=message):
                executor.run(feed)


def test_what_cannot_be_opened(tmp_path: Path, cpu: ExecutorSpec) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(TINY_MODEL[:40])
    with pytest.raises(CellError, match=r"cannot open torn\.onnx") as caught, Executor(cpu, threads=1) as executor:
        executor.open(torn)
    assert caught.value.status == "failed"
    with pytest.raises(CellError, match="not open"):
        Executor(cpu, threads=1).run({})


def test_an_unknown_option_is_refused_before_any_work(cpu: ExecutorSpec) -> None:
    with pytest.raises(DeclarationError, match="takes no options"):
        Executor(cpu, threads=1, options={"bogus": 1})


def test_a_process_without_the_variables_is_refused(cpu: ExecutorSpec, model: Path) -> None:
    spec = cpu.model_copy(update={"variables": {"LYNXBENCH_TEST_UNSET": "1"}})
    with pytest.raises(CellError, match="LYNXBENCH_TEST_UNSET") as caught:
        Executor(spec, threads=1).open(model)
    assert caught.value.status == "unavailable"


def test_threads_are_those_asked_for(tmp_path: Path, cpu: ExecutorSpec) -> None:
    model = models.wide(tmp_path / "wide.onnx")
    feed = {"x": models.sample((64, 1024))}
    shares = {}
    for threads in (1, 2):
        with Executor(cpu, threads=threads) as executor:
            executor.open(model)
            # Beside other work a second thread hardly gets a turn; that it worked at all shows in the best of a few.
            tries = [executor.verify(feed) for _ in range(3)]
            shares[threads] = max(found.busy_threads or 0.0 for found in tries)
            assert {found.threads for found in tries} == {threads}
            assert all(Caution.THREADS_NOT_HONOURED not in found.cautions for found in tries)
    assert shares[1] == pytest.approx(1.0, abs=0.2)
    assert shares[2] > max(1.0002, shares[1])


def test_idle_threads_sleep_when_told_to(tmp_path: Path, cpu: ExecutorSpec) -> None:
    """Spinning threads of a waiting candidate would steal the processor from the one that is measured."""
    model = models.wide(tmp_path / "wide.onnx")
    feed = {"x": models.sample((64, 1024))}

    def idle_cpu_ms(*, spinning: bool) -> float:
        with Executor(cpu, threads=2, spinning=spinning) as executor:
            executor.open(model)
            executor.run(feed)
            spent = []
            for _ in range(5):
                executor.run(feed)
                start_ns = time.process_time_ns()
                time.sleep(0.03)
                spent.append((time.process_time_ns() - start_ns) / 1e6)
        return float(np.median(spent))

    assert 2 * idle_cpu_ms(spinning=False) < idle_cpu_ms(spinning=True)


def test_the_tiny_model_is_what_it_says(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    tiny = onnx.load_from_string(TINY_MODEL)
    onnx.checker.check_model(tiny, full_check=True)
    assert [node.op_type for node in tiny.graph.node] == ["MatMul"]
    assert numpy_helper.to_array(tiny.graph.initializer[0]).tolist() == [[1.0] * 4] * 4
    assert (tiny.ir_version, tiny.opset_import[0].version) == (7, 13)
