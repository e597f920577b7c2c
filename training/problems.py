"""Chains of arithmetic modulo 100: what a problem is, how it is written out, and the files the suite ships.

A problem of k steps is k + 1 two-digit operands joined by k operators and closed by "=". It is evaluated from left to
right, with no precedence, and every running total is taken modulo 100 (never negative). The target writes each running
total as two digits, least significant first, closed by ";" or, after the last one, by ".":

    17+23*04=   ->   17 + 23 = 40, 40 * 4 = 160 -> 60   ->   04;06.

Layout of the model's ids (fixed length, no beginning-of-sequence token):

    positions 0 … 26    the prompt, PAD on its right when it has fewer than 8 steps
    positions 27 … 50   the text generated, three characters a step
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VOCABULARY = "0123456789+-*=;#."
PAD = len(VOCABULARY)
TOKENS = len(VOCABULARY) + 1
OPERATORS = "+-*"
MODULUS = 100
MOST_STEPS = 8
PROMPT_LENGTH = 3 * MOST_STEPS + 3
NEW_TOKENS = 3 * MOST_STEPS
LENGTH = PROMPT_LENGTH + NEW_TOKENS

TEST_PER_STEPS, CALIBRATION_PER_STEPS = 150, 32
PROBLEMS_SEED = 8_100


@dataclass(frozen=True)
class Problem:
    """One line of a problem file. `operators` holds the distinct operators used, in the order of "+-*"."""

    id: str
    prompt: str
    target: str
    steps: int
    operators: str


def running_totals(operands: NDArray[np.int64], operators: NDArray[np.int64]) -> NDArray[np.int64]:
    """Totals after each step, modulo 100.

    Args:
        operands: [n, k + 1], each 0–99.
        operators: [n, k], indices into `OPERATORS`.

    Returns:
        [n, k], each 0–99.
    """
    totals = np.empty_like(operators)
    total = operands[:, 0]
    for step in range(operators.shape[1]):
        operand = operands[:, step + 1]
        total = np.choose(operators[:, step], [total + operand, total - operand, total * operand]) % MODULUS
        totals[:, step] = total
    return totals


def encode_batch(
    operands: NDArray[np.int64], operators: NDArray[np.int64], steps: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Write problems and their solutions as ids.

    Args:
        operands: [n, 9], each 0–99; a problem of k steps uses the first k + 1.
        operators: [n, 8], indices into `OPERATORS`; a problem of k steps uses the first k.
        steps: [n], each 1–8.

    Returns:
        int64 [n, 51]; PAD wherever the prompt or the solution has ended.
    """
    count = len(steps)
    ids = np.full((count, LENGTH), PAD, dtype=np.int64)
    totals = running_totals(operands, operators)
    for slot in range(MOST_STEPS + 1):
        used = slot <= steps
        ids[used, 3 * slot] = operands[used, slot] // 10
        ids[used, 3 * slot + 1] = operands[used, slot] % 10
        more = slot < steps
        if slot < MOST_STEPS:
            ids[more, 3 * slot + 2] = VOCABULARY.index("+") + operators[more, slot]
            start = PROMPT_LENGTH + 3 * slot
            ids[more, start] = totals[more, slot] % 10
            ids[more, start + 1] = totals[more, slot] // 10
            ids[more, start + 2] = VOCABULARY.index(";")
    rows = np.arange(count)
    ids[rows, 3 * steps + 2] = VOCABULARY.index("=")
    ids[rows, PROMPT_LENGTH + 3 * steps - 1] = VOCABULARY.index(".")
    return ids


def random_ids(
    generator: np.random.Generator, steps: NDArray[np.int64], shares: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Random problems with the given numbers of steps [n], solved: int64 [n, 51].

    `shares` are the operators' probabilities, in the order of "+-*"; equal if left out.
    """
    operands = generator.integers(0, MODULUS, (len(steps), MOST_STEPS + 1))
    operators = generator.choice(len(OPERATORS), (len(steps), MOST_STEPS), p=shares)
    return encode_batch(operands, operators, steps)


def decode(ids: Iterable[int]) -> str:
    """The text of a row of ids, PAD left out."""
    return "".join(VOCABULARY[token] for token in ids if token != PAD)


def _draw(generator: np.random.Generator, taken: set[str], per_steps: int, prefix: str) -> list[Problem]:
    """Draw new problems, k = 1 … 8 in turn, so that any first part of a file holds every number of steps."""
    problems = []
    for number in range(per_steps * MOST_STEPS):
        steps = number % MOST_STEPS + 1
        while True:
            row = random_ids(generator, np.array([steps]))[0]
            prompt = decode(row[:PROMPT_LENGTH])
            if prompt not in taken:
                break
        taken.add(prompt)
        operators = "".join(sign for sign in OPERATORS if sign in prompt)
        target = decode(row[PROMPT_LENGTH:])
        problems.append(Problem(f"{prefix}{number + 1:04d}", prompt, target, steps, operators))
    return problems


def draw_problems() -> tuple[list[Problem], list[Problem]]:
    """The 1,200 test and the 256 calibration problems; no prompt occurs twice."""
    generator = np.random.default_rng(PROBLEMS_SEED)
    taken: set[str] = set()
    test = _draw(generator, taken, TEST_PER_STEPS, "t")
    return test, _draw(generator, taken, CALIBRATION_PER_STEPS, "c")


def encode_prompts(problems: Iterable[Problem]) -> NDArray[np.int64]:
    """What the model is given before it generates: int64 [n, 51], PAD from the prompt's end on."""
    rows = [[VOCABULARY.index(character) for character in problem.prompt] for problem in problems]
    return np.array([row + [PAD] * (LENGTH - len(row)) for row in rows], dtype=np.int64)


def _write_lines(problems: Iterable[Problem], path: Path) -> None:
    path.write_text("".join(json.dumps(asdict(problem)) + "\n" for problem in problems), encoding="utf-8")


def build_problems(folder: Path) -> None:
    """Write both problem files and the tokenizer's description into `folder`."""
    test, calibration = draw_problems()
    _write_lines(test, folder / "arithmetic-test.jsonl")
    _write_lines(calibration, folder / "arithmetic-calibration.jsonl")
    tokenizer = {
        "vocabulary": VOCABULARY,
        "pad_id": PAD,
        "bos_id": None,
        "prompt_length": PROMPT_LENGTH,
        "max_new_tokens": NEW_TOKENS,
        "stop": ".",
        "note": (
            "A character's id is its index in the vocabulary; nothing is prepended. The prompt stands at position 0 "
            "and is padded on the right with pad_id to prompt_length; the rest of the fixed length prompt_length + "
            "max_new_tokens holds pad_id until generated. logits[:, t] predicts the id at t + 1, so the first "
            "generated character is read at position prompt_length - 1 and written at position prompt_length."
        ),
    }
    (folder / "arithmetic-tokenizer.json").write_text(json.dumps(tokenizer, indent=2) + "\n", encoding="utf-8")
