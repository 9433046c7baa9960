"""torch models that Python code builds: a factory that the card names, or a pickle that whoever exports trusts."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.graph import Surgery
from slipway_export.sources.torch_program import TorchProgram
from slipway_export.sources.torch_reference import TorchReference, quiet, reason
from slipway_export.sources.torch_weights import content_hash
from slipway_export.wording import one_line


class TorchModule:
    """A module in eval mode. Its own answers are the reference; its graph is a program that torch.export traced."""

    def __init__(self, card: ModelCard, module: torch.nn.Module, content: bytes, remarks: tuple[str, ...] = ()) -> None:
        self.remarks = remarks
        self.sha256 = hashlib.sha256(content).hexdigest() if content else content_hash(module)
        vision = ("torchvision",) if card.source.torchvision else ()
        self.libraries = (*TorchProgram.libraries, *vision)
        module = module.eval().cpu()
        what = f"the module of {card.source.factory or card.source.path}"
        self._reference = TorchReference(card, module, what, _REMEDY)
        self._reference.try_out()
        self._program = TorchProgram(card, _traced(card, module, what, self._reference.example), what, _REMEDY)
        self._reference.require_independence()

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._reference.predict(inputs)

    def to_onnx(self) -> Surgery:
        return self._program.to_onnx()


_REMEDY = "let its forward take any number of items: x.flatten(1) and x.shape[0], no number"


def built(card: ModelCard, factory: str) -> torch.nn.Module:
    """What the card's ``package.module:callable`` gives. Raises :class:`ExportFailed`.

    Modules are also looked for in the working directory, after all other places.
    """
    module_name, _, path = factory.partition(":")
    with _working_directory_importable():
        try:
            make: Any = import_module(module_name)
            for name in path.split("."):
                make = getattr(make, name)
        except (Exception, SystemExit) as e:
            raise ExportFailed(card.name, _not_found(factory, module_name, e)) from None
        try:
            made = make(**card.source.arguments)
        except (Exception, SystemExit) as e:
            raise ExportFailed(card.name, f"{factory} failed: {type(e).__name__}: {one_line(Exception(e))}") from None
    if not isinstance(made, torch.nn.Module):
        raise ExportFailed(card.name, f"{factory} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def _not_found(factory: str, module: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        return (
            f"source.factory = {factory!r}: there is no module {error.name!r} here or installed; set PYTHONPATH to it"
        )
    if isinstance(error, AttributeError) and module in sys.modules:
        return f"source.factory = {factory!r}: {one_line(error)}"
    return (
        f"source.factory = {factory!r}: importing {module} failed: {type(error).__name__}: {one_line(Exception(error))}"
    )


@contextmanager
def _working_directory_importable() -> Generator[None]:
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _traced(card: ModelCard, module: torch.nn.Module, what: str, example: torch.Tensor) -> Any:
    """The module's program with a free batch axis. Raises :class:`ExportFailed` that says why there is none."""
    try:
        with quiet():
            return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except Exception as e:  # torch._dynamo's, torch.fx's and the module's own
        place = _place(e)
        at = f" at {place}" if place else ""
        if "specialized it to be a constant" in str(e):
            why = f"{what} takes batches of one size only: its code makes a number of the batch size; {_REMEDY}"
        elif "data-dependent" in str(e):
            why = (
                f"{what} decides by the values of the batch{at}, which a traced graph cannot; use torch.where, or "
                "save it with torch.jit.script and give that file"
            )
        else:
            why = f"{what} cannot be traced{at}: {reason(e)}"
        raise ExportFailed(card.name, why) from None


def _place(error: Exception) -> str:
    """The line of the model's own code, the innermost outside torch."""
    ours = Path(torch.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not Path(frame.filename).is_relative_to(ours) and frame.filename != __file__:
            return f"{Path(frame.filename).name}, line {frame.lineno}"
    return ""
