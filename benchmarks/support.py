"""Every scheme on every model of the suites starter and standard: does it run, and if not, why?

`--write` makes docs/support.md. Each cell is a real sweep's record: built, opened, run, scored and timed on the CPU
provider. Status and verdict are kept, times are not: they are another page's. `standard` has to be fetched before.
With `--keep FOLDER` the sweeps' results stay, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "support.md"
SUITES = ("starter", "standard")
# A scheme of it takes minutes to build and to ask; its task is that of the starter's transformer.
LEFT_OUT = ("smollm2-135m",)

# Every kind, and every value of an option that decides whether a scheme can be had.
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"kind": "fp32"},
    "fp16": {"kind": "fp16"},
    "bf16": {"kind": "bf16"},
    "fp8": {"kind": "fp8"},
    "int8-dynamic": {"kind": "int8-dynamic"},
    "int8-dynamic u8": {"kind": "int8-dynamic", "weight_type": "uint8"},
    "int8-static (u8s8, per channel)": {"kind": "int8-static"},
    "per tensor": {"kind": "int8-static", "per_channel": False},
    "s8s8": {"kind": "int8-static", "activation_type": "int8"},
    "u8u8": {"kind": "int8-static", "weight_type": "uint8"},
    "s8u8": {"kind": "int8-static", "activation_type": "int8", "weight_type": "uint8"},
    "u16s8": {"kind": "int8-static", "activation_type": "uint16"},
    "u8s4": {"kind": "int8-static", "weight_type": "int4"},
    "QOperator": {"kind": "int8-static", "format": "qoperator"},
    "symmetric activations": {"kind": "int8-static", "symmetric_activations": True},
    "reduced range": {"kind": "int8-static", "reduce_range": True},
    "moving average": {"kind": "int8-static", "method": "moving-average"},
    "percentile": {"kind": "int8-static", "method": "percentile"},
    "entropy": {"kind": "int8-static", "method": "entropy"},
    "distribution": {"kind": "int8-static", "method": "distribution"},
    "SmoothQuant": {"kind": "int8-static", "smooth_alpha": 0.5},
    "MatMul and Gemm only": {"kind": "int8-static", "op_types": ["MatMul", "Gemm"]},
    "weights-only, 4 bits rtn": {"kind": "weights-only"},
    "weights-only, 8 bits rtn": {"kind": "weights-only", "bits": 8},
    "weights-only, 4 bits hqq": {"kind": "weights-only", "algorithm": "hqq"},
    "weights-only, 4 bits gptq": {"kind": "weights-only", "algorithm": "gptq"},
}
LONGEST_REASON = 240
PROTOCOL = {
    "block_s": 0.005,
    "minimum_rounds": 2,
    "time_limit_s": 0.01,
    "warm_up_s": 0.01,
    "warm_up_runs": 2,
    "test_set": "quick",
}


def name_of(scheme: str) -> str:
    """A scheme's title as a name."""
    return "".join(c if c.isalnum() else "-" for c in scheme).strip("-").replace("--", "-").replace("--", "-")


def suite(models: Sequence[str] | None = None, built_in: str = "starter") -> dict[str, Any]:
    """A built-in suite with all schemes, one sample at a time; without `models`, all but those of `LEFT_OUT`."""
    data = tomllib.loads((ROOT / "lynxbench" / "suites" / f"{built_in}.toml").read_text())
    data["name"] = f"support-{built_in}"
    data["schemes"] = [{"name": name_of(title), **options} for title, options in SCHEMES.items()]
    data["scenarios"] = [{"name": "single-stream", "kind": "single-stream"}]
    data["protocol"] = PROTOCOL
    data.pop("budgets", None)
    for workload in data["workloads"]:
        workload.pop("schemes", None)
        workload.pop("scenarios", None)
        wanted = models or [model for model in workload["models"] if model not in LEFT_OUT]
        workload["models"] = [model for model in workload["models"] if model in wanted]
    data["workloads"] = [workload for workload in data["workloads"] if workload["models"]]
    return data


def toml(data: Mapping[str, Any]) -> str:
    """`data` as TOML: plain keys first, then tables."""

    def value(item: Any) -> str:
        if isinstance(item, Mapping):
            return "{ " + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in item.items()) + " }"
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        return json.dumps(item, ensure_ascii=False)

    lines = [f"{key} = {value(item)}" for key, item in data.items()]
    return "\n".join(lines) + "\n"


def measured(folder: Path, models: Sequence[str] | None = None, built_in: str = "starter") -> list[dict[str, Any]]:
    """The records of the sweep, by `lynxbench sweep` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{built_in}.toml").write_text(toml(suite(models, built_in)))
    command = [sys.executable, "-m", "lynxbench", "sweep", f"{built_in}.toml", "--json", "--out", built_in]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(folder / built_in / "records.parquet").to_pylist()
    return sorted(rows, key=lambda row: int(row["position"]))


def cell(record: Mapping[str, Any]) -> str:
    """What a record says about its scheme in a word."""
    return str(record["verdict"]) if record["status"] == "ok" else f"*{record['status']}*"


def page(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """docs/support.md, of each suite's records."""
    import onnxruntime

    lines = [
        "# Which scheme runs on what",
        "",
        f"Every scheme on every model of {' and '.join(f'`{name}`' for name in records)}, "
        f"on the CPU provider of ONNX Runtime {onnxruntime.__version__}:",
        "each cell is a record of a real sweep on the quick test set. `robust`, `fragile` and `inconclusive` are its",
        "verdicts; *unsupported* and *failed* have a reason, which stands below and in the record. Made by",
        "`python benchmarks/support.py --write`; how fast each scheme is: `lynxbench list schemes`.",
        f"Not here: {', '.join(LEFT_OUT)}, of which [standard.md](standard.md) shows the schemes that people use.",
    ]
    for name, rows in records.items():
        lines += ["", f"## `{name}`", "", *table(rows), "", *reasons(rows)]
    return "\n".join(lines) + "\n"


def table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Schemes down, models across."""
    models = list(dict.fromkeys((record["task"], record["model"]) for record in records))
    by = {(record["scheme"], record["model"]): record for record in records}
    lines = ["| scheme | " + " | ".join(f"{task}: {model}" for task, model in models) + " |"]
    lines.append("| --- |" + " --- |" * len(models))
    for title in SCHEMES:
        cells = [cell(by[name_of(title), model]) for _, model in models]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def reasons(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why what does not run does not; each reason once, with the models that it is for."""
    titles = {name_of(title): title for title in SCHEMES}
    models = {record["model"] for record in records}
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        if record["status"] != "ok":
            plain = " ".join(str(record["reason"]).split())
            where = found.setdefault(plain, {}).setdefault(titles[record["scheme"]], [])
            where.append(str(record["model"]))
    lines = []
    for reason, schemes in found.items():
        places = {tuple(where) for where in schemes.values()}
        which = ", ".join(f"**{title}**" for title in schemes)
        where = sorted({model for place in places for model in place})
        on = "all" if len(where) == len(models) else ", ".join(where)
        shown = reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + " …"
        lines.append(f"- {which} ({on}): {shown}")
    return lines


def main() -> None:
    """Measure, print, and write the page with `--write`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/support.md")
    parser.add_argument("--keep", type=Path, help="where the sweeps' results stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        text = page({name: measured(folder, built_in=name) for name in SUITES})
    print(text)
    if options.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
