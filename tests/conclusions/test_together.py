"""One choice for a model over several workloads: held on all, beaten on none, the same file throughout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lynxbench.conclusions.deciding import decisions
from lynxbench.conclusions.evidence import Evidence
from lynxbench.conclusions.limits import Limits
from lynxbench.conclusions.material import Material
from lynxbench.conclusions.together import JointDecision, together
from lynxbench.errors import UsageError
from lynxbench.records.declarations import declarations
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore, table_schema
from tests.conclusions.build import scored, stored
from tests.conclusions.folders import suite
from tests.running import lynxbench as run
from tests.scoring.build import classified, metric, rubric

QUESTION = rubric(metric("top-1"), tolerance={"kind": "absolute", "value": 0.05})
N = 1000
SCHEMES = ("fp32", "fp16", "int8-dynamic")


def speeds(value: float, wide: float = 0.01) -> dict[str, float]:
    ends = {"": value, "_low": value * (1 - wide), "_high": value * (1 + wide)}
    return {f"{name}{end}": at for name in ("throughput_ratio", "p50_ratio") for end, at in ends.items()}


def material(**workloads: dict[str, dict[str, Any]]) -> Material:
    """Workload → scheme → what is special there: `lost` answers of a thousand, and changes to the row."""
    views = {"view": np.where(np.arange(N) % 2, "clean", "blur")}
    right = np.arange(N) % 10 > 0
    records, answers = [], {}
    for number, (workload, asked) in enumerate(workloads.items()):
        told = {scheme: dict(asked.get(scheme, {})) for scheme in SCHEMES}
        lost = {scheme: special.pop("lost", 0) for scheme, special in told.items()}
        mine = {scheme: classified(right & (np.arange(N) >= n * 10 / 9), strata=views) for scheme, n in lost.items()}
        answers |= {f"{workload}-{scheme}": given for scheme, given in mine.items()}
        for record in scored(QUESTION, mine):
            scheme = record["scheme"]
            own = speeds(1.0, 0) if record["is_reference"] else speeds(2.0)
            changes = {
                "workload": workload, "group_id": workload,
                "cell_id": f"{workload}-{scheme}", "predictions_id": f"answers-{workload}-{scheme}",
                "position": record["position"] + 10 * number, "artifact_sha256": f"{SCHEMES.index(scheme)}" * 64,
                "scheme_kind": scheme, **own, **told[scheme],
            }  # fmt: skip
            records.append(Record({**record.values, **changes}))
    made = Material(Path("nowhere"), tuple(records))
    latencies = pa.Table.from_pylist([], schema=table_schema("latencies"))
    made.__dict__.update(rubrics={QUESTION.digest(): QUESTION}, answers=stored(answers), latencies=latencies)
    return made


def decided(made: Material, **options: Any) -> JointDecision:
    limits = Limits(max_loss=options.pop("max_loss", 0.05))
    (found,) = together(decisions(made, limits, **options), Evidence(made, 0.95))
    return found


def places(found: JointDecision) -> dict[str, str]:
    return {one.name.partition(" ")[0]: one.place for one in found.considered}


def test_the_best_on_one_workload_is_out_where_it_fails_on_another() -> None:
    made = material(
        near={"int8-dynamic": speeds(4.0), "fp16": speeds(1.5)},
        far={"int8-dynamic": {**speeds(4.0), "lost": 120}, "fp16": speeds(1.5)},
    )
    assert [one.best.name for one in decisions(made, Limits(max_loss=0.05)) if one.best] == [
        "int8-dynamic on net",
        "fp16 on net",
    ]
    found = decided(made)
    assert places(found) == {"fp16": "best", "fp32": "behind", "int8-dynamic": "excluded"}
    assert found.workloads == ("near", "far")
    out = next(one for one in found.considered if one.place == "excluded")
    assert out.why == "on far: certainly beyond max-loss"
    assert set(out.on) == {"near", "far"}


def test_what_is_open_on_one_workload_is_open_on_all() -> None:
    found = decided(material(near={}, far={"fp16": {"lost": 50}}))
    assert places(found)["fp16"] == "undecided"
    assert next(one for one in found.considered if one.place == "undecided").why.startswith("on far: max-loss: ")


def test_better_here_and_worse_there_is_a_tie_whoever_is_worth_more() -> None:
    found = decided(
        material(
            near={"fp16": speeds(3.0), "int8-dynamic": speeds(2.0)},
            far={"fp16": speeds(1.5), "int8-dynamic": speeds(2.0)},
        )
    )
    assert places(found) == {"fp16": "best", "int8-dynamic": "tied", "fp32": "behind"}


def test_a_wide_interval_does_not_hide_who_is_better_beyond_doubt() -> None:
    found = decided(
        material(
            near={"fp16": speeds(2.0), "int8-dynamic": speeds(2.5)},
            far={"fp16": speeds(2.0), "int8-dynamic": speeds(2.4, 0.6)},
        )
    )
    # Its near end is the lower one on the whole, yet it is faster beyond doubt on one and slower beyond doubt on none.
    assert places(found)["int8-dynamic"] == "best"
    assert places(found)["fp16"] == "behind"


def test_another_file_of_the_same_scheme_is_another_candidate() -> None:
    found = decided(material(near={}, far={"fp16": {"artifact_sha256": "f" * 64}}))
    mine = [one for one in found.considered if one.name.startswith("fp16")]
    assert [one.place for one in mine] == ["excluded", "excluded"]
    assert {one.why for one in mine} == {
        "on far: this file was not measured there",
        "on near: this file was not measured there",
    }


def test_one_workload_is_nothing_to_decide_together() -> None:
    made = material(near={})
    with pytest.raises(UsageError, match="on one workload alone"):
        together(decisions(made, Limits()), Evidence(made, 0.95))


def written(made: Material, folder: Path) -> Path:
    store = ResultStore(folder)
    with store.held():
        store.describe({"suite": "made", "declarations": declarations(suite(), [QUESTION])})
        for record in made.records:
            store.write_predictions(record["predictions_id"], made.answers[record["predictions_id"]])
            store.write_cell(record)
        store.merge()
    return folder


def test_as_a_command(tmp_path: Path) -> None:
    made = material(near={"int8-dynamic": {"lost": 120}}, far={"fp16": speeds(1.5)})
    folder = written(made, tmp_path / "results")
    asked = ("decide", folder, "--max-loss", "0.05", "--together")
    ran = run(*asked, home=tmp_path)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    assert "net on near, far: best in latency on all" in said
    assert "Deploy fp16 on net." in said
    assert "on near: max-loss 5 points: 0 points" in said or "on near: max-loss 5 points: [" in said
    assert "Out: int8-dynamic on net, on near: certainly beyond max-loss." in said
    (document,) = run(*asked, "--json", home=tmp_path).json()
    assert document["choice"] == "fp16 on net"
    assert document["workloads"] == ["near", "far"]
    assert {one["candidate"]: one["place"] for one in document["candidates"]}["fp32 on net"] == "behind"
    csv = run(*asked, "--csv", home=tmp_path).out.splitlines()
    assert csv[0].startswith("model,host_id,objective,candidate,place,why,cell_id_near,loss_near")
    assert len(csv) == 4
    assert "| candidate |" in run(*asked, "--markdown", home=tmp_path).out
    nothing = run("decide", folder, "--max-loss", "0.05", "--min-speed", "9", "--together", home=tmp_path)
    assert nothing.code == 1
    assert "Nothing holds every limit beyond doubt on all workloads of net." in " ".join(nothing.out.split())
