"""Running groups on this machine: what a local sweep does with all of them, and a fleet's node with the one it got."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lynxbench.execution import host_facts
from lynxbench.records.store import CellStore
from lynxbench.sweep.artifacts import Artifact, build_artifacts
from lynxbench.sweep.group import measure_group
from lynxbench.sweep.keeping import Keeper
from lynxbench.sweep.parts import parts_of
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Group
from lynxbench.sweep.progress import BUILD_S, Meter
from lynxbench.sweep.rows import Context, skipped_record
from lynxbench.sweep.setting import Setting


class GroupRunner:
    """Groups into a store, from the samples on disk to the last record.

    `sweep` is the name that records carry, `node` that of this machine in a fleet. `finished` are cells that need no
    row any more; their groups measure them along where the rounds need them.
    """

    def __init__(
        self,
        setting: Setting,
        store: CellStore,
        *,
        sweep: str,
        finished: set[str],
        meter: Meter,
        phases: Phases,
        node: str | None = None,
        first_part: int = 0,
    ) -> None:
        self.rebuilt: tuple[str, ...] = ()
        self._setting = setting
        self._store = store
        self._sweep = sweep
        self._finished = finished
        self._meter = meter
        self._phases = phases
        self._node = node
        self._first_part = first_part
        self._host = host_facts()

    def write_skips(self, groups: Sequence[Group]) -> None:
        """A row for every cell that cannot run here."""
        for group in groups:
            context = self._context(group)
            for cell in group.cells:
                if cell.cell_id in group.skipped and cell.cell_id not in self._finished:
                    self._store.write_cell(skipped_record(context, cell, group.skipped[cell.cell_id]))

    def run(self, groups: Sequence[Group]) -> None:
        """Samples to files, all model files, then group by group; `rebuilt` says what was wrong with cached files."""
        if not groups:
            return
        shutil.rmtree(self._setting.work, ignore_errors=True)
        self._setting.work.mkdir(parents=True)
        with self._phases.phase("prepare"):
            self._setting.write_samples()
        with self._phases.phase("build"):
            artifacts = build_artifacts(
                groups,
                self._setting,
                lambda model, label: self._meter.advance("build", f"{model} {label}", BUILD_S),
            )
        built = [artifact for artifact in artifacts.values() if isinstance(artifact, Artifact)]
        self.rebuilt = tuple(sorted({damage for artifact in built for damage in artifact.damage}))
        for group in groups:
            samples_bytes = self._setting.material.test_sets[group.workload.name].samples.nbytes
            parts = parts_of(group, artifacts, samples_bytes, self._setting.group_limit_bytes)
            finished = set(self._finished)
            for number, part in enumerate(parts, self._first_part):
                keeper = Keeper(
                    self._context(part, number), self._store, finished, meter=self._meter, phases=self._phases
                )
                measure_group(part, self._setting, artifacts, keeper)
                # Later parts time the reference anew to compare with; its row is that of the first.
                finished |= {cell.cell_id for cell in part.running if cell.is_reference}

    def _context(self, group: Group, part: int = 0) -> Context:
        return Context(
            resolved=self._setting.resolved,
            material=self._setting.material,
            group=group,
            sweep=self._sweep,
            host=self._host,
            started_at=datetime.now(UTC),
            part=part,
            node=self._node,
        )


def unfinished(groups: Sequence[Group], finished: set[str]) -> list[Group]:
    """What of `groups` still lacks cells: each reduced to those scenarios, its reference in it, finished or not."""
    return [left for group in groups if (left := _unfinished(group, finished)) is not None]


def _unfinished(group: Group, finished: set[str]) -> Group | None:
    missing = [cell for cell in group.running if cell.cell_id not in finished]
    if not missing:
        return None
    scenarios = {cell.scenario for cell in missing}
    kept = [
        cell
        for cell in group.cells
        if cell in missing or cell.cell_id in group.skipped or (cell.is_reference and cell.scenario in scenarios)
    ]
    return replace(group, cells=tuple(kept))
