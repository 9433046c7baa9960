"""torch models that code builds: a factory and its weights, in whatever file; pickles, which nobody has to trust."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from slipway_core.errors import ExportFailed, InvalidCard, UntrustedSource
from slipway_core.summary import hash_file
from slipway_core.tensors import Array
from slipway_export import Published, export
from slipway_export.runtime import Session
from support import export_torch_modules as modules
from support.export import pixel_images
from support.export_torch import SmallNet, torch_card

HERE = "support.export_torch_modules"
SMALL = "support.export_torch:SmallNet"
DISTRUST = (
    "; save the weights alone, torch.save(model.state_dict(), ...), or use --allow-pickle if you trust whoever made "
    "the file: loading it runs its code"
)


def line_of(module: type[torch.nn.Module], at: int) -> str:
    return f"export_torch_modules.py, line {module.forward.__code__.co_firstlineno + at}"


def published(folder: Path, path: Path, *, allow_pickle: bool = False, **source: object) -> Published:
    card = torch_card(folder, path, source=source)
    return export(card, repository=folder / "repository", allow_pickle=allow_pickle)


def refused(
    folder: Path, path: Path, error: type[ExportFailed] = ExportFailed, *, allow_pickle: bool = False, **source: object
) -> str:
    with pytest.raises(error) as caught:
        published(folder, path, allow_pickle=allow_pickle, **source)
    assert not (folder / "repository").exists()
    return str(caught.value).removeprefix("cannot export 'digits': ")


def saved(folder: Path, what: object, name: str = "weights.pt", *, legacy: bool = False) -> Path:
    torch.save(what, folder / name, _use_new_zipfile_serialization=not legacy)
    return folder / name


def weights(folder: Path, module: torch.nn.Module, name: str = "weights.pt") -> Path:
    return saved(folder, module.state_dict(), name)


def answered(version: Published) -> Array:
    graph = version.path.parents[1] / "digits_net" / "1" / "model.onnx"
    return Session("digits", graph.read_bytes()).run({"image": pixel_images(5)})["probabilities"]


@torch.inference_mode()
def expected(module: torch.nn.Module) -> Array:
    pixels = torch.from_numpy((pixel_images(5).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5).float()
    return module.eval()(pixels).softmax(1).numpy()


@pytest.mark.parametrize("form", ["archive", "legacy", "safetensors"])
def test_weights_of_every_form_of_file_give_the_modules_answers(tmp_path: Path, form: str) -> None:
    net, path = SmallNet(seed=3), tmp_path / "weights.bin"  # the suffix says nothing
    if form == "safetensors":
        safetensors.torch.save_file(net.state_dict(), path)
    else:
        saved(tmp_path, net.state_dict(), path.name, legacy=form == "legacy")
    version = published(tmp_path, path, factory=SMALL, arguments={"seed": 7})
    assert version.parity.batches == (1, 2, 7, 16)
    np.testing.assert_allclose(answered(version), expected(net), atol=1e-5)
    manifest = (version.path / "manifest.json").read_text()
    assert f"{SMALL} with {path}" in manifest
    assert hash_file(path) in manifest


def test_dropout_and_normalisation_work_as_in_service(tmp_path: Path) -> None:
    version = published(tmp_path, weights(tmp_path, modules.DropsOut()), factory=f"{HERE}:DropsOut")
    graph = version.path.parents[1] / "digits_net" / "1" / "model.onnx"
    assert "Dropout" not in {node.op_type for node in onnx.load(graph).graph.node}


def test_a_factory_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from torch import nn\ndef net(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    (tmp_path / "nets_of_the_working_directory.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    path = weights(tmp_path, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
    before = list(sys.path)
    published(tmp_path, path, factory="nets_of_the_working_directory:net", arguments={"classes": 10})
    assert sys.path == before


FAULTY_FACTORIES = {
    "no_such.package:net": "source.factory = 'no_such.package:net': there is no module 'no_such' here or installed; "
    "set PYTHONPATH to it",
    f"{HERE}:Nobody": f"source.factory = '{HERE}:Nobody': module '{HERE}' has no attribute 'Nobody'",
    f"{HERE}:A_NUMBER": f"{HERE}:A_NUMBER failed: TypeError: 'int' object is not callable",
    f"{HERE}:raises": f"{HERE}:raises failed: ValueError: no such file",
    "builtins:dict": "builtins:dict gives a dict, not a torch.nn.Module",
}


@pytest.mark.parametrize("factory", FAULTY_FACTORIES)
def test_a_factory_that_gives_no_module_is_told_in_one_line(tmp_path: Path, factory: str) -> None:
    assert refused(tmp_path, weights(tmp_path, SmallNet()), factory=factory) == FAULTY_FACTORIES[factory]


def test_a_factory_whose_module_cannot_be_imported_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_another.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path, weights(tmp_path, SmallNet()), factory="needs_another:net") == (
        "source.factory = 'needs_another:net': importing needs_another failed: ModuleNotFoundError: No module named "
        "'no_such_library'"
    )


def test_weights_that_do_not_fit_are_told_by_their_first_names(tmp_path: Path) -> None:
    state = SmallNet().state_dict()
    less = {name: tensor for name, tensor in state.items() if not name.startswith("features")}
    told = refused(tmp_path, saved(tmp_path, less, "less.pt"), factory=SMALL)
    assert told == f"{tmp_path}/less.pt does not fit {SMALL}: missing features.weight, features.bias"
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert refused(tmp_path, saved(tmp_path, wrapped, "wrapped.pt"), factory=SMALL) == (
        f"{tmp_path}/wrapped.pt does not fit {SMALL}: missing features.weight, features.bias, normal.weight and 5 "
        "more; unexpected module.features.weight, module.features.bias, module.normal.weight and 6 more"
    )
    assert refused(tmp_path, weights(tmp_path, SmallNet(classes=3)), factory=SMALL) == (
        f"{tmp_path}/weights.pt does not fit {SMALL}: of another shape classes.weight [3, 64] for the model's [10, "
        "64], classes.bias [3] for the model's [10]"
    )


def test_a_checkpoint_is_told_with_the_line_that_takes_its_weights_out(tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "state_dict": SmallNet().state_dict(), "optimizer": {"lr": 0.1}}
    assert refused(tmp_path, saved(tmp_path, checkpoint, "last.ckpt"), factory=SMALL) == (
        f"{tmp_path}/last.ckpt holds more than weights (epoch, state_dict, optimizer); save these alone: "
        "torch.save(torch.load('last.ckpt')['state_dict'], 'weights.pt')"
    )
    assert refused(tmp_path, saved(tmp_path, [1, 2]), factory=SMALL) == (
        f"{tmp_path}/weights.pt holds a list, no weights by name"
    )


ANY_NUMBER = "let its forward take any number of items: x.flatten(1) and x.shape[0], no number"
IN_TRAINING = (
    "its answers would be random or depend on their neighbours in the batch; call eval() before saving it, and give "
    "functional forms training=self.training"
)
# What is told behind "the module of <factory>".
FAULTY_MODULES: dict[type[torch.nn.Module], str] = {
    modules.BatchOfThree: f"takes batches of one size only: its code makes a number of the batch size; {ANY_NUMBER}",
    modules.AtMostFive: f"takes at most 5 items, the card allows 16; {ANY_NUMBER}",
    modules.OneIsOther: "answers an item alone otherwise than the same item in a batch; Triton gathers requests into "
    "batches, so an answer must not depend on their number or on its neighbours",
    modules.Decides: f"decides by the values of the batch at {line_of(modules.Decides, 1)}, which a traced graph "
    "cannot; use torch.where, or save it with torch.jit.script and give that file",
    modules.ThroughNumpy: f"cannot be traced at {line_of(modules.ThroughNumpy, 1)}: .numpy() is not supported for "
    "tensor subclasses.",
    modules.TwoInputs: "does not run on FP32 ['batch', 1, 8, 8], which the card makes (TwoInputs.forward() missing 1 "
    "required positional argument: 'y')",
    modules.TwoOutputs: "gives a tuple, not one tensor; let its forward return the first alone",
    modules.AlwaysDropsOut: f"works as in training (dropout at {line_of(modules.AlwaysDropsOut, 1)}): {IN_TRAINING}",
    modules.BatchStatistics: f"works as in training (batch_norm at {line_of(modules.BatchStatistics, 1)}): "
    f"{IN_TRAINING}",
}


@pytest.mark.parametrize("module", FAULTY_MODULES, ids=lambda module: module.__name__)
def test_a_module_that_cannot_be_served_is_told_with_its_line(
    tmp_path: Path, module: type[torch.nn.Module], capfd: pytest.CaptureFixture[str]
) -> None:
    factory = f"{HERE}:{module.__name__}"
    told = refused(tmp_path, weights(tmp_path, module()), factory=factory)
    assert told == f"the module of {factory} {FAULTY_MODULES[module]}"
    assert capfd.readouterr() == ("", "")  # torch would print the graph so far


def test_a_module_for_other_inputs_than_the_cards_is_told_with_the_cards(tmp_path: Path) -> None:
    path = weights(tmp_path, modules.Linear(192))
    assert refused(tmp_path, path, factory=f"{HERE}:Linear", arguments={"width": 192}) == (
        f"the module of {HERE}:Linear does not run on FP32 ['batch', 1, 8, 8], which the card makes (mat1 and mat2 "
        "shapes cannot be multiplied (3x64 and 192x10))"
    )


@pytest.mark.parametrize("form", ["archive", "legacy", "safetensors"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_of_weights_that_was_cut_off_is_told_as_such(tmp_path: Path, form: str, part: float) -> None:
    whole = tmp_path / "whole"
    if form == "safetensors":
        safetensors.torch.save_file(SmallNet().state_dict(), whole)
    else:
        saved(tmp_path, SmallNet().state_dict(), "whole", legacy=form == "legacy")
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    assert refused(tmp_path, cut, factory=SMALL) == f"{cut} is damaged or cut off; export the model again"


def test_numbers_that_changed_on_the_disk_are_noticed(tmp_path: Path) -> None:
    path = weights(tmp_path, SmallNet())
    content = bytearray(path.read_bytes())
    at = content.index(SmallNet().classes.weight.detach().numpy().tobytes()[:16])
    content[at] ^= 1
    path.write_bytes(content)
    assert refused(tmp_path, path, factory=SMALL) == f"{path} is damaged or cut off; export the model again"


def test_a_file_of_another_tool_is_told_with_what_is_read(tmp_path: Path) -> None:
    told = "is no file of torch: neither of torch.save, torch.export.save or torch.jit.save, nor safetensors"
    np.savez(tmp_path / "arrays", a=np.zeros(3))
    for name, content in (("text", b"a model"), ("pickle", pickle.dumps(SmallNet().state_dict()))):
        (tmp_path / name).write_bytes(content)
    for name in ("arrays.npz", "text", "pickle"):
        assert refused(tmp_path, tmp_path / name, factory=SMALL) == f"{tmp_path / name} {told}"


def test_a_pickled_module_is_loaded_for_who_asks_for_it_alone(tmp_path: Path) -> None:
    net = SmallNet(seed=5)
    for path in (saved(tmp_path, net, "net.pt"), saved(tmp_path, net, "legacy.pt", legacy=True)):
        told = refused(tmp_path, path, UntrustedSource)
        assert told == f"{path} holds types that are not trusted: {SMALL.replace(':', '.')}{DISTRUST}"
    version = published(tmp_path, tmp_path / "net.pt", allow_pickle=True)
    np.testing.assert_allclose(answered(version), expected(net), atol=1e-5)


def test_a_pickled_module_whose_class_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soon_gone.py").write_text("import torch\nclass Net(torch.nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import soon_gone  # pyright: ignore[reportMissingImports]

    path = saved(tmp_path, soon_gone.Net())
    (tmp_path / "soon_gone.py").unlink()
    del sys.modules["soon_gone"]
    assert refused(tmp_path, path, allow_pickle=True) == (
        f"{path} needs code that is not here (No module named 'soon_gone'); put the folder of the model's class on "
        "PYTHONPATH, or save the weights alone: torch.save(model.state_dict(), ...)"
    )


def test_weights_without_what_builds_their_model_are_refused(tmp_path: Path) -> None:
    path = weights(tmp_path, SmallNet())
    assert refused(tmp_path, path) == (
        f"{path} holds weights and no model; name what builds it: source.factory = 'package.module:callable' or "
        "'torchvision:resnet50'"
    )
    assert (
        refused(tmp_path, saved(tmp_path, [1], "list.pt")) == f"{tmp_path}/list.pt holds a list, not a torch.nn.Module"
    )


class Bomb:
    """Pickled code, which a careless loader runs."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("factory", [None, SMALL])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str | None, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"features.weight": Bomb()}, legacy=legacy)
    told = refused(tmp_path, path, UntrustedSource, factory=factory)
    assert told == f"{path} holds types that are not trusted: posix.mkdir{DISTRUST}"
    assert not (tmp_path / "exploded").exists()
    torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert (tmp_path / "exploded").exists()  # it was a bomb


