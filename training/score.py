"""Scores of an exported file on the shipped test data, computed with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training import embedder
from training.data import Images, normalize
from training.export import open_session
from training.problems import NEW_TOKENS, PAD, PROMPT_LENGTH, VOCABULARY, decode, draw_problems, encode_prompts


def top1(path: Path, test: Images) -> tuple[float, int]:
    """Share of test images classified rightly, and their number."""
    logits = open_session(path).run(["logits"], {"image": normalize(test.pixels)})[0]
    return float((logits.argmax(1) == test.labels).mean()), len(test.labels)


def recall_at_1(path: Path, test: Images) -> tuple[float, int]:
    """Recall@1 of the very image among 2,000 clean ones, under moderate corruption, and the number of queries."""
    session = open_session(path)
    clean, viewed = (
        torch.from_numpy(session.run(["embedding"], {"image": images.numpy()})[0]) for images in embedder.queries(test)
    )
    return embedder.recall_at_1(clean, viewed), len(viewed)


def exact_match(path: Path) -> tuple[float, int]:
    """Share of test problems whose greedily generated text is the target, and their number."""
    session = open_session(path)
    problems, _ = draw_problems()
    ids = encode_prompts(problems)
    running = np.ones(len(ids), dtype=bool)
    stop = VOCABULARY.index(".")
    for position in range(PROMPT_LENGTH, PROMPT_LENGTH + NEW_TOKENS):
        logits = session.run(["logits"], {"ids": ids[running]})[0]
        ids[running, position] = logits[:, position - 1].argmax(1)
        running &= (ids[:, position] != stop) & (ids[:, position] != PAD)
        if not running.any():
            break
    rows = zip(ids, problems, strict=True)
    return float(np.mean([decode(row[PROMPT_LENGTH:]) == problem.target for row, problem in rows])), len(problems)
