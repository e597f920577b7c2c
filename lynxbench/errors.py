"""Every exception that LynxBench raises on purpose.

    LynxBenchError                  exit code 1
    ├── UsageError                  2   a command or a call was asked in a way that cannot be answered
    │   └── DeclarationError        2   a TOML file, model, data set or option is wrong; carries every problem at once
    ├── StoreError                  3   results could not be written or read (disk full, corrupt file)
    │   ├── FolderBusy              2   another sweep holds the results folder
    │   └── Unreachable             3   an object store does not answer, which may pass
    ├── FetchError              3   an archive that a suite is made from could not be had
    ├── CellError                   3   one cell could not be measured; becomes a record with a status and a reason
    └── UntrustedInput              4   somebody else's file was refused

Only `cli` turns these into messages and exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CellError",
    "DeclarationError",
    "FailureStatus",
    "FetchError",
    "FolderBusy",
    "LynxBenchError",
    "Problem",
    "StoreError",
    "Unreachable",
    "UntrustedInput",
    "UsageError",
]

FailureStatus = Literal["partial", "unavailable", "unsupported", "rejected", "failed", "timeout", "oom", "interrupted"]


class LynxBenchError(Exception):
    """The root of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(LynxBenchError):
    """The request itself is at fault, not the machine or the data."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one declaration, said so that it can be mended without reading our code.

    `key` is the dotted path inside the file (``schemes[2].per_channel``); `hint` says what to try.
    """

    file: str
    key: str
    message: str
    value: str | None = None
    expected: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        parts = [f"{self.file}: {self.key}: {self.message}" if self.key else f"{self.file}: {self.message}"]
        if self.value is not None:
            parts.append(f"  found     {self.value}")
        if self.expected is not None:
            parts.append(f"  expected  {self.expected}")
        if self.hint is not None:
            parts.append(f"  try       {self.hint}")
        return "\n".join(parts)


class DeclarationError(UsageError):
    """One or more declarations are wrong. `problems` holds them all, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StoreError(LynxBenchError):
    """Results could not be written or read. The message names the path and what is still safe."""

    exit_code = 3


class FolderBusy(StoreError):
    """Another sweep is writing to this results folder."""

    exit_code = 2


class Unreachable(StoreError):
    """An object store or the way to it does not answer; the same may go through later."""


class FetchError(LynxBenchError):
    """An archive of a suite could not be had: no network, no such version, no tool to get it with."""

    exit_code = 3


class CellError(LynxBenchError):
    """A cell has no measurement; `status` and `reason` go into its record.

    `status` is one of the record statuses other than ``ok``.
    """

    exit_code = 3

    def __init__(self, status: FailureStatus, reason: str) -> None:
        self.status: FailureStatus = status
        self.reason = reason
        super().__init__(f"{status}: {reason}")


class UntrustedInput(LynxBenchError):
    """A file from somebody else broke a rule; nothing of it was used."""

    exit_code = 4
