"""Voice activity: Silero's network for whole sequences, taking a batch of them.

As it comes, the network takes the windows of one sequence, [windows, 576], and the state of its LSTM. Here it takes
[batch, windows, 576] and begins each sequence in the state zero, so that several can be answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.archives import read_member

MODEL = "silero_vad/data/silero_vad_16k_sequence.onnx"
WINDOW_SAMPLES = 576  # 512 new ones, and the last 64 of the window before


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """model.onnx: windows [batch, windows, 576] → the probability of speech in each, [batch, windows]."""
    onnx.save(batched(onnx.load_from_string(read_member(archives["silero-vad"], MODEL))), folder / "model.onnx")


def batched(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for a batch of sequences. Raises `UntrustedInput` where it is not the network expected."""
    graph = model.graph
    nodes = list(graph.node)
    kinds = [node.op_type for node in nodes]
    if [item.name for item in graph.input] != ["input", "h", "c"] or kinds.count("LSTM") != 1:
        raise UntrustedInput(f"{MODEL}: it is not the network that this recipe knows; nothing of it was used")
    lstm = nodes[kinds.index("LSTM")]
    last = nodes[-1]
    # Every window alone through the encoder; [batch · windows, 1, 128] comes out.
    for node in nodes:
        node.input[:] = ["each_window" if name == "input" else name for name in node.input]
    encoded = lstm.input[0]
    lstm.input[:] = ["by_time", *lstm.input[1:4]]
    lstm.output[:] = lstm.output[:1]
    unused = last.input[1]
    last.input[1] = "to_rows"
    nodes = [node for node in nodes if unused not in node.output]
    constants = {
        "to_windows": [-1, WINDOW_SAMPLES],
        "shape_start": [0],
        "shape_end": [2],
        "encoded_width": [128],
        "to_rows": [0, -1],
    }
    before = [
        helper.make_node("Shape", ["windows"], ["shape"]),
        helper.make_node("Reshape", ["windows", "to_windows"], ["each_window"]),
    ]
    between = [
        helper.make_node("Slice", ["shape", "shape_start", "shape_end"], ["batch_and_time"]),
        helper.make_node("Concat", ["batch_and_time", "encoded_width"], ["by_sequence_shape"], axis=0),
        helper.make_node("Reshape", [encoded, "by_sequence_shape"], ["by_sequence"]),
        helper.make_node("Transpose", ["by_sequence"], ["by_time"], perm=[1, 0, 2]),
    ]
    place = nodes.index(lstm)
    del graph.node[:]
    graph.node.extend([*before, *nodes[:place], *between, *nodes[place:]])
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, dtype=np.int64), name) for name, values in constants.items()
    )
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", "time", WINDOW_SAMPLES]))
    graph.output.append(helper.make_tensor_value_info("speech_probs", TensorProto.FLOAT, ["batch", "time"]))
    onnx.checker.check_model(model, full_check=True)
    return model
