"""A suite: models with their rubrics × schemes × executors × scenarios, and the protocol they are measured by."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lynxbench.specs.base import Name, Sha256, Spec
from lynxbench.specs.scheme import Calibration, Scheme

ScenarioKind = Literal["single-stream", "multi-stream", "offline", "server", "server-search"]
BudgetName = Literal["quick", "standard", "thorough"]


class ImageInput(Spec):
    """How pixels become the model's input: ``(x * scale - mean) / std``, channels first, float32."""

    scale: float = Field(default=1 / 255, gt=0, description="applied to the raw 0–255 values")
    mean: tuple[float, ...] = Field(default=(0.0,), min_length=1)
    std: tuple[float, ...] = Field(default=(1.0,), min_length=1)

    @model_validator(mode="after")
    def _std_is_positive(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, not {min(self.std)}")
        if len(self.mean) != len(self.std) and 1 not in (len(self.mean), len(self.std)):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}; both are one a channel")
        return self


class TextGeneration(Spec):
    """Greedy decoding by a model without a cache: fixed prompt width, one character a token."""

    vocabulary: str = Field(min_length=2, description="character i of this text has token id i")
    pad_id: int = Field(ge=0)
    prompt_length: int = Field(ge=1, description="tokens; shorter prompts are padded on the right")
    max_new_tokens: int = Field(ge=1)
    stop: str = Field(min_length=1, max_length=1, description="the character that ends an answer")

    @model_validator(mode="after")
    def _one_id_a_character(self) -> Self:
        repeated = sorted({character for character in self.vocabulary if self.vocabulary.count(character) > 1})
        if repeated:
            raise ValueError(f"vocabulary holds {repeated[0]!r} more than once, so it has no single id")
        if self.stop not in self.vocabulary:
            raise ValueError(f"stop {self.stop!r} is not in the vocabulary, so no answer could end")
        return self


class TextInput(Spec):
    """How texts become token ids: a Hugging Face `tokenizer.json`, cut at a length, and filled up."""

    tokenizer: str = Field(description="tokenizer.json, relative to the declaring file, or builtin:PATH")
    max_length: int = Field(default=128, ge=2, description="tokens; what is longer is cut")
    padding: Literal["longest", "max-length"] = Field(
        default="longest", description="fill up to the longest text of a batch, or always to max_length"
    )
    pooling: Literal["mean", "first"] = Field(
        default="mean", description="text-retrieval: where the model gives one vector a token, how they become one"
    )


class TextDecoding(Spec):
    """Greedy decoding by a model with a cache of keys and values; `text` says how prompts become tokens."""

    max_new_tokens: int = Field(ge=1)
    stop: tuple[str, ...] = Field(default=(), description="tokens that end an answer, as text: one token each")


class BoxOutput(Spec):
    """Which of a detector's outputs are what. Boxes are [batch, d, 4], after any non-maximum suppression."""

    boxes: str = Field(default="boxes", description="output [batch, d, 4]")
    scores: str = Field(default="scores", description="output [batch, d], or [batch, d, classes]")
    classes: str | None = Field(default="labels", description="output [batch, d]; none where scores has all classes")
    format: Literal["xyxy", "xywh", "cxcywh"] = Field(default="xyxy")
    unit: Literal["pixels", "share"] = Field(default="pixels", description="share: of the image's width and height")
    first_class: int = Field(default=0, ge=0, description="the number that the model gives class 0, 1 in many")


class SpelledOutput(Spec):
    """Connectionist temporal classification: one symbol or a blank at each step, repeats merged."""

    vocabulary: str = Field(min_length=1, description="the symbols in the order of their numbers, without the blank")
    blank: int = Field(default=0, ge=0, description="number of the blank; symbols are numbered around it")
    time_first: bool = Field(default=False, description="output is [time, batch, symbols], not [batch, time, symbols]")


class Model(Spec):
    """An ONNX file, named and versioned, and what its inputs expect."""

    name: Name
    version: str = Field(min_length=1)
    path: str = Field(
        description="ONNX file, relative to the declaring file, builtin:PATH or hf://org/name@commit/PATH"
    )
    sha256: Sha256 | None = Field(default=None, description="of the ONNX file; checked when given")
    description: str = Field(default="")
    licence: str = Field(default="", description="SPDX id of the weights")
    image: ImageInput | None = Field(default=None, description="for image tasks")
    generation: TextGeneration | None = Field(default=None, description="for generation")
    decoding: TextDecoding | None = Field(default=None, description="for generation with a cache, beside text")
    text: TextInput | None = Field(default=None, description="for tasks on texts: the tokenizer")
    boxes: BoxOutput | None = Field(default=None, description="for detection")
    spelling: SpelledOutput | None = Field(default=None, description="for transcription")
    scores: Literal["logits", "probabilities"] = Field(
        default="logits", description="for tasks of classification: what the class scores are"
    )


