"""A group as it travels: declarations and files by digest; on the node, a resolved suite with its data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lynxbench import __version__
from lynxbench.datasets.samples import Samples
from lynxbench.errors import UntrustedInput, UsageError
from lynxbench.quantization import model_files, model_sha256
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import Declared
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite
from lynxbench.sweep.fleet.blobs import BlobCache, sha256_of
from lynxbench.sweep.plan import Group, Skip, plan_group
from lynxbench.sweep.prepare import CalibrationSet, Material, ModelFile, SampleSet
from lynxbench.sweep.setting import Setting

Files = list[tuple[str, str]]  # name and SHA-256


@dataclass(frozen=True)
class Parcel:
    """What a node has to know of a group. Everything of any size is a file, named by its digest.

    `first` is the position of the group's first cell in the plan; `executors` those whose cells are measured here;
    `finished` cells that need no row any more; `part` the number that its records carry.
    """

    version: str
    sweep: str
    suite_file: str
    declaration: str  # SHA-256 of the JSON of suite, rubrics and executors
    workload: str
    model: str
    group_id: str
    first: int
    model_files: Files
    tokenizer: str | None
    samples: Files
    fingerprint: str
    calibrations: Mapping[str, Mapping[str, Any]]  # by name: files, digest, overlap_n, minimum_n
    executors: list[str]
    finished: list[str]
    part: int

    @property
    def digests(self) -> list[str]:
        """The files that it needs."""
        calibrations = [tuple(file) for one in self.calibrations.values() for file in one["files"]]
        found = [self.declaration, *(digest for _, digest in [*self.model_files, *self.samples, *calibrations])]
        return list(dict.fromkeys(found + ([self.tokenizer] if self.tokenizer else [])))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Parcel:
        """Raises `UsageError` when another version of LynxBench wrote it: cells of two versions are not the same."""
        plain = json.loads(text)
        if plain["version"] != __version__:
            raise UsageError(
                f"this node has LynxBench {__version__}, the coordinator {plain['version']}: install the same on both"
            )
        return Parcel(**plain)


class Packer:
    """Parcels of one sweep. Samples and declarations are written below `setting.work`; `files` says where all is."""

    def __init__(self, setting: Setting, sweep: str) -> None:
        self.files: dict[str, Path] = {}  # by digest: what nodes may ask for
        self._setting = setting
        self._sweep = sweep
        self._known: dict[str, tuple[Files, str | None]] = {}
        self._samples: dict[tuple[str, str | None], Files] = {}
        setting.write_samples()
        declaration = setting.work / "declaration.json"
        declaration.write_text(_declaration(setting.resolved))
        self._declaration = self._add(declaration)

    def pack(self, group: Group, executors: Iterable[str], finished: Iterable[str], part: int) -> Parcel:
        """The parcel of a group, or of its cells on some executors."""
        workload, resolved = group.workload.name, self._setting.resolved
        files, tokenizer = self._model(group.model.name)
        calibrations = {}
        for calibration in resolved.calibrations_of(group.workload):
            made = self._setting.material.calibrations[workload, calibration.name]
            calibrations[calibration.name] = {
                "files": self._sample_files(workload, calibration.name),
                "digest": made.digest,
                "overlap_n": made.overlap_n,
                "minimum_n": made.minimum_n,
            }
        return Parcel(
            version=__version__,
            sweep=self._sweep,
            suite_file=resolved.file.name,
            declaration=self._declaration,
            workload=workload,
            model=group.model.name,
            group_id=group.group_id,
            first=group.cells[0].position,
            model_files=files,
            tokenizer=tokenizer,
            samples=self._sample_files(workload, None),
            fingerprint=self._setting.material.test_sets[workload].fingerprint,
            calibrations=calibrations,
            executors=sorted(executors),
            finished=sorted(finished),
            part=part,
        )

    def _add(self, file: Path) -> str:
        digest = sha256_of(file)
        self.files.setdefault(digest, file)
        return digest

    def _model(self, name: str) -> tuple[Files, str | None]:
        if name not in self._known:
            found = self._setting.material.models[name]
            # External data is named relative to the graph's folder.
            here = found.path.parent
            files = [(file.relative_to(here).as_posix(), self._add(file)) for file in model_files(found.path)]
            self._known[name] = files, None if found.tokenizer is None else self._add(found.tokenizer)
        return self._known[name]

    def _sample_files(self, workload: str, calibration: str | None) -> Files:
        key = (workload, calibration)
        if key not in self._samples:
            folder = self._setting.sample_folder(workload, calibration)
            self._samples[key] = [(file.name, self._add(file)) for file in sorted(folder.glob("*.npy"))]
        return self._samples[key]


def _declaration(resolved: ResolvedSuite) -> str:
    return json.dumps(
        {
            "suite": resolved.suite.model_dump_json(),
            "rubrics": {name: declared.spec.model_dump_json() for name, declared in resolved.rubrics.items()},
            "executors": {name: declared.spec.model_dump_json() for name, declared in resolved.executors.items()},
            "only": {axis: sorted(names) for axis, names in resolved.only.items()},
            "left_out": dict(resolved.left_out),
        },
        sort_keys=True,
    )


@dataclass(frozen=True)
class Unpacked:
    """A parcel on its node: the suite and the data of its one group."""

    parcel: Parcel
    resolved: ResolvedSuite
    material: Material

    def group(self, unavailable: Mapping[str, Skip]) -> Group:
        """The group as it can run here, reduced to the parcel's executors.

        Raises `UntrustedInput` when it is not the group that the coordinator planned.
        """
        parcel, resolved = self.parcel, self.resolved
        workload = next(one for one in resolved.suite.workloads if one.name == parcel.workload)
        model = resolved.model(parcel.model)
        group = plan_group(resolved, self.material, workload, model, unavailable, first=parcel.first)
        if group is None or group.group_id != parcel.group_id:
            raise UntrustedInput(f"group {parcel.group_id} came out as {group and group.group_id} on this node")
        cells = tuple(cell for cell in group.cells if cell.deployment.executor in parcel.executors)
        return replace(group, cells=cells)


def unpack(parcel: Parcel, cache: BlobCache, folder: Path) -> Unpacked:
    """Put a parcel's files into `folder` and read them. Raises `UntrustedInput` when anything has another digest."""
    (declaration,) = cache.materialise([("declaration.json", parcel.declaration)], folder)
    told = json.loads(declaration.read_text())
    resolved = ResolvedSuite(
        suite=Suite.from_json(told["suite"]),
        file=folder / parcel.suite_file,
        rubrics={name: Declared(Rubric.from_json(text), folder) for name, text in told["rubrics"].items()},
        executors={name: Declared(ExecutorSpec.from_json(text), folder) for name, text in told["executors"].items()},
        only={axis: frozenset(names) for axis, names in told["only"].items()},
        left_out=told["left_out"],
    )
    files = cache.materialise(((name, digest) for name, digest in parcel.model_files), folder / "model")
    tokenizer = None
    if parcel.tokenizer is not None:
        (tokenizer,) = cache.materialise([("tokenizer.json", parcel.tokenizer)], folder)
    model = ModelFile(
        path=files[0],
        sha256=model_sha256(files[0]),
        size_bytes=sum(file.stat().st_size for file in files),
        tokenizer_sha256=parcel.tokenizer,
        tokenizer=tokenizer,
    )
    samples = _samples(cache, parcel.samples, folder / "samples")
    if samples.fingerprint() != parcel.fingerprint:
        raise UntrustedInput(f"the samples of {parcel.workload} have another fingerprint than the coordinator's")
    calibrations = {
        (parcel.workload, name): CalibrationSet(
            _samples(cache, one["files"], folder / f"calibration-{number}"),
            one["digest"],
            one["overlap_n"],
            one["minimum_n"],
        )
        for number, (name, one) in enumerate(parcel.calibrations.items())
    }
    material = Material({parcel.model: model}, {parcel.workload: SampleSet(samples, parcel.fingerprint)}, calibrations)
    return Unpacked(parcel, resolved, material)


def _samples(cache: BlobCache, files: Iterable[tuple[str, str]], folder: Path) -> Samples:
    cache.materialise(((name, digest) for name, digest in files), folder)
    return Samples.read(folder)
