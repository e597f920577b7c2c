"""Where every node of a model ran, and whether that is still the executor that was asked for."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lynxbench.specs.executor import ExecutorSpec

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Judgement:
    """What the placement means: a record status, with a reason unless it is ok."""

    status: Literal["ok", "partial", "rejected"]
    reason: str | None
    cpu_node_share_ratio: float


def nodes_by_provider(session: Any) -> dict[str, dict[str, int]]:
    """Provider → op type → number of nodes, as ONNX Runtime assigned them before fusion.

    The session must have been created with `session.record_ep_graph_assignment_info`; what `get_providers()` lists
    proves nothing, for a provider with no node at all is listed too.
    """
    found: dict[str, Counter[str]] = {}
    for group in session.get_provider_graph_assignment_info():
        counts = found.setdefault(group.ep_name, Counter())
        counts.update(node.op_type for node in group.get_nodes())
    return {provider: dict(sorted(counts.items())) for provider, counts in sorted(found.items())}


def kernels_in_profile(path: Path) -> dict[str, dict[str, int]]:
    """Provider → op type → kernels run, from a profile that ONNX Runtime wrote: what was left after fusion."""
    found: dict[str, Counter[str]] = {}
    for event in json.loads(path.read_text(encoding="utf-8")):
        facts = event.get("args", {})
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time") and "op_name" in facts:
            found.setdefault(facts.get("provider", ""), Counter())[facts["op_name"]] += 1
    return {provider: dict(sorted(counts.items())) for provider, counts in sorted(found.items())}


@dataclass(frozen=True)
class KernelTime:
    """The kernels of one op type in one run: how many there are, their time in all, and what types they read.

    ns adds up each kernel's median over all runs, so that neither warm-up nor a busy moment counts. ONNX Runtime writes
    whole microseconds: a kernel of well under one counts as 0.
    """

    op_type: str
    kernels: int
    ns: float
    reads: tuple[str, ...]


def kernel_times_in_profile(path: Path) -> tuple[KernelTime, ...]:
    """The kernels of a profile that ONNX Runtime wrote, by op type; `reads` joins the types of all inputs, as met."""
    spans: dict[str, dict[str, list[int]]] = {}
    reads: dict[str, dict[str, None]] = {}
    for event in json.loads(path.read_text(encoding="utf-8")):
        facts = event.get("args", {})
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time") and "op_name" in facts:
            spans.setdefault(facts["op_name"], {}).setdefault(event["name"], []).append(int(event["dur"]))
            read = [kind for tensor in facts.get("input_type_shape", []) for kind in tensor]
            reads.setdefault(facts["op_name"], {})[" ".join(read)] = None
    return tuple(
        KernelTime(name, len(nodes), 1000.0 * sum(statistics.median(of) for of in nodes.values()), tuple(reads[name]))
        for name, nodes in spans.items()
    )


def judge(spec: ExecutorSpec, nodes: Mapping[str, Mapping[str, int]]) -> Judgement:
    """ok, partial (more on the CPU than `spec.placement` tolerates) or rejected (nothing on the provider)."""
    total = sum(sum(ops.values()) for ops in nodes.values())
    own = sum(nodes.get(spec.provider, {}).values())
    if spec.provider == CPU:
        strange = sorted(set(nodes) - {spec.provider})
        if strange:
            return Judgement("rejected", f"nodes ran on {', '.join(strange)}, not on {spec.provider} alone", 0.0)
        return Judgement("ok", None, 0.0)
    elsewhere = {provider: ops for provider, ops in nodes.items() if provider != spec.provider}
    share = (total - own) / total if total else 1.0
    if own == 0:
        where = ", ".join(f"{sum(ops.values())} on {provider}" for provider, ops in elsewhere.items())
        return Judgement("rejected", f"{spec.provider} took none of the {total} nodes ({where})", share)
    left = Counter[str]()
    for ops in elsewhere.values():
        left.update(ops)
    tolerated = spec.placement.cpu_op_types
    intolerable = [op for op in left if tolerated and op not in tolerated]
    if share > spec.placement.cpu_share or intolerable:
        listing = ", ".join(f"{op} ×{count}" for op, count in sorted(left.items()))
        where = ", ".join(elsewhere)
        return Judgement("partial", f"{total - own} of {total} nodes ran on {where}: {listing}", share)
    return Judgement("ok", None, share)