# MLPerf's multi-stream: eight samples arrive together and are answered together.
MULTI_STREAM_SAMPLES = 8


class Scenario(Spec):
    """A load pattern, as MLPerf names them.

    single-stream: one sample a query, the next when the last has come back. multi-stream: the same with queries of
    several samples, of which the latency is that of the whole query. offline: throughput at a batch size and a number
    of queries in flight, given or searched for each candidate. server: queries of one sample arrive at random (a
    Poisson process of `rate_per_s`), whether the last one is answered or not; latency runs from the scheduled arrival.
    server-search: the highest such rate of each candidate whose p99 stays within `latency_limit_ms`.
    """

    name: Name = Field(description="how results call this scenario")
    kind: ScenarioKind
    batch_size: int = Field(
        default=1, ge=1, description="samples a query; single-stream means 1, multi-stream 8 when left out"
    )
    largest_batch_size: int | None = Field(
        default=None, ge=2, description="offline: search the batch size, in powers of two up to this, instead"
    )
    in_flight: int = Field(default=1, ge=1, description="offline: queries under way at a time")
    most_in_flight: int | None = Field(
        default=None, ge=2, description="offline: search the number of queries in flight up to this, instead"
    )
    rate_per_s: float | None = Field(default=None, gt=0, description="server: arrivals a second, on average")
    latency_limit_ms: float | None = Field(default=None, gt=0, description="server-search: what p99 must hold")

    @model_validator(mode="before")
    @classmethod
    def _multi_stream_is_eight(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "multi-stream":
            return {"batch_size": MULTI_STREAM_SAMPLES, **given}
        return given

    @model_validator(mode="after")
    def _queries_fit_the_kind(self) -> Self:
        if self.kind in {"single-stream", "server", "server-search"} and self.batch_size != 1:
            raise ValueError(f"{self.kind} sends one sample a query; batch_size is {self.batch_size}")
        if self.kind == "multi-stream" and self.batch_size == 1:
            raise ValueError("multi-stream sends several samples a query; batch_size is 1: use single-stream")
        if (self.kind == "server") != (self.rate_per_s is not None):
            raise ValueError(
                "server needs rate_per_s, the arrivals a second"
                if self.kind == "server"
                else "rate_per_s is for server; server-search finds it"
                if self.kind == "server-search"
                else f"rate_per_s is for server; {self.kind} sends the next query when the last has come back"
            )
        if (self.kind == "server-search") != (self.latency_limit_ms is not None):
            raise ValueError(
                "server-search needs latency_limit_ms, which p99 must hold"
                if self.kind == "server-search"
                else f"latency_limit_ms is for server-search, not {self.kind}"
            )
        for key in ("largest_batch_size", "most_in_flight") if self.kind != "offline" else ():
            if getattr(self, key) is not None:
                raise ValueError(f"{key} is for offline, not {self.kind}")
        if self.kind != "offline" and self.in_flight != 1:
            raise ValueError(f"in_flight is for offline; {self.kind} has its own way of sending queries")
        if self.largest_batch_size is not None and self.batch_size != 1:
            raise ValueError("batch_size is given and largest_batch_size asks to search it: leave one of them out")
        if self.most_in_flight is not None and self.in_flight != 1:
            raise ValueError("in_flight is given and most_in_flight asks to search it: leave one of them out")
        return self

    @property
    def is_open_loop(self) -> bool:
        """Queries arrive when they do, at a rate, whether the last one is answered or not."""
        return self.kind in {"server", "server-search"}

    @property
    def is_searched(self) -> bool:
        """Something about the load is found for each candidate by measuring, before its accuracy."""
        return self.largest_batch_size is not None or self.most_in_flight is not None

    @property
    def given_batch_size(self) -> int | None:
        """None where it is searched."""
        return self.batch_size if self.largest_batch_size is None else None

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Every batch size that may run: the given one, or the powers of two up to the largest, and that."""
        if self.largest_batch_size is None:
            return (self.batch_size,)
        powers = (2**power for power in range(self.largest_batch_size.bit_length()))
        return tuple(sorted({*powers, self.largest_batch_size}))


class Workload(Spec):
    """A question (rubric) put to one or more models."""

    name: Name
    rubric: str = Field(description="a rubric's name, or a .toml file relative to the suite")
    models: tuple[Name, ...] = Field(min_length=1)
    schemes: tuple[Name, ...] = Field(default=(), description="names of schemes; all of the suite's when left out")
    calibrations: tuple[Name, ...] = Field(default=(), description="each static scheme is built once for each")
    scenarios: tuple[Name, ...] = Field(default=(), description="names of scenarios; all of the suite's when left out")


class Protocol(Spec):
    """How long and how carefully cells are measured. Times in seconds."""

    threads: int | None = Field(
        default=1, ge=1, description="intra-op threads of every candidate; null: all usable cores"
    )
    block_s: float = Field(default=0.1, gt=0, description="length of one timed block")
    minimum_rounds: int = Field(default=8, ge=2)
    time_limit_s: float = Field(default=2.0, gt=0, description="timed seconds a cell at most, over all its blocks")
    ratio_half_width: float = Field(
        default=0.02, gt=0, description="stop when every ratio's interval is this tight (relative)"
    )
    confidence: float = Field(default=0.95, ge=0.5, lt=1, description="of timing intervals")
    warm_up_runs: int = Field(default=50, ge=1)
    warm_up_s: float = Field(
        default=0.5, gt=0, description="warm-up ends when both are reached, the accuracy pass included"
    )
    search_limit_s: float = Field(
        default=30.0, gt=0, description="server-search: seconds that each candidate's search may take"
    )
    processes: int = Field(
        default=1, ge=1, description="fresh processes of each candidate, over which its rounds are spread"
    )
    worker_timeout_s: float = Field(default=600.0, gt=0, description="a worker that is silent for longer is killed")
    worker_memory_bytes: int | None = Field(
        default=None, ge=1, description="a worker that holds more is stopped; null: nine tenths of what the host has"
    )
    group_memory_bytes: int | None = Field(
        default=None, ge=1, description="a group whose workers may hold more is split; null: nine tenths of the host's"
    )
    seed: int = Field(default=0, ge=0, description="of the order within rounds, and of the server's arrivals")
    test_set: Literal["quick", "standard", "thorough"] = Field(
        default="standard", description="which count of the rubric's test set"
    )


# What --budget changes in a suite that does not say: a first look, and a result to publish.
BUDGETS: dict[BudgetName, dict[str, Any]] = {
    "quick": {
        "block_s": 0.03,
        "minimum_rounds": 4,
        "time_limit_s": 0.2,
        "search_limit_s": 5.0,
        "ratio_half_width": 0.05,
        "warm_up_s": 0.05,
        "test_set": "quick",
    },
    "thorough": {
        "block_s": 0.2,
        "minimum_rounds": 20,
        "time_limit_s": 10.0,
        "search_limit_s": 120.0,
        "processes": 3,
        "ratio_half_width": 0.01,
        "test_set": "thorough",
    },
}


class Fleet(Spec):
    """How groups are spread when a sweep runs on many hosts (`--on`). Says nothing of what is measured."""

    hosts: Literal["anywhere", "every-kind"] = Field(
        default="anywhere", description="each group on one host, whichever is free; or once on every kind of host"
    )
    wait_s: float = Field(default=60.0, gt=0, description="how long a group waits for a host that offers its executors")


class Suite(Spec):
    """Everything that one sweep measures. Every reference to a name is checked on loading."""

    name: Name
    version: str = Field(min_length=1)
    description: str = Field(default="")
    executors: tuple[Name, ...] = Field(default=("cpu",), min_length=1)
    models: tuple[Model, ...] = Field(min_length=1)
    schemes: tuple[Scheme, ...] = Field(min_length=1)
    calibrations: tuple[Calibration, ...] = ()
    scenarios: tuple[Scenario, ...] = Field(
        default=(Scenario(name="single-stream", kind="single-stream"),), min_length=1
    )
    workloads: tuple[Workload, ...] = Field(min_length=1)
    protocol: Protocol = Protocol()
    fleet: Fleet = Fleet()
    budgets: dict[BudgetName, dict[str, Any]] = Field(
        default_factory=lambda: {name: dict(changes) for name, changes in BUDGETS.items()},
        description="protocol keys that a --budget changes; quick and thorough have defaults",
    )

    def canonical(self) -> str:
        """As for every declaration, but for `fleet`: where the same is measured does not make it another question."""
        return json.dumps(self.model_dump(mode="json", exclude={"fleet"}), sort_keys=True, separators=(",", ":"))
