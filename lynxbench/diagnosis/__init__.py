"""Why a candidate lost accuracy and why it is not faster: numbers, causes with evidence, and where the time goes.

Imports `sweep` and what is below it. As in a sweep, what loads ONNX Runtime runs in a child process (`prober`); what
comes back are plain numbers, from which `causes` concludes. Nothing here decides what a candidate should be instead.
"""
