"""Everything that a user declares, as frozen pydantic models, and where declarations are found.

Imports nothing of LynxBench but `errors`. Nothing here loads a model, a data set or ONNX Runtime.
"""
