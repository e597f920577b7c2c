"""From a resolved suite to records: plan → groups → workers → records; resume is the same call again.

Imports every room but `cli`. The process that runs a sweep never imports ONNX Runtime; workers and builders do.
"""
