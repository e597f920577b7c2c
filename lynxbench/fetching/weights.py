"""Reading tensors out of files of weights, without running what they hold."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import UntrustedInput

Tensors = dict[str, npt.NDArray[np.float32]]
# What a header of safetensors may take; that of a model of 500 tensors takes 50 kB.
LARGEST_HEADER_BYTES = 16 << 20


def read_safetensors(content: bytes, name: str) -> Tensors:
    """All float32 tensors of a safetensors file called `name`; tensors of other types are left out.

    The format: https://huggingface.co/docs/safetensors (length of the header, header as JSON, data). Raises
    `UntrustedInput` where the file is not what its header says.
    """
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > min(LARGEST_HEADER_BYTES, len(content) - 8):
            raise ValueError(f"a header of {length} bytes")
        header: dict[str, dict[str, Any]] = json.loads(content[8 : 8 + length])
        data = memoryview(content)[8 + length :]
        found: Tensors = {}
        for key, entry in header.items():
            if key == "__metadata__" or entry["dtype"] != "F32":
                continue
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= len(data):
                raise ValueError(f"{key} lies outside the file")
            found[key] = np.frombuffer(data[start:end], dtype="<f4").reshape(entry["shape"])
        return found
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UntrustedInput(f"{name}: it is no sound safetensors file: {error}; nothing of it was used") from None
