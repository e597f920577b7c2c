"""The command line: the only place that prints or exits.

Results go to stdout, progress and messages to stderr. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> None:
    """Run `lynxbench` and exit with its code.

    0 all well, 1 a gate failed, 2 usage, 3 some cells failed, 4 untrusted input refused, 130 interrupted.
    """
    from lynxbench.errors import LynxBenchError

    try:
        from lynxbench.cli.app import app

        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except LynxBenchError as error:
        from lynxbench.cli.text import plain

        kind = "error" if error.exit_code != 4 else "refused"
        sys.stderr.write(f"{kind}: {plain(str(error), keep_lines=True)}\n")
        code = error.exit_code
    except BrokenPipeError:
        # `lynxbench show | head`: the reader has seen enough.
        sys.stderr.close()
        code = 0
    except Exception as error:
        code = _usage(error)
    _leave(code if isinstance(code, int) else 0)


def _leave(code: int) -> NoReturn:
    """End with `code` once everything is written and cleaned up, without taking the process apart.

    The threads of native libraries (Arrow's) may still run when their globals are destroyed, which aborts the process
    now and then: seen once in some hundred runs on a busy machine, after all work was done and kept.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a reader that has gone, a stream that was closed
            stream.flush()
    os._exit(code)


def _usage(error: Exception) -> int:
    """Typer's own usage errors, said its way; anything else is a defect and keeps its traceback."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    return int(getattr(error, "exit_code", 2))
