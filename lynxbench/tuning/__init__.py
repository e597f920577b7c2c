"""Which scheme mends a loss: proposals from a diagnosis, tried on one part of the test set, scored on the other.

Imports `diagnosis`, `sweep` and what is below them. Every candidate that is tried is an ordinary cell of an ordinary
sweep: `search` writes suites, runs them and reads their records; `proposals` says what is worth trying.
"""
