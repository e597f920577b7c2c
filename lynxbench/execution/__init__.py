"""From an executor's declaration to a verified ONNX Runtime session. Knows nothing of tasks, scores or rounds.

`preflight` and `doctor` say what this machine can run, and exactly why not. `Executor` opens a model with fallback
off, proves where every node runs, and binds what is timed. `create`, `interpreter` and the like keep one environment
for each executor whose wheel cannot share one. ONNX Runtime is imported by `Executor` alone, in the process that owns
it.

Imports `specs` and `errors` only.
"""

from __future__ import annotations

from lynxbench.execution.binding import BoundRun
from lynxbench.execution.doctor import doctor
from lynxbench.execution.environments import (
    Command,
    Environment,
    create,
    interpreter,
    list_environments,
    remove,
    worker_command,
)
from lynxbench.execution.executor import ColdStart, Executor, out_of_memory
from lynxbench.execution.host import HostFacts, host_facts, products_saturate, usable_cores, usable_threads
from lynxbench.execution.preflight import Availability, Reason, preflight
from lynxbench.execution.sensors import Sensors, read_sensors
from lynxbench.execution.tensors import TensorInfo, graph_inputs, graph_outputs
from lynxbench.execution.verification import Caution, Verification

__all__ = [
    "Availability",
    "BoundRun",
    "Caution",
    "ColdStart",
    "Command",
    "Environment",
    "Executor",
    "HostFacts",
    "Reason",
    "Sensors",
    "TensorInfo",
    "Verification",
    "create",
    "doctor",
    "graph_inputs",
    "graph_outputs",
    "host_facts",
    "interpreter",
    "list_environments",
    "out_of_memory",
    "preflight",
    "products_saturate",
    "read_sensors",
    "remove",
    "usable_cores",
    "usable_threads",
    "worker_command",
]
