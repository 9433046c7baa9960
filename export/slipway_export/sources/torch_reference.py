"""A torch model asked as it is: what the converted one must equal."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array, TensorSpec
from slipway_export.answers import answers, check_width, raw_output_kind
from slipway_export.graph import RawOutput
from slipway_export.signature import source_inputs
from slipway_export.wording import one_line

# Not one: torch.export takes an axis of 0 or 1 for a fixed one. Not two either, a number that models have of their own.
EXAMPLE_BATCH = 3


class TorchReference:
    """A callable of one FP32 tensor ``[batch, ...]``. ``what`` names it in messages, ``remedy`` says how to free its
    batch."""

    def __init__(self, card: ModelCard, run: Callable[[torch.Tensor], Any], what: str, remedy: str) -> None:
        self._card, self._run, self._what, self._remedy = card, run, what, remedy
        self.kind: RawOutput = raw_output_kind(card)
        self.input: TensorSpec = _only_input(card)

    @property
    def example(self) -> torch.Tensor:
        """A batch of the card's shape; the same numbers every time."""
        shape = (EXAMPLE_BATCH, *self.input.shape)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def try_out(self) -> None:
        """Raises :class:`ExportFailed` when the model does not take a batch of what the card makes."""
        shape = ["batch", *self.input.shape]
        try:
            raw = self._answer(self.example)
        except Exception as e:  # a model raises what it likes
            raise ExportFailed(
                self._card.name, f"{self._what} does not run on FP32 {shape}, which the card makes ({reason(e)})"
            ) from None
        if not isinstance(raw, torch.Tensor):
            raise ExportFailed(
                self._card.name,
                f"{self._what} gives a {type(raw).__name__}, not one tensor; let its forward return the first alone",
            )

    def require_independence(self) -> None:
        """Raises :class:`ExportFailed` when an item alone is answered otherwise than in a batch."""
        raw = self._answer(self.example)
        try:
            alone = self._answer(self.example[:1])
        except Exception as e:
            raise self._refused(1, e) from None
        apart = 1e-3 * float(raw.abs().max())  # rounding alone stays far below
        if alone.shape != raw[:1].shape or not torch.allclose(alone, raw[:1], rtol=0, atol=apart, equal_nan=True):
            raise ExportFailed(
                self._card.name,
                f"{self._what} answers an item alone otherwise than the same item in a batch; Triton gathers requests "
                "into batches, so an answer must not depend on their number or on its neighbours",
            )

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The contract's outputs. Raises :class:`ExportFailed` for a batch that the model does not take."""
        batch = inputs[self.input.name]
        try:
            raw = self._answer(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
        except Exception as e:
            raise self._refused(len(batch), e) from None
        if len(raw) != len(batch):
            raise ExportFailed(
                self._card.name,
                f"{self._what} answers {len(raw)} items for a batch of {len(batch)}; {self._remedy}",
            )
        check_width(self._card, raw.reshape(len(raw), -1).shape[1])
        return answers(raw, self.kind)

    def _refused(self, size: int, error: Exception) -> ExportFailed:
        return ExportFailed(
            self._card.name, f"{self._what} does not run on a batch of {size} ({reason(error)}); {self._remedy}"
        )

    def _answer(self, batch: torch.Tensor) -> Any:
        with torch.inference_mode(), quiet():
            return self._run(batch)


def refuse_training(card: ModelCard, what: str, operators: list[str]) -> None:
    """Raises :class:`ExportFailed` for operators that work as in training: at random, or on the batch's statistics."""
    if operators:
        raise ExportFailed(
            card.name,
            f"{what} works as in training ({', '.join(dict.fromkeys(operators))}): its answers would be random or "
            "depend on their neighbours in the batch; call eval() before saving it, and give functional forms "
            "training=self.training",
        )


def trains(arguments: Mapping[str, Any]) -> bool:
    """Whether an operator's arguments say so. A recurrent layer without dropout has nothing to train by."""
    says = any(arguments.get(name) is True for name in ("train", "training"))
    drops = arguments.get("dropout", 1) != 0 and arguments.get("p", 1) != 0
    return (says and drops) or bool(arguments.get("dropout_p"))


def reason(error: Exception) -> str:
    """The sentence of torch's exception that says what is wrong: the first, but of TorchScript's the last."""
    text = str(error).strip()
    if "TorchScript" in text:
        return one_line(Exception(text.splitlines()[-1].removeprefix("RuntimeError: ")))
    return one_line(Exception(text.split("\n\n")[0]) if text else error)


@contextmanager
def quiet() -> Generator[None]:
    """torch's exporters tell of their progress and their deprecations, and print a graph with which they fail."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _only_input(card: ModelCard) -> TensorSpec:
    specs = source_inputs(card)
    if len(specs) != 1:
        raise ExportFailed(card.name, "a torch model takes FP32 features only; mend the card's inputs")
    return specs[0]
