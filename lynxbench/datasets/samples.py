"""From a declared test set or calibration reader to the very samples, with their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.answers import answers_of, inputs_of
from lynxbench.datasets.corruptions import CORRUPTIONS_OF, corrupt, input_kind, noise
from lynxbench.datasets.lazy import CHUNK_SAMPLES, filled, gathered
from lynxbench.datasets.picking import Choice, further_fields, pick
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.sources import read_table, read_target
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.load import locate
from lynxbench.specs.rubric import Rubric, TestSet, View
from lynxbench.specs.scheme import Calibration
from lynxbench.specs.tuned import Part


@dataclass(frozen=True)
class Samples:
    """Samples in the order in which they are asked.

    ids        [n] str, unique
    source_ids [n] str: which original each was made from
    inputs     [n, h, w] or [n, h, w, c] uint8 images, [n] str texts, [n, 2] str pairs of texts, or [n, …] numbers
    strata     name → [n] str
    labels     [n] int64 or None;  targets [n] str or None;  values [n] float64, true numbers, or None
    tags       [n, w] int64, class of each word, -1 where there is none;  masks [n, h, w] uint8, class of each pixel,
               255 where there is none;  objects [n, g, 6] as in `Predictions`. Or None
    options    [n, k] str, "" where there is none, or None
    contents   [n] str: SHA-256 of each original's content, for the overlap check
    corpus     for retrieval: what is searched
    """

    ids: Column
    source_ids: Column
    inputs: Column
    contents: Column
    strata: Mapping[str, Column] = field(default_factory=dict)
    labels: npt.NDArray[np.int64] | None = None
    targets: Column | None = None
    values: npt.NDArray[np.float64] | None = None
    tags: npt.NDArray[np.int64] | None = None
    masks: npt.NDArray[np.uint8] | None = None
    objects: npt.NDArray[np.float32] | None = None
    options: Column | None = None
    corpus: Samples | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over everything that can move a number: inputs, labels, ids, strata, order."""
        digest = hashlib.sha256()
        for name, column in sorted(self._columns().items()):
            plain = np.ascontiguousarray(column)
            digest.update(f"{name}\0{plain.dtype.str}\0{plain.shape}\0".encode())
            digest.update(plain.reshape(-1).view(np.uint8).data if plain.nbytes else b"")
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """What all columns take together."""
        return sum(column.nbytes for column in self._columns().values())

    def write(self, folder: Path) -> None:
        """One `.npy` a column into a new folder, for `read` in another process."""
        folder.mkdir(parents=True)
        for name, column in self._columns().items():
            with (folder / f"{name}.npy").open("wb") as file:
                # Not `file` itself: NumPy would write past it, and tell a full disk from nothing else.
                np.lib.format.write_array(SimpleNamespace(write=file.write), column, allow_pickle=False)

    @staticmethod
    def read(folder: Path) -> Samples:
        """What `write` wrote, mapped: the processes that read one folder share its pages."""
        files = sorted(folder.glob("*.npy"))
        return _from_columns({file.name.removesuffix(".npy"): _mapped(file) for file in files})

    def _columns(self) -> dict[str, Column]:
        columns: dict[str, Column] = {
            "ids": self.ids,
            "source_ids": self.source_ids,
            "inputs": self.inputs,
            "contents": self.contents,
        }
        columns.update({f"strata.{name}": column for name, column in self.strata.items()})
        for name in _ANSWERS:
            column = getattr(self, name)
            if column is not None:
                columns[name] = column
        if self.corpus is not None:
            columns.update({f"corpus.{name}": column for name, column in self.corpus._columns().items()})
        return columns


def _from_columns(columns: Mapping[str, Column]) -> Samples:
    corpus = {name.removeprefix("corpus."): column for name, column in columns.items() if name.startswith("corpus.")}
    return Samples(
        ids=columns["ids"],
        source_ids=columns["source_ids"],
        inputs=columns["inputs"],
        contents=columns["contents"],
        strata={name.removeprefix("strata."): column for name, column in columns.items() if name.startswith("strata.")},
        corpus=_from_columns(corpus) if corpus else None,
        **{name: columns[name] for name in _ANSWERS if name in columns},  # type: ignore[arg-type]
    )


# What a sample may have beside its input, [n, …] each.
_ANSWERS = ("labels", "targets", "values", "tags", "masks", "objects", "options")


def _mapped(file: Path) -> Column:
    mapped: Column = np.load(file, mmap_mode="r", allow_pickle=False)
    # Small columns, and texts, are looked at item by item, which is slow in a mapped file.
    return np.array(mapped) if mapped.dtype.kind == "U" or mapped.nbytes < (1 << 20) else mapped


