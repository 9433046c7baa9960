"""Real models behind a real Triton, published once for all tests of what talks to it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from slipway_client import Client
from slipway_export import export
from support.export import iris_card, pixels_card
from support.triton import RunningTriton, publish_python

FLOWERS, PIXELS, MIRROR = "flowers", "pixels", "mirror"

_MIRROR = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        return pb.InferenceResponse([
            pb.Tensor(tensor.name().replace("in", "out", 1), tensor.as_numpy()) for tensor in request.inputs()
        ])
"""
_DATATYPES = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")


def publish_all(triton: RunningTriton) -> None:
    """Export a tabular and an image model, write a model that mirrors every datatype, and load them; once."""
    if (triton.repository / MIRROR).exists():
        return
    for card, name in ((iris_card, FLOWERS), (pixels_card, PIXELS)):
        with TemporaryDirectory() as folder:
            export(card(Path(folder), name=name), repository=triton.repository)
    kinds = {f"in_{name.lower()}": f"TYPE_{name}" for name in _DATATYPES} | {"in_bytes": "TYPE_STRING"}
    config = "max_batch_size: 4\n" + "".join(
        f'input {{ name: "{name}" data_type: {kind} dims: -1 optional: true }}\n'
        + f'output {{ name: "{name.replace("in", "out", 1)}" data_type: {kind} dims: -1 }}\n'
        for name, kind in kinds.items()
    )
    publish_python(triton.repository, MIRROR, _MIRROR, config)
    with Client(triton.grpc) as client:
        for name in (FLOWERS, f"{PIXELS}_net", PIXELS, MIRROR):
            client.load(name)
