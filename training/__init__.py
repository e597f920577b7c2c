"""Builds the data and trains the models of the `starter` suite.

A development tool: nothing in `lynxbench` may import it, and the wheel leaves it out. It may import PyTorch, ONNX,
ONNX Runtime and NumPy, and nothing of `lynxbench`.
"""
