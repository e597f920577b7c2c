"""One executor for every provider: open, verify, run, close. Nothing falls back to the CPU unnoticed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from lynxbench.errors import CellError, FailureStatus
from lynxbench.execution.binding import GRAPH_ID, NO_GRAPH, BoundRun, bind
from lynxbench.execution.devices import device_text, register
from lynxbench.execution.host import usable_threads
from lynxbench.execution.libraries import missing_libraries, preload_toolkit
from lynxbench.execution.options import SessionPlan, Shapes, engine_key, model_digest, plan_session
from lynxbench.execution.placement import (
    CPU,
    KernelTime,
    judge,
    kernel_times_in_profile,
    kernels_in_profile,
    nodes_by_provider,
)
from lynxbench.execution.sensors import Sensors, read_sensors
from lynxbench.execution.stepping import Stepper
from lynxbench.execution.tensors import Array, TensorInfo, check_feed, tensor_infos
from lynxbench.execution.threads import Burst, burst
from lynxbench.execution.verification import (
    SPARE_THREADS,
    Caution,
    Verification,
    compare,
    is_finite,
    other_precision,
    wrong_outputs,
)
from lynxbench.execution.wheels import accepted_wheel, owners
from lynxbench.specs.executor import ExecutorSpec, OptionValue, check_options
from lynxbench.specs.scheme import SchemeKind

# A run that takes longer (a simulator, mostly) is not repeated to see how many threads work.
SLOW_RUN_NS = 600_000_000
_MEMORY = re.compile(r"bad_alloc|failed to allocate|out of memory|MEM_ALLOC", re.IGNORECASE)
_NVIDIA_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


@dataclass(frozen=True)
class ColdStart:
    """What happens once, each part timed apart. engine_build_ns is 0 unless an engine had to be compiled."""

    import_ns: int
    register_ns: int
    create_ns: int
    engine_build_ns: int = 0


class Executor:
    """A model on an execution provider. A context manager; `close` releases the session.

    threads None: all usable cores. options: provider options on top of the declaration's. scheme: the kind of the
    model's scheme, which brings the declaration's `scheme_options` and the precision to expect. optimization "disabled"
    turns graph optimizations off (the second numerical reference). spinning False: idle threads sleep at once, so that
    a waiting candidate does not disturb the one that is measured. profile_dir: where to write a profile for `kernels`
    (never while timing). cache_dir: where compiled engines are kept.
    Raises `DeclarationError` for an option that the declaration does not allow.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        *,
        threads: int | None,
        options: Mapping[str, OptionValue] | None = None,
        scheme: SchemeKind | None = None,
        optimization: Literal["all", "disabled"] = "all",
        spinning: bool = True,
        profile_dir: Path | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        check_options(spec, options or {}, f"executor {spec.name}")
        self.spec = spec
        self.threads = usable_threads() if threads is None else threads
        self._scheme = scheme
        self._options = {**(spec.scheme_options.get(scheme, {}) if scheme else {}), **(options or {})}
        self._optimization = optimization
        self._spinning = spinning
        self._profile_dir = profile_dir
        self._cache_dir = cache_dir
        self._session: Any = None
        self._plan: SessionPlan | None = None
        self._device: str | None = None
        self._plain_run: Any = None
        self.inputs: tuple[TensorInfo, ...] = ()
        self.outputs: tuple[TensorInfo, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, model_path: Path, *, shapes: Sequence[Shapes] = ()) -> ColdStart:
        """Create the session with fallback off; `shapes` are the input shapes that will be run, where known.

        Raises `CellError`: unavailable (wheel, library or device), unsupported, failed, oom.
        """
        missing = {name for name, value in self.spec.variables.items() if os.environ.get(name) != value}
        if missing:
            raise CellError("unavailable", f"the process must start with {', '.join(sorted(missing))} set")
        start_ns = time.perf_counter_ns()
        try:
            import onnxruntime
        except ImportError as error:
            raise CellError("unavailable", f"ONNX Runtime cannot be imported: {error}") from None
        imported_ns = time.perf_counter_ns()
        preload_toolkit(self.spec, onnxruntime)
        devices = register(self.spec, onnxruntime)
        registered_ns = time.perf_counter_ns()
        self._device = device_text(self.spec, devices, self._device_id())
        cache = self._engine_folder(onnxruntime, model_path, shapes)
        cold_cache = cache is not None and not (cache.is_dir() and any(cache.iterdir()))
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        self._plan = plan_session(self.spec, self._options, threads=self.threads, engine_cache=cache, shapes=shapes)
        create_ns = self._create(onnxruntime, model_path, devices)
        build_ns = 0
        if cold_cache:
            # The first session compiled the engine; the second shows what every later start costs.
            build_ns = create_ns
            self._session = None
            create_ns = self._create(onnxruntime, model_path, devices)
        if self.spec.read_back == "stream":
            # A plain run's buffers move, so a captured graph must not see them.
            self._plain_run = onnxruntime.RunOptions()
            self._plain_run.add_run_config_entry(GRAPH_ID, NO_GRAPH)
        self.inputs = tensor_infos(self._session.get_inputs())
        self.outputs = tensor_infos(self._session.get_outputs())
        return ColdStart(imported_ns - start_ns, registered_ns - imported_ns, create_ns, build_ns)

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One plain run: name → array, on the host. Raises `CellError` (failed, oom)."""
        session = self._opened()
        check_feed(feed, self.inputs)
        names = [info.name for info in self.outputs]
        try:
            return dict(zip(names, session.run(names, dict(feed), self._plain_run), strict=True))
        except Exception as error:
            raise _cell_error(error, f"{self.spec.provider} failed in its run") from None

    def bind(self, feed: Mapping[str, Array]) -> BoundRun:
        """Inputs and outputs bound once, for timing; output shapes are those of one plain run with `feed`."""
        outputs = self.run(feed)
        try:
            bound = bind(self._opened(), feed, outputs, self.spec.read_back, self.spec.memory)
            bound()
        except Exception as error:
            raise _cell_error(error, f"{self.spec.provider} failed with bound memory") from None
        return bound

    def stepper(self, carried: Mapping[str, str]) -> Stepper:
        """Runs whose `carried` outputs (output → input) go into the next without leaving the device."""
        return Stepper(self._opened(), carried, self.spec.memory if self.spec.read_back == "stream" else "cpu")

    def verify(
        self,
        feed: Mapping[str, Array],
        references: Sequence[Mapping[str, Array]] = (),
        *,
        scheme: SchemeKind | None = None,
    ) -> Verification:
        """Run once and find out what ran where. `references`: outputs for the same `feed` by other executors.

        scheme is the kind of the model's scheme, if `__init__` was not told; with fp32, another precision on the quiet
        is noticed.
        Raises `CellError` when the run itself fails.
        """
        import onnxruntime

        session = self._opened()
        scheme = scheme or self._scheme
        assert self._plan is not None
        before = tuple(session.get_providers())
        start_ns = time.perf_counter_ns()
        outputs = self.run(feed)
        first_run_ns = time.perf_counter_ns() - start_ns
        worked = self._burst(feed, first_run_ns)
        after = tuple(session.get_providers())
        nodes = nodes_by_provider(session)
        placement = judge(self.spec, nodes)
        differences = [compare(outputs, reference) for reference in references]
        status: Literal["ok", "partial", "rejected"] = placement.status
        reason = placement.reason
        wrong = wrong_outputs(differences, scheme)
        if before != after:
            status, reason = "rejected", f"the providers changed during the run: {before} became {after}"
        elif wrong is not None and status != "rejected":
            status, reason = "rejected", wrong
        reported = {k: str(v) for k, v in session.get_provider_options().get(self.spec.provider, {}).items()}
        wheels = dict.fromkeys(map(str, (*owners(), *filter(None, [accepted_wheel(self.spec.wheel)]))))
        return Verification(
            status=status,
            reason=reason,
            providers_before=before,
            providers_after=after,
            nodes=nodes,
            cpu_node_share_ratio=placement.cpu_node_share_ratio,
            options={**self._plan.provider_options, **reported},
            threads=self.threads,
            cpu_wall_ratio=worked.cpu_wall_ratio if worked else None,
            busy_threads=worked.busy_threads if worked else None,
            differences=tuple(difference.absolute for difference in differences),
            finite=is_finite(outputs),
            first_run_ns=first_run_ns,
            precision=self.spec.precision.computes.get(scheme) if scheme else None,
            onnxruntime_version=onnxruntime.__version__,
            wheel=", ".join(wheels),
            device=self._device,
            cautions=self._cautions(
                placement.cpu_node_share_ratio, worked, other_precision(differences, scheme), reported
            ),
        )

    def read_sensors(self) -> Sensors:
        """What the host tells beside time; for NVIDIA's providers with the device's energy and memory."""
        on_nvidia = self.spec.provider in _NVIDIA_PROVIDERS
        return read_sensors(nvidia_device=self._device_id() if on_nvidia else None)

    def kernels(self) -> dict[str, dict[str, int]]:
        """Provider → op type → kernels run since `open`, after fusion (`QLinearConv`, …); ends the profile.

        Raises `CellError` unless the executor was made with `profile_dir`.
        """
        return kernels_in_profile(self._profile())

    def kernel_times(self) -> tuple[KernelTime, ...]:
        """The time of all kernels run since `open`, by op type after fusion; ends the profile.

        Raises `CellError` unless the executor was made with `profile_dir`.
        """
        return kernel_times_in_profile(self._profile())

    def _profile(self) -> Path:
        if self._profile_dir is None:
            raise CellError("failed", f"executor {self.spec.name} keeps no profile; give it profile_dir")
        return Path(self._opened().end_profiling())

    def close(self) -> None:
        """Release the session. Registered plugin libraries stay for the life of the process. May be called twice."""
        self._session = None
        self.inputs = self.outputs = ()

    def _device_id(self) -> int:
        return int({**self.spec.options, **self._options}.get("device_id", 0))

    def _opened(self) -> Any:
        if self._session is None:
            raise CellError("failed", f"executor {self.spec.name} is not open")
        return self._session

    def _create(self, onnxruntime: Any, model_path: Path, devices: Sequence[Any]) -> int:
        assert self._plan is not None
        plan = self._plan
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = plan.intra_op_num_threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        levels = onnxruntime.GraphOptimizationLevel
        settings.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if self._optimization == "all" else levels.ORT_DISABLE_ALL
        )
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if not self._spinning:
            settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._profile_dir is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(self._profile_dir / "profile")
        providers: list[Any] | None
        if self.spec.plugin is not None:
            # `providers=` must stay away: it would silently win over the devices.
            settings.add_provider_for_devices(list(devices), dict(plan.provider_options))
            providers = None
        else:
            providers = [(plan.provider, dict(plan.provider_options))] if plan.provider_options else [plan.provider]
        start_ns = time.perf_counter_ns()
        try:
            session = onnxruntime.InferenceSession(str(model_path), settings, providers=providers, enable_fallback=0)
        except Exception as error:
            self._explain_libraries()
            raise _cell_error(error, f"{self.spec.provider} cannot open {model_path.name}") from None
        took_ns = time.perf_counter_ns() - start_ns
        session.disable_fallback()
        if self.spec.provider not in session.get_providers():
            self._explain_libraries()
            listed = ", ".join(session.get_providers())
            raise CellError("unavailable", f"{self.spec.provider} was asked for, the session has {listed}")
        self._session = session
        return took_ns

    def _explain_libraries(self) -> None:
        """Raise `unavailable` with the library's name, when a missing library is why the provider did not load."""
        missing = missing_libraries(self.spec)
        if missing:
            raise CellError("unavailable", f"{self.spec.provider} needs {', '.join(missing)}, which cannot be loaded")

    def _engine_folder(self, onnxruntime: Any, model_path: Path, shapes: Sequence[Shapes]) -> Path | None:
        if self._cache_dir is None or not self.spec.engine_cache.folders:
            return None
        versions = {"onnxruntime": onnxruntime.__version__}
        key = engine_key(
            self.spec,
            self._options,
            model_digest=model_digest(model_path),
            device=self._device or "",
            versions=versions,
            shapes=shapes,
        )
        return self._cache_dir / "engines" / self.spec.name / key[:32]

    def _burst(self, feed: Mapping[str, Array], first_run_ns: int) -> Burst | None:
        return None if first_run_ns > SLOW_RUN_NS else burst(lambda: self.run(feed))

    def _cautions(
        self, cpu_share: float, worked: Burst | None, precision: bool, reported: Mapping[str, str]
    ) -> tuple[Caution, ...]:
        assert self._plan is not None
        given = self._plan.provider_options
        found = {
            Caution.PRECISION_DIFFERS: precision,
            Caution.THREADS_UNSUPPORTED: self.spec.threads == "unsupported",
            Caution.THREADS_NOT_HONOURED: worked is not None and _threads_used(worked) > self.threads + SPARE_THREADS,
            Caution.SOME_NODES_ON_CPU: cpu_share > 0 and self.spec.provider != CPU,
            Caution.SIMULATED: self.spec.simulated,
            Caution.OPTIONS_NOT_REPORTED: bool(set(given) - set(reported)),
        }
        return tuple(caution for caution, holds in found.items() if holds)


def _threads_used(worked: Burst) -> float:
    return worked.busy_threads if worked.busy_threads is not None else worked.cpu_wall_ratio


def out_of_memory(error: Exception) -> bool:
    """Whether memory was what lacked: ONNX Runtime says so in words alone."""
    if isinstance(error, CellError):
        return error.status == "oom"
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


def _cell_error(error: Exception, what: str) -> CellError:
    """ONNX Runtime's errors (which share no base class but Exception) as a record's status and reason."""
    if isinstance(error, CellError):
        return error
    text = " ".join(str(error).split())
    status: FailureStatus = "failed"
    if out_of_memory(error):
        status = "oom"
    elif "NOT_IMPLEMENTED" in text:
        status = "unsupported"
    return CellError(status, f"{what}: {text[:600]}")
