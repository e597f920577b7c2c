"""Build the data, train, export and score every model of the `starter` suite."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from training import arithmetic, embedder, score, vision
from training.data import DEFAULT_SOURCE, build_images, load_images, normalize, split_training
from training.export import export, fold_norms, parameter_count, sha256
from training.problems import build_problems, draw_problems, encode_prompts

OUTPUT = Path(__file__).resolve().parent.parent / "lynxbench" / "suites" / "starter"
SEED = 1
EXAMPLES = 32

METRICS = {
    "fashion-resnet8": ("top-1", 0.91),
    "fashion-mobilenetv2": ("top-1", 0.91),
    "fashion-mobilenetv3": ("top-1", 0.91),
    "fashion-embedder": ("recall@1", 0.60),
    "arithmetic-transformer": ("exact match", 0.98),
}
"""The metric of each model and the least score with which it may be shipped."""


@dataclass(frozen=True)
class Score:
    """What is known of a trained model; one entry of scores.json."""

    metric: str
    value: float
    n: int
    least: float
    parameters: int
    seed: int
    training_seconds: float
    parity_max_abs_difference: float
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Job:
    """One model to build."""

    name: str
    source: Path
    folder: Path
    fraction: float


class ScoreTooLowError(Exception):
    """A model missed its least score; its file is kept beside the others with the ending `.rejected`."""


def _train(job: Job) -> torch.nn.Module:
    if job.name == "arithmetic-transformer":
        return arithmetic.train(SEED, job.fraction)
    fit, validation = split_training(load_images(job.source, "train"))
    if job.name == "fashion-embedder":
        return embedder.train(fit, validation, SEED, job.fraction)
    return vision.train(job.name, fit, validation, SEED, job.fraction)


def build_model(job: Job) -> Score:
    """Train, fold, export and score one model; only a good one replaces the file in the folder.

    Raises:
        ScoreTooLowError: the model missed its least score and this was no trial.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.perf_counter()
    model = _train(job)
    seconds = time.perf_counter() - started
    parameters = parameter_count(model)
    fold_norms(model)
    model = model.to(memory_format=torch.contiguous_format)

    new = job.folder / f"{job.name}.onnx.rejected"
    test = load_images(job.source, "t10k")
    if job.name == "arithmetic-transformer":
        example = torch.from_numpy(encode_prompts(draw_problems()[1][:EXAMPLES]))
        difference = export(model, example, "ids", "logits", new)
        value, count = score.exact_match(new)
    else:
        example = torch.from_numpy(normalize(test.pixels[:EXAMPLES]))
        embeds = job.name == "fashion-embedder"
        difference = export(model, example, "image", "embedding" if embeds else "logits", new)
        value, count = (score.recall_at_1 if embeds else score.top1)(new, test)

    metric, least = METRICS[job.name]
    print(f"{job.name}: {metric} {value:.4f} (n = {count}), {seconds:.0f} s", flush=True)
    if value < least and job.fraction >= 1:
        raise ScoreTooLowError(f"{job.name}: {metric} {value:.4f} is below {least}; see {new}")
    path = job.folder / f"{job.name}.onnx"
    new.replace(path)
    return Score(
        metric=metric,
        value=round(value, 6),
        n=count,
        least=least,
        parameters=parameters,
        seed=SEED,
        training_seconds=round(seconds, 1),
        parity_max_abs_difference=difference,
        bytes=path.stat().st_size,
        sha256=sha256(path),
    )


def _save(scores: dict[str, Score], folder: Path) -> None:
    """Merge the new entries into scores.json."""
    path = folder / "scores.json"
    models = json.loads(path.read_text(encoding="utf-8"))["models"] if path.exists() else {}
    models.update({name: asdict(entry) for name, entry in scores.items()})
    content = {
        "torch": torch.__version__,
        "precision": "float32",
        "models": {name: models[name] for name in METRICS if name in models},
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--source", type=Path, default=DEFAULT_SOURCE, help="folder of the four Fashion-MNIST files")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to")
    parser.add_argument("--only", nargs="*", choices=list(METRICS), default=list(METRICS), metavar="MODEL")
    parser.add_argument("--jobs", type=int, default=1, help="models trained at once, one thread each")
    parser.add_argument(
        "--trial", type=float, default=1.0, metavar="SHARE", help="share of the training; checks no score"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Build everything asked for; 1 if a model missed its least score."""
    arguments = _arguments(argv)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    build_images(arguments.source, folder)
    build_problems(folder)
    failed = False
    # A process of its own for each model keeps one model's random state from moving another's.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        jobs = {
            name: pool.submit(build_model, Job(name, arguments.source, folder, arguments.trial))
            for name in arguments.only
        }
        for name, job in jobs.items():
            try:
                _save({name: job.result()}, folder)
            except ScoreTooLowError as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
    return int(failed)
