"""TorchScript through the gate, and the code in it that nobody asked for."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from slipway_core.errors import ExportFailed, UntrustedSource
from slipway_export import export
from slipway_export.runtime import Session
from support import export_torch_modules as modules
from support.export import pixel_images
from support.export_torch import SmallNet, torch_card

EXAMPLE = torch.rand(3, 1, 8, 8)
IN_TRAINING = (
    "its answers would be random or depend on their neighbours in the batch; call eval() before saving it, and give "
    "functional forms training=self.training"
)


def scripted(folder: Path, module: torch.nn.Module) -> Path:
    torch.jit.script(module).save(folder / "script.pt")  # pyright: ignore[reportAttributeAccessIssue]
    return folder / "script.pt"


def traced(folder: Path, module: torch.nn.Module) -> Path:
    torch.jit.trace(module, EXAMPLE, check_trace=False).save(folder / "trace.pt")  # pyright: ignore[reportAttributeAccessIssue]
    return folder / "trace.pt"


def refused(folder: Path, path: Path, error: type[ExportFailed] = ExportFailed, **source: object) -> str:
    with pytest.raises(error) as caught:
        export(torch_card(folder, path, source=source), repository=folder / "repository")
    assert not (folder / "repository").exists()
    return str(caught.value).removeprefix("cannot export 'digits': ")


@pytest.mark.parametrize("how", ["traced", "scripted in training", "with a branch and a loop"])
def test_a_torchscript_file_answers_as_before_at_any_batch(tmp_path: Path, how: str) -> None:
    if how == "traced":
        path = traced(tmp_path, SmallNet().eval())
    else:  # scripted, a module is asked to leave training
        path = scripted(tmp_path, SmallNet().train() if "training" in how else modules.Decides())
    published = export(torch_card(tmp_path, path), repository=tmp_path / "repository")
    assert published.parity.batches == (1, 2, 7, 16)
    graph = published.path.parents[1] / "digits_net" / "1" / "model.onnx"
    session, module = Session("digits", graph.read_bytes()), torch.jit.load(path).eval()
    for size in (1, 2, 5, 40):
        for images in (pixel_images(size), np.zeros((size, 8, 8, 1), np.uint8)):  # both ways of the branch
            pixels = torch.from_numpy((images.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5).float()
            with torch.inference_mode():
                expected = module(pixels).softmax(1).numpy()
            np.testing.assert_allclose(session.run({"image": images})["probabilities"], expected, atol=1e-5)


def test_a_trace_with_a_number_of_items_in_it_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, traced(tmp_path, modules.BatchOfThree())) == (
        "the TorchScript model does not run on a batch of 1 (shape '[3, 64]' is invalid for input of size 64); trace "
        "it from code that takes any number of items (x.flatten(1) and x.shape[0], no number), or script it"
    )


def test_a_trace_made_in_training_is_refused(tmp_path: Path) -> None:
    for module, operator in ((SmallNet(), "batch_norm"), (modules.DropsOut(), "dropout")):
        told = refused(tmp_path, traced(tmp_path, module.train()))
        assert told == f"the TorchScript model works as in training ({operator}): {IN_TRAINING}"


def test_an_operator_that_onnx_lacks_is_named_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert refused(tmp_path, scripted(tmp_path, modules.Bessel())) == (
        "ONNX has no operator for aten::special_bessel_j0; write that step with other operators, or convert the model "
        "to ONNX yourself and give it as source.kind = 'onnx'"
    )
    assert capfd.readouterr() == ("", "")


def test_other_inputs_and_outputs_than_the_cards_are_refused(tmp_path: Path) -> None:
    does_not_run = "the TorchScript model does not run on FP32 ['batch', 1, 8, 8], which the card makes"
    assert refused(tmp_path, scripted(tmp_path, modules.Linear(192))) == (
        f"{does_not_run} (mat1 and mat2 shapes cannot be multiplied (3x64 and 192x10))"
    )
    assert refused(tmp_path, scripted(tmp_path, modules.TwoInputs())).startswith(
        f"{does_not_run} (forward() is missing value for argument 'y'."
    )
    assert refused(tmp_path, scripted(tmp_path, modules.TwoOutputs())) == (
        "the TorchScript model gives a tuple, not one tensor; let its forward return the first alone"
    )


def test_a_factory_for_a_whole_model_is_refused(tmp_path: Path) -> None:
    path = scripted(tmp_path, SmallNet())
    assert refused(tmp_path, path, factory="support.export_torch:SmallNet") == (
        f"{path} is a whole model; take source.factory out of the card"
    )


def test_a_file_that_was_cut_off_is_told_as_such(tmp_path: Path) -> None:
    path = scripted(tmp_path, SmallNet())
    path.write_bytes(path.read_bytes()[:3000])
    assert refused(tmp_path, path) == f"{path} is damaged or cut off; export the model again"


@pytest.mark.parametrize("module", [modules.WritesAFile, modules.WritesAFileOnLoading])
def test_torchscript_that_would_write_a_file_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: type[torch.nn.Module]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = scripted(tmp_path, module())
    assert refused(tmp_path, path, UntrustedSource) == f"{path} holds types that are not trusted: calls of save"
    assert not (tmp_path / "exploded").exists()
    with suppress(RuntimeError):
        torch.jit.load(path)(EXAMPLE)
    assert (tmp_path / "exploded").exists()  # it was one


class Bomb:
    """Pickled code, which a careless loader runs."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("entry", ["data.pkl", "constants.pkl"])
def test_a_pickle_in_the_archive_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pt"
    with zipfile.ZipFile(scripted(tmp_path, SmallNet())) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Bomb(), 2) if name.endswith(f"/{entry}") else old.read(name))
    told = refused(tmp_path, evil)
    assert (
        told == f"{evil} cannot be loaded by torch {torch.__version__} (Unknown type name 'posix.mkdir': posix.mkdir)"
    )
    assert not (tmp_path / "exploded").exists()
