"""Multi-step reasoning: sums that go on from their own results, as a text that a small model can be asked to continue.

"7 + 8 =" is to go on as " 15; 15 + 8 = 23; 23 + 8 = 31; 31 + 8 = 39", after four such lines. Each step needs the
result of the one before, so that errors compound; and what a step adds stands in the line, so that no other skill is
asked. In a list of different numbers to be added ("7 + 8 + 3 + 9 ="), a model of this size loses its place.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

STEPS = 4
# Size of what is added → where chains start, what they add, and the four examples. No result has three digits.
SIZES = {
    "one-digit": (range(2, 25), range(2, 10), ((5, 6), (3, 8), (7, 4), (2, 9))),
    "two-digit": (range(11, 35), range(11, 17), ((14, 17), (23, 12), (11, 15), (18, 13))),
}
TEST, CALIBRATION = 100, 40  # of each size
SEED = 20_260


def write_chains(folder: Path) -> None:
    """chains-test.jsonl and chains-calibration.jsonl: no chain is in both, and none is an example."""
    rows: dict[str, list[dict[str, str]]] = {"test": [], "calibration": []}
    for size, (starts, addends, examples) in SIZES.items():
        shown = "".join(f"{start} + {addend} ={answer(start, addend)}\n" for start, addend in examples)
        chains = [(start, addend) for start in starts for addend in addends if (start, addend) not in examples]
        random.Random(SEED).shuffle(chains)
        for number, (start, addend) in enumerate(chains[: TEST + CALIBRATION]):
            rows["test" if number < TEST else "calibration"].append(
                {
                    "id": f"{start}+{addend}",
                    "addends": size,
                    "prompt": f"{shown}{start} + {addend} =",
                    "target": answer(start, addend),
                }
            )
    for name, found in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in found)
        (folder / f"chains-{name}.jsonl").write_text(text, encoding="utf-8")


def answer(start: int, addend: int) -> str:
    """All steps of a chain, from the first result on."""
    results = [start + addend * step for step in range(1, STEPS + 1)]
    steps = [f" {before} + {addend} = {after}" for before, after in itertools.pairwise(results)]
    return ";".join([f" {results[0]}", *steps])
