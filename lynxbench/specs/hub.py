"""Files on the Hugging Face hub, at a pinned revision."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from lynxbench.errors import DeclarationError, Problem

HUB = "hf://"
_PINNED = re.compile(r"hf://(?P<data>datasets/)?(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})/(?P<path>.+)")
# How exporters call the file beside a graph that holds its weights.
_EXTERNAL = ("_data", ".data")


def hub_file(address: str) -> Path:
    """The local copy of ``hf://org/name@revision/file``, or of ``hf://datasets/…``, downloaded where it is not there.

    The revision is a commit, 40 hex digits: a branch can move under a result. Weights beside an ONNX graph come along.
    Raises `DeclarationError`.
    """
    pinned = _PINNED.fullmatch(address)
    if pinned is None:
        expected = "hf://org/name@COMMIT/path/to/file, or hf://datasets/…; COMMIT is 40 hex digits"
        raise _wrong(address, "is no pinned address on the hub", expected, "copy the commit from the page's history")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise _wrong(address, "needs huggingface_hub", None, "pip install 'lynxbench[hub]'") from None
    kind = "dataset" if pinned["data"] else "model"

    def local(path: str) -> Path:
        return Path(hf_hub_download(pinned["repo"], path, repo_type=kind, revision=pinned["revision"]))

    try:
        found = local(pinned["path"])
    except Exception as error:  # the hub's errors are of many libraries: HTTP, its own, the disk's
        text = " ".join(str(error).split())[:300]
        raise _wrong(
            address, f"cannot be had: {type(error).__name__}: {text}", None, "check name, revision, network"
        ) from None
    if found.suffix == ".onnx":
        for suffix in _EXTERNAL:
            with contextlib.suppress(Exception):  # most graphs have none
                local(pinned["path"] + suffix)
    return found


def _wrong(address: str, message: str, expected: str | None, hint: str) -> DeclarationError:
    return DeclarationError([Problem(address, "", message, expected=expected, hint=hint)])