def rubric_samples(rubric: Rubric, file: Path, declared_in: Path, size: str = "standard") -> Samples:
    """The rubric's test set at a budget's size (``quick``, ``standard`` or ``thorough``), read from `file`, or from the
    function that it names.

    Raises `DeclarationError` naming the rubric's file and key, or the data file.
    """
    declared = rubric.test_set
    table = _table(declared, file, declared_in, "test_set")
    choice = Choice(
        task=rubric.task,
        fields=declared.fields,
        selection=declared.selection,
        count={"quick": declared.quick_count, "thorough": declared.thorough_count}.get(size) or declared.count,
        seed=declared.seed,
        stratify_by=declared.stratify_by,
        answers_needed=True,
        file=str(declared_in),
        key="test_set",
    )
    table = _renumbered(table, declared.class_names, choice)
    chosen, columns = pick(table, choice)
    ids = columns["id"].astype(np.str_)
    strata = further_fields(table, chosen, choice)
    answers = answers_of(columns, table, choice, declared.class_names)
    labels = answers.get("labels")
    if labels is not None:
        names = declared.class_names or table.class_names or tuple(str(n) for n in range(int(labels.max()) + 1))
        strata["class"] = np.asarray(names)[labels]
    inputs, repeat = inputs_of(columns, rubric.task), len(declared.views)
    seen = _seen(inputs, ids, rubric, declared_in)
    strata = {name: np.tile(column, repeat) for name, column in strata.items()}
    strata["view"] = np.repeat(np.asarray([view.name for view in declared.views]), len(ids))
    missing = [
        Problem(
            str(declared_in),
            f"strata[{index}]",
            "the samples have no such field",
            value=repr(name),
            expected="one of: " + ", ".join(sorted(strata)),
            hint=did_you_mean(name, strata),
        )
        for index, name in enumerate(rubric.strata)
        if name not in strata
    ]
    if missing:
        raise DeclarationError(missing)
    contents = _contents(inputs) if table.contents is None else table.contents[chosen]
    corpus, sources = None, columns["source"].astype(np.str_) if "source" in columns else ids
    if rubric.task == "image-retrieval":
        corpus = Samples(ids=ids, source_ids=ids, inputs=inputs, contents=contents, labels=labels)
    if rubric.task == "text-retrieval":
        # The right document is a query's source: queries for one document are not independent either.
        corpus, sources = _documents(rubric, declared_in), answers.pop("targets").astype(np.str_)
        _all_there(sources, corpus, choice)
    whole = Samples(
        ids=np.concatenate([np.char.add(ids, f"/{view.name}" if repeat > 1 else "") for view in declared.views]),
        source_ids=np.tile(sources, repeat),
        inputs=seen,
        contents=np.tile(contents, repeat),
        strata=strata,
        corpus=corpus,
        **{name: np.concatenate([column] * repeat) for name, column in answers.items()},
    )
    return whole if declared.part is None else _part(whole, declared.part, rubric.strata, declared_in)


def _part(whole: Samples, part: Part, strata: Sequence[str], declared_in: Path) -> Samples:
    from lynxbench.datasets.parting import part_of

    try:
        return part_of(whole, part, strata)
    except ValueError as error:
        raise DeclarationError([Problem(str(declared_in), "test_set.part.share", str(error))]) from None


def calibration_samples(calibration: Calibration, file: Path, declared_in: Path, task: str) -> Samples:
    """The samples of a declared calibration reader, in its order; labels and targets where the file has them.

    Raises `DeclarationError` as `rubric_samples` does.
    """
    choice = Choice(
        task=task,
        fields=calibration.fields,
        selection=calibration.selection,
        count=calibration.count,
        seed=calibration.seed,
        stratify_by=calibration.stratify_by,
        answers_needed=False,
        file=str(declared_in),
        key=f"calibrations.{calibration.name}",
        where=calibration.where,
    )
    table = _table(calibration, file, declared_in, choice.key)
    chosen, columns = pick(table, choice)
    inputs, ids = inputs_of(columns, task), columns["id"].tolist()
    if calibration.kind == "noise":
        # Nothing of the samples is left, so neither are their labels, nor can their content be asked.
        random = noise(inputs, calibration.seed, ids)
        return Samples(ids=columns["id"], source_ids=columns["id"], inputs=random, contents=_contents(random))
    return Samples(
        ids=columns["id"],
        source_ids=columns["id"],
        inputs=_corrupted(inputs, calibration, calibration.seed, ids, str(declared_in), f"{choice.key}.corruption"),
        contents=_contents(inputs) if table.contents is None else table.contents[chosen],
        **answers_of(columns, table, choice, ()),
    )


