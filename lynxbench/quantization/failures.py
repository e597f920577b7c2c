"""What the libraries raise, as the errors that become a record."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lynxbench.errors import CellError, LynxBenchError

_LONGEST = 400
_QUOTED = re.compile(r"'[^']*'|`[^`]*`|\"[^\"]*\"")


def plain(error: BaseException) -> str:
    """An exception's message on one line, cut where it gets long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


@contextmanager
def failing_as(doing: str) -> Iterator[None]:
    """Turn whatever the libraries raise inside into a `CellError` that says what was being done.

    What ONNX Runtime has no kernel for is `unsupported`, want of memory `oom`, the rest `failed`.
    """
    try:
        yield
    except (LynxBenchError, KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        raise CellError("oom", f"{doing}: out of memory") from None
    except Exception as error:  # ONNX Runtime, onnx and protobuf share no base class
        no_kernel = type(error).__name__ in {"NotImplemented", "NotImplementedError"}
        raise CellError("unsupported" if no_kernel else "failed", f"{doing}: {plain(error)}") from error


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kinds: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = " ".join(record.getMessage().split())[:_LONGEST]
        # Advice about a step that we take ourselves.
        if "pre-processing before quantization" not in message:
            self.kinds.setdefault(_QUOTED.sub("", message), []).append(message)

    def messages(self) -> list[str]:
        """Each kind of remark once, with how often it was made about other tensors."""
        return [
            messages[0] + (f" (and {len(messages) - 1} more like it)" if len(messages) > 1 else "")
            for messages in self.kinds.values()
        ]


@contextmanager
def remarks(into: list[str]) -> Iterator[None]:
    """Put what the libraries log as warnings or worse `into` a list: it belongs into the manifest, not the terminal."""
    root = logging.getLogger()
    collector = _Collector()
    others = root.handlers[:]
    root.handlers[:] = [collector]
    try:
        yield
    finally:
        root.handlers[:] = others
        into.extend(collector.messages())