FAULTY_SOURCES = {
    "it is written package.module:callable, or torchvision:model": {"factory": "net.py"},
    "arguments are the factory's; name source.factory too": {"arguments": {"seed": 1}},
    "weights names what torchvision publishes; it goes with factory = 'torchvision:...'": {"weights": "DEFAULT"},
    "give path (a file of weights) or weights (torchvision's own), not both": {
        "factory": "torchvision:resnet18",
        "weights": "DEFAULT",
    },
    "factory builds a torch model; with kind = 'onnx' there is none": {"kind": "onnx", "factory": SMALL},
    "path is required: the trained model's file": {"path": None},
}


@pytest.mark.parametrize("told", FAULTY_SOURCES)
def test_a_card_whose_source_cannot_be_is_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(InvalidCard) as caught:
        torch_card(tmp_path, tmp_path / "weights.pt", source=FAULTY_SOURCES[told])
    assert str(caught.value).endswith(told)


CARD = """
name = "rows"
task = "regression"
inputs = [{ name = "a" }, { name = "b" }]
[source]
kind = "torch"
path = "first.pt"
samples = "rows.npz"
"""


def slipway(folder: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "slipway", "export", "rows.toml", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_line_allows_a_pickle_and_takes_other_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", inputs=np.random.default_rng(0).normal(size=(9, 2)))
    (tmp_path / "rows.toml").write_text(CARD)
    saved(tmp_path, torch.nn.Linear(2, 1), "first.pt")
    linear = "torch.nn.modules.linear.Linear"
    told = f"slipway: cannot export 'rows': first.pt holds types that are not trusted: {linear}{DISTRUST}"
    code, _, errors = slipway(tmp_path)
    assert (code, errors.splitlines()[-1]) == (1, told)
    assert slipway(tmp_path, "--allow-pickle")[0] == 0

    factory = 'factory = "torch.nn:Linear"\narguments = { in_features = 2, out_features = 1 }\n'
    (tmp_path / "rows.toml").write_text(CARD + factory)
    second = torch.nn.Linear(2, 1)
    weights(tmp_path, second, "second.pt")
    assert slipway(tmp_path, "--weights", "second.pt")[0] == 0
    graph = tmp_path / "model_repository" / "rows" / "2" / "model.onnx"
    answer = Session("rows", graph.read_bytes()).run({"features": np.ones((1, 2), np.float32)})["value"]
    np.testing.assert_allclose(answer, second(torch.ones(1, 2)).detach().numpy(), atol=1e-6)


def test_a_word_in_capitals_is_the_name_of_torchvisions_weights_and_all_else_a_file(tmp_path: Path) -> None:
    card = torch_card(tmp_path, tmp_path / "first.pt", source={"factory": "torchvision:resnet18"})
    named = card.with_weights("DEFAULT").source
    assert (named.weights, named.path) == ("DEFAULT", None)
    given = card.with_weights("DEFAULT").with_weights("resnet.pth").source
    assert (given.weights, given.path) == (None, Path("resnet.pth"))
    other = torch_card(tmp_path, tmp_path / "first.pt", source={"factory": SMALL})
    assert other.with_weights("DEFAULT").source.path == Path("DEFAULT")
