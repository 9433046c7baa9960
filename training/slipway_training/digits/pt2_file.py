"""A torch net as a ``.pt2`` file, proven to take any batch size."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

TRIED_BATCHES = (1, 2, 7, 64)
# Larger than any batch that is served, and small enough for 32-bit shape arithmetic.
LARGEST_BATCH = 65536


class BatchNotDynamic(Exception):
    """The exported program does not do at some batch size what the net does."""


def pt2_bytes(net: nn.Module, inputs: Tensor) -> bytes:
    """Export a net in evaluation mode with a dynamic batch axis, reload it and try it at several batch sizes.

    ``inputs`` are real ones, ``[n, ...]``. Raises :class:`BatchNotDynamic` when a reloaded answer differs.
    """
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    try:
        # A sample batch of 1 would be taken for a constant.
        program = torch.export.export(net, (inputs[:2],), dynamic_shapes=({0: batch},))
    except RuntimeError as e:
        raise BatchNotDynamic(f"the net does not export with a dynamic batch: {str(e).splitlines()[0]}") from e
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    _try(buffer.getvalue(), net, inputs)
    return buffer.getvalue()


def logits_of(program: bytes, inputs: Tensor) -> Tensor:
    """What the net in a ``.pt2`` file answers."""
    with torch.no_grad():
        return torch.export.load(io.BytesIO(program)).module()(inputs)


def _try(program: bytes, net: nn.Module, inputs: Tensor) -> None:
    loaded = torch.export.load(io.BytesIO(program)).module()
    for size in TRIED_BATCHES:
        sample = inputs[torch.arange(size) % len(inputs)]
        try:
            with torch.no_grad():
                got, wanted = loaded(sample), net(sample)
        except (RuntimeError, AssertionError) as e:
            raise BatchNotDynamic(f"the exported net fails at batch {size}: {str(e).splitlines()[0]}") from e
        if got.shape != wanted.shape or not torch.allclose(got, wanted, rtol=1e-4, atol=1e-5):
            raise BatchNotDynamic(f"the exported net answers differently at batch {size}")
