"""The parts of the stand-in for Triton's ONNX Runtime backend that know nothing of Triton's bindings.

Copied with ``model.py`` into Triton's backend directory: nothing else of slipway can be imported here.
"""
