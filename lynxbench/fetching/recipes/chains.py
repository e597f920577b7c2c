"""Multi-step reasoning: sums that go on from their own results, as a text that a small model can be asked to continue.

"7 + 8 =" is to go on as " 15; 15 + 8 = 23; 23 + 8 = 31; 31 + 8 = 39", after four such lines. Each step needs the result
of the one before, so that errors compound; and what a step adds stands in the line, so that no other skill is asked. Of a
list of different numbers to be added ("7 + 8 + 3 + 9 ="), a model of this size loses the place: 0 of 24 answers were right.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

STEPS = 4
LARGEST = 99  # of any result
STARTS = range(2, 31)
ADDENDS = {"one-digit": range(2, 10), "two-digit": range(11, 24)}
EXAMPLES = ((5, 6), (12, 17), (23, 4), (8, 21))
TEST, CALIBRATION = 100, 64  # of each size of addend
SEED = 20_260


def write_chains(folder: Path) -> None:
    """chains-test.jsonl and chains-calibration.jsonl: no chain is in both, and none is an example."""
    shown = "".join(f"{start} + {addend} ={answer(start, addend)}\n" for start, addend in EXAMPLES)
    rows: dict[str, list[dict[str, str]]] = {"test": [], "calibration": []}
    for size, addends in ADDENDS.items():
        chains = [
            (start, addend)
            for start in STARTS
            for addend in addends
            if start + STEPS * addend <= LARGEST and (start, addend) not in EXAMPLES
        ]
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
    steps = [f" {before} + {addend} = {after}" for before, after in zip(results, results[1:], strict=False)]
    return ";".join([f" {results[0]}", *steps])
