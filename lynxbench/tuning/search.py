"""The search: the suite's candidates on the tuning part, what mends the losers, and the pick on the untouched part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count, zip_longest
from pathlib import Path

from lynxbench.diagnosis.run import diagnose
from lynxbench.diagnosis.subject import subject
from lynxbench.errors import CellError
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.store import read_records
from lynxbench.specs.resolve import ResolvedSuite, resolve_suite
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import Model, Workload
from lynxbench.specs.tuned import Tuned
from lynxbench.sweep.progress import Progress
from lynxbench.sweep.run import prepare_sweep, run_sweep
from lynxbench.tuning.declaring import Job, Which, write_rubric, write_scheme, write_suite
from lynxbench.tuning.picking import KINDS, Measured, bases, better, calibration_of, frontier, measured, pick
from lynxbench.tuning.proposals import Change, Proposal, all_mends, changed, single_changes, usual_changes
from lynxbench.tuning.queueing import Queue
from lynxbench.tuning.resuming import Looked, Notes, notes

OnProgress = Callable[[Progress], None]

BATCH = 4  # proposals in one sweep, before the next ones are thought of
MOST_DIAGNOSED = 2
DIAGNOSED_SAMPLES = 64
MOST_FINALISTS = 4  # tuned schemes that are measured on the untouched part
REFINEMENTS = 3  # combinations that come before what is waiting
# Of its base's loss or speed, what a change must win to be tried together with others.
USEFUL_SHARE = 0.1


@dataclass(frozen=True)
class Limits:
    """How good it must be, and how long may be looked for it.

    sensitivity_s  of that time, what may go into trying parts of the model one at a time; the rest is for whole schemes
    """

    max_loss: float
    candidates: int
    time_limit_s: float
    sensitivity_s: float


@dataclass(frozen=True)
class Tuning:
    """What a search found. `tuning_*` on the part that was searched on, `final` on the untouched part.

    tried      candidates that were compared, those of the suite included (proposals that failed, too)
    why        by scheme, what it does otherwise
    picked     on the tuning part alone, before the untouched part was asked; None: nothing holds the limit
    suite      a suite of the reference and the pick, ready to use; None where the pick was there already
    stopped_by candidates, time-limit, or nothing-left
    """

    job: Job
    limits: Limits
    looked: tuple[Looked, ...]
    tried: int
    spent_s: float
    stopped_by: str
    tuning: tuple[Measured, ...]
    final: tuple[Measured, ...]
    failed: tuple[Record, ...]
    why: dict[str, str]
    picked: str | None
    suite: Path | None

    def of(self, which: Which, name: str) -> Measured | None:
        """A candidate by its name, as measured on one of the parts."""
        rows = self.tuning if which == "tuning" else self.final
        return next((one for one in rows if one.name == name), None)

    @property
    def nothing_to_mend(self) -> bool:
        """No candidate lost, and all were faster: nothing was searched."""
        return not self.looked


def tune(
    job: Job,
    limits: Limits,
    *,
    cache: Path,
    executors: Path | None = None,
    base: str | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Tuning:
    """Search on the tuning part, pick there, and measure the pick on the untouched part beside what the suite had.

    `base`: the scheme to mend; None: the losers. What a folder holds already is not measured again. Raises what a sweep
    raises, and `UsageError` for a base that is not there.
    """
    kept = notes(
        job.folder,
        {**asdict(limits), "share": job.share, "seed": job.seed, "scheme": base, "scenario": job.scenario.name},
    )
    write_rubric(job, "tuning")
    write_rubric(job, "untouched")
    return _Search(job, limits, kept, cache, executors, on_progress).run(base)


class _Search:
    def __init__(
        self, job: Job, limits: Limits, kept: Notes, cache: Path, executors: Path | None, on_progress: OnProgress
    ) -> None:
        self._job = job
        self._limits = limits
        self._kept = kept
        self._cache = cache
        self._executors = executors
        self._on_progress = on_progress
        self._originals = {scheme.name: scheme for scheme in job.originals}
        self._records: list[Record] = []
        self._by_name: dict[str, Proposal] = {}
        self._tried = 0
        self._stages = 0

    def run(self, base: str | None) -> Tuning:
        self._stage(list(self._originals.values()), None)
        first = measured(self._records)
        calibration = calibration_of(first)
        if self._kept.looked is None:
            begun = time.monotonic()
            mended = bases(first, base, self._limits.max_loss)
            self._kept.looked = [self._look(one, calibration) for one in mended[:MOST_DIAGNOSED]]
            if base is None and self._kept.looked:
                self._kept.looked += self._beside(first)
            self._kept.looked_s = time.monotonic() - begun
            self._kept.save()
        looked = tuple(self._kept.looked)
        stopped_by = self._try(looked, calibration) if looked else "nothing-left"
        rows = measured(self._records)
        chosen = pick(rows, self._limits.max_loss)
        final, suite = self._final(self._finalists(rows, chosen), chosen, calibration) if looked else ([], None)
        return Tuning(
            job=self._job,
            limits=self._limits,
            looked=looked,
            tried=self._tried,
            spent_s=self._spent_s,
            stopped_by=stopped_by,
            tuning=tuple(rows),
            final=tuple(measured(final)),
            failed=tuple(r for r in (*self._records, *final) if r["status"] not in MEASURED),
            why={name: f"{proposal.base} with {proposal.why}" for name, proposal in self._by_name.items()},
            picked=None if chosen is None else chosen.name,
            suite=suite,
        )

    def _beside(self, first: Sequence[Measured]) -> list[Looked]:
        """The suite's own best, where it holds the limit: what makes it faster is worth trying, too."""
        best = pick(first, self._limits.max_loss)
        if best is None or best.record["scheme_kind"] not in KINDS:
            return []
        scheme = self._originals[best.record["scheme"]]
        if any(one.scheme == scheme.name for one in self._kept.looked or ()):
            return []
        return [Looked(best.name, scheme.name, False, (), (), tuple(usual_changes(scheme)), (), ())]

    @property
    def _spent_s(self) -> float:
        """Of the search alone: what the suite has anyhow is no part of it."""
        return self._kept.looked_s + sum(self._kept.stage_s[1:])

    def _try(self, looked: Sequence[Looked], calibration: str | None) -> str:
        """Sweep after sweep of proposals, the first whatever the diagnosis took; returns what ended it."""
        present = frozenset(op_type for one in looked for op_type in one.op_types)
        queue = Queue([scheme.options() for scheme in self._originals.values()], self._originals, present)
        lists = []
        for one in looked:
            base = self._originals[one.scheme]
            together = [changed(base, one.together)] if len(one.together) > 1 else []
            lists.append([*together, *(changed(base, (change,)) for change in one.singles)])
        queue.add([p for p in chain.from_iterable(zip_longest(*lists)) if p is not None])
        each_s = 0.0
        for stage in count(1):
            room = self._limits.candidates - len(self._by_name)
            left_s = self._limits.time_limit_s - self._spent_s
            known = stage <= len(self._kept.sizes)
            if room <= 0:
                return "candidates"
            if not known and stage > 1 and left_s <= each_s:
                return "time-limit"
            size = self._kept.sizes[stage - 1] if known else min(BATCH, room)
            if not known and each_s > 0:
                size = min(size, int(left_s / each_s))
            batch = queue.take(size)
            if not batch:
                return "nothing-left"
            if not known:
                self._kept.sizes.append(size)
                self._kept.save()
            self._by_name |= {proposal.scheme.name: proposal for proposal in batch}
            schemes = [self._reference, *(proposal.scheme for proposal in batch)]
            needs = calibration is not None and any(scheme.needs_calibration for scheme in schemes)
            self._stage(schemes, [calibration] if needs and calibration else [])
            each_s = self._kept.stage_s[stage] / len(batch)
            queue.add(self._refined(looked), first=True)
        raise AssertionError("a count ends nowhere")

    @property
    def _reference(self) -> Scheme:
        return self._originals[self._job.rubric.reference.scheme]

    def _refined(self, looked: Sequence[Looked]) -> list[Proposal]:
        """The best so far with each further change that helped its base alone."""
        rows = {one.record["scheme"]: one for one in measured(self._records)}
        best: Measured | None = None
        for name in self._by_name:
            one = rows.get(name)
            if one is not None and better(one, best, self._limits.max_loss):
                best = one
        if best is None:
            return []
        proposal = self._by_name[best.record["scheme"]]
        base, scheme = rows.get(proposal.base), self._originals[proposal.base]
        singles = next(one.singles for one in looked if one.scheme == proposal.base)
        useful = []
        for change in singles:
            row = rows.get(self._name_of(proposal.base, change))
            if row is None or base is None or change in proposal.changes:
                continue
            if best.loss.value <= self._limits.max_loss:  # what is wanting is speed
                gain = row.speed.value / base.speed.value - 1
            else:
                gain = (base.loss.value - row.loss.value) / base.loss.value if base.loss.value > 0 else 0.0
            if gain > USEFUL_SHARE:
                useful.append((gain, change))
        useful.sort(key=lambda item: -item[0])
        made = [changed(scheme, (*proposal.changes, change)) for _, change in useful[:REFINEMENTS]]
        return [one for one in made if one is not None]

    def _name_of(self, base: str, change: Change) -> str:
        """The scheme that was tried with this change alone."""
        return next((n for n, p in self._by_name.items() if p.base == base and p.changes == (change,)), "")

    def _look(self, one: Measured, calibration: str | None) -> Looked:
        """What the diagnosis of a candidate on the tuning part proposes; where there is none, what helps often."""
        base = self._originals[one.record["scheme"]]
        resolved = self._resolved(self._job.folder / "tuning-0.toml")
        record = one.record
        candidate = f"{one.name} on {record['model']} by {record['executor']}"
        self._on_progress(Progress(0, 1000, "diagnosis", one.name, None))
        try:
            found = diagnose(
                subject(resolved, candidate, samples=DIAGNOSED_SAMPLES),
                cache=self._cache,
                time_limit_s=self._limits.sensitivity_s,
                on_progress=self._on_progress,
            )
        except CellError as error:
            return Looked(one.name, base.name, False, (), (error.reason,), tuple(usual_changes(base)), (), ())
        return Looked(
            name=one.name,
            scheme=base.name,
            diagnosed=True,
            causes=tuple(finding.cause.value for finding in found.findings),
            said=tuple(finding.said for finding in found.findings),
            singles=tuple(single_changes(base, found, calibrated=calibration is not None)),
            op_types=tuple(sorted({tensor.producer for tensor in found.tensors})),
            together=all_mends(base, found, calibrated=calibration is not None),
        )

    def _stage(self, schemes: Sequence[Scheme], calibrations: Sequence[str] | None) -> None:
        """One sweep on the tuning part; what the folder holds already is read."""
        begun, number = time.monotonic(), self._stages
        self._stages += 1
        records = self._sweep(f"tuning-{number}", "tuning", schemes, calibrations, quick=True)
        # The reference of the first sweep stands for it.
        self._records += [record for record in records if number == 0 or not record["is_reference"]]
        self._tried += sum(not record["is_reference"] for record in records)
        if number == len(self._kept.stage_s):
            self._kept.stage_s.append(time.monotonic() - begun)
            self._kept.save()

    def _sweep(
        self, name: str, which: Which, schemes: Sequence[Scheme], calibrations: Sequence[str] | None, *, quick: bool
    ) -> list[Record]:
        file = self._job.folder / f"{name}.toml"
        write_suite(self._job, file, which, schemes, calibrations=calibrations, quick=quick)
        prepared = prepare_sweep(self._resolved(file))
        outcome = run_sweep(prepared, self._job.folder / name, cache=self._cache, on_progress=self._on_progress)
        return read_records(outcome.folder)

    def _resolved(self, file: Path) -> ResolvedSuite:
        return resolve_suite(str(file), executors=self._executors)

    def _finalists(self, rows: Sequence[Measured], chosen: Measured | None) -> list[Measured]:
        """The pick, else the best mend, though it be slow; and other proposals of the frontier, the fastest first."""
        tuned = [one for one in rows if one.record["scheme"] in self._by_name]
        best: Measured | None = None
        for one in tuned:
            best = one if better(one, best, self._limits.max_loss) else best
        first = chosen if chosen in tuned else best
        standing = dict(zip((one.name for one in rows), frontier(rows), strict=True))
        able = [one for one in tuned if standing[one.name] == "frontier" and one is not first]
        able.sort(key=lambda one: (one.loss.value > self._limits.max_loss, -one.speed.value))
        return ([first] if first is not None else []) + able[: MOST_FINALISTS - 1]

    def _final(
        self, finalists: Sequence[Measured], chosen: Measured | None, calibration: str | None
    ) -> tuple[list[Record], Path | None]:
        """The suite's candidates and the finalists, side by side on the untouched part; and the pick's own suite."""
        schemes = [self._disclosed(one, picked=one is chosen) for one in finalists]
        used = {calibration, None if chosen is None else chosen.record["calibration"]}
        sets = [name for name in self._job.workload.calibrations if name in used]
        records = self._sweep("untouched", "untouched", [*self._originals.values(), *schemes], sets, quick=False)
        if chosen is None or chosen not in finalists:
            return records, None
        mine = schemes[finalists.index(chosen)]
        file = self._job.folder / "suite.toml"
        calibrated = mine.needs_calibration or self._reference.needs_calibration
        write_suite(self._job, file, "untouched", [self._reference, mine], calibrations=sets if calibrated else [])
        write_scheme(mine, self._job.folder / "scheme.toml")
        return records, file

    def _disclosed(self, one: Measured, *, picked: bool) -> Scheme:
        """The scheme, saying how it was found."""
        scheme = self._by_name[one.record["scheme"]].scheme
        tuned = Tuned(
            tried=self._tried,
            samples=int(one.record["test_set_n"]),
            size=self._job.resolved.suite.protocol.test_set,
            test_set_sha256=one.record["test_set_digest"],
            share=self._job.share,
            seed=self._job.seed,
            time_limit_s=self._limits.time_limit_s,
            spent_s=round(self._spent_s, 1),
            max_loss=self._limits.max_loss,
            picked=picked,
            loss=one.loss.value,
            loss_low=one.loss.low,
            loss_high=one.loss.high,
        )
        return scheme.model_copy(update={"tuned": tuned})


def groups(resolved: ResolvedSuite) -> Iterator[tuple[Workload, Model]]:
    """The workloads and models that a suite measures, as `only` says."""
    for workload in resolved.workloads:
        for name in workload.models:
            if resolved.wanted("workload", workload.name) and resolved.wanted("model", name):
                yield workload, resolved.model(name)