def _table(declared: TestSet | Calibration, file: Path, declared_in: Path, key: str) -> Table:
    if declared.target is not None:
        return read_target(declared.target, declared_in, f"{key}.target")
    return read_table(file, declared.image, declared.audio)


def _renumbered(table: Table, names: tuple[str, ...], choice: Choice) -> Table:
    """Folders that are classes, numbered in the order of the declared class names: that of the model's outputs."""
    if not table.class_names or not names:
        return table
    strangers = [name for name in table.class_names if name not in names]
    if strangers:
        hint = did_you_mean(strangers[0], names)
        message = f"{table.file} has a folder that is no class"
        raise DeclarationError(
            [Problem(choice.file, f"{choice.key}.class_names", message, repr(strangers[0]), "a name for each", hint)]
        )
    numbers = np.asarray([names.index(name) for name in table.class_names], dtype=np.int64)
    labels = gathered(table.columns["labels"], np.arange(len(table))).astype(np.int64)
    return replace(table, columns={**table.columns, "labels": numbers[labels]})


def _documents(rubric: Rubric, declared_in: Path) -> Samples:
    """What a text retrieval searches."""
    declared = rubric.test_set
    if declared.corpus is None:
        message, hint = "a task text-retrieval searches documents", 'corpus = "documents.jsonl", with id and text'
        raise DeclarationError([Problem(str(declared_in), "test_set.corpus", message, hint=hint)])
    table = read_table(locate(declared.corpus, declared_in))
    ids = gathered(table.column("id", "a document's id"), np.arange(len(table))).astype(np.str_)
    texts = gathered(table.column("text", "a document's text"), np.arange(len(table)))
    if texts.dtype.kind != "U" or len(np.unique(ids)) != len(ids):
        raise DeclarationError([Problem(str(table.file), "id", "documents are texts with ids that don't repeat")])
    return Samples(ids=ids, source_ids=ids, inputs=texts, contents=_contents(texts))


def _all_there(wanted: Column, corpus: Samples, choice: Choice) -> None:
    absent = sorted(set(wanted.tolist()) - set(corpus.ids.tolist()))
    if absent:
        message = f"{len(absent)} of the documents asked for are not in the corpus"
        raise DeclarationError([Problem(choice.file, f"{choice.key}.corpus", message, value=repr(absent[0]))])


def overlap(calibration: Samples, test: Samples) -> list[str]:
    """Ids of calibration samples whose content is also in the test set (or in what it searches)."""
    asked = set(test.contents.tolist())
    if test.corpus is not None:
        asked |= set(test.corpus.contents.tolist())
    return [str(i) for i, content in zip(calibration.ids, calibration.contents, strict=True) if content in asked]


def _seen(inputs: Column, ids: npt.NDArray[np.str_], rubric: Rubric, declared_in: Path) -> Column:
    """The inputs through each view, one after the other, a few at a time."""
    declared, names, file = rubric.test_set, ids.tolist(), str(declared_in)
    if len(declared.views) == 1 and declared.views[0].corruption == "none":
        return inputs
    if inputs.dtype.kind == "U":  # a corrupted text may need more room
        return np.concatenate(
            [
                _corrupted(inputs, view, declared.seed, names, file, f"test_set.views[{index}].corruption")
                for index, view in enumerate(declared.views)
            ]
        )

    def parts() -> Iterator[Column]:
        for index, view in enumerate(declared.views):
            key = f"test_set.views[{index}].corruption"
            for start in range(0, len(inputs), CHUNK_SAMPLES):
                end = start + CHUNK_SAMPLES
                yield _corrupted(inputs[start:end], view, declared.seed, names[start:end], file, key)

    return filled((len(inputs) * len(declared.views), *inputs.shape[1:]), inputs.dtype, parts())


def _corrupted(inputs: Column, declared: View | Calibration, seed: int, ids: list[str], file: str, key: str) -> Column:
    """The inputs as a view or a calibration reader wants them; `DeclarationError` where that is not possible."""
    if declared.corruption == "none":
        return inputs
    kind = input_kind(inputs)
    if declared.corruption not in CORRUPTIONS_OF[kind]:
        problem = Problem(
            file,
            key,
            f"is not for {kind}",
            value=repr(declared.corruption),
            expected="one of: " + ", ".join(CORRUPTIONS_OF[kind]),
        )
        raise DeclarationError([problem])
    return corrupt(inputs, declared.corruption, declared.severity, seed, ids)


def _contents(inputs: Column) -> Column:
    """SHA-256 (hex) of each input: its pixels, or its text."""
    if inputs.dtype.kind == "U":
        texts = [text if isinstance(text, str) else "\0".join(text) for text in inputs.tolist()]
        return np.asarray([hashlib.sha256(text.encode()).hexdigest() for text in texts])
    return np.asarray([hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest() for item in inputs])
