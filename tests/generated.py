"""Files that are made from the code: `python -m tests.generated --write` writes them, a test compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from lynxbench.records.schema import SCHEMA_VERSION, markdown

ROOT = Path(__file__).resolve().parent.parent

RESULTS_INTRODUCTION = f"""# Results

`lynxbench sweep` writes one folder a sweep. Only `reference/` is committed here; `make validate` checks it.

| file | one row is | key |
| --- | --- | --- |
| `records.parquet` | a cell: a candidate under a scenario, with timing, scores and full disclosure | `cell_id` |
| `predictions.parquet` | what a candidate answered for one sample | `predictions_id`, `sample_id` |
| `latencies.parquet` | one timed query | `cell_id` |
| `sweep.json` | what was measured: the suite and its digest | |

`parts/` holds cells that were finished since the last merge; it is empty after a sweep has ended. Every file carries
page checksums. Read them with what you have:

```python
import lynxbench, pandas, polars, duckdb

lynxbench.load("results").records                                 # Arrow, of all folders below, every row checked
pandas.read_parquet("results/starter/records.parquet")
polars.read_parquet("results/starter/records.parquet")
duckdb.sql("select model, scheme, p50_ns, primary_loss from 'results/starter/records.parquet'")
```

[docs/results.md](../docs/results.md) shows `lynxbench show`, `compare` and `query`, and how sets of millions of records
are laid out. Where rows of several folders stand in one table, a column `folder` says where each lies; keys are unique
within a folder, so join on it too.

Timing percentiles are derived from the rows of `latencies.parquet` with `excluded = false`; scores from
`predictions.parquet`. Both can be recomputed from the files alone, and a test does.

**status**: `ok`; `partial` (part of the model ran elsewhere than asked); `unavailable` (the executor is not here);
`unsupported`; `rejected` (it ran, but not what was asked); `failed`; `timeout`; `oom`; `interrupted`. A row that is not
`ok` has a `reason`. Only `ok` rows that are not `simulated` may be ranked.

**verdict**: `robust` (the interval of the loss lies within the tolerance), `fragile` (it lies beyond), `inconclusive`
(it straddles; `required_n` says how many samples would decide), `reference`.

**null** means not known or not supported by the data, never zero.

## Fields of `records.parquet`, schema version {SCHEMA_VERSION}

This part is generated from `lynxbench/records/fields.py` by `make docs`.

"""


def files() -> dict[Path, str]:
    """Path → content of every generated file."""
    return {ROOT / "results" / "README.md": RESULTS_INTRODUCTION + markdown().rstrip() + "\n"}


def main() -> None:
    """Write the files."""
    for path, content in files().items():
        path.write_text(content)
        print(path.relative_to(ROOT))


if __name__ == "__main__" and "--write" in sys.argv:
    main()
