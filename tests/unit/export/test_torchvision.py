"""torchvision's models by name: with weights from a file, from where torchvision publishes them, or without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.manifest import Manifest
from slipway_export import Published, export
from slipway_export.exporting import is_current
from slipway_export.runtime import Session
from slipway_export.sources import Built, open_source
from support.export_torchvision import CLASSES, lively, torchvision_card

SMALL = "squeezenet1_1"
PUBLISHED = "squeezenet1_1-b8a52dc0.pth"
URL = f"https://download.pytorch.org/models/{PUBLISHED}"


def published(folder: Path, card: ModelCard) -> tuple[Published, list[str]]:
    """The version, and the remarks on its source."""
    said: list[str] = []
    version = export(card, repository=folder / "repository", progress=said.append)
    return version, [line.removeprefix("load: ") for line in said if line.startswith("load: ")][1:]


def refused(folder: Path, card: ModelCard) -> str:
    with pytest.raises(ExportFailed) as caught:
        export(card, repository=folder / "repository")
    assert not (folder / "repository").exists()
    return str(caught.value).removeprefix("cannot export 'vision': ")


def source_hash(version: Published) -> str:
    return Manifest.read(version.path / "manifest.json").source.sha256


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_a_model_with_weights_from_a_file_answers_as_torch_does(tmp_path: Path, name: str) -> None:
    module = lively(name)
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    card = torchvision_card(tmp_path, name, source={"path": str(tmp_path / "weights.pth")})
    version, remarks = published(tmp_path, card)
    assert (version.parity.batches, remarks) == ((1, 2, 7, 8), [])
    graph = version.path.parents[1] / "vision_net" / "1" / "model.onnx"
    images = np.random.default_rng(7).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    answers = Session("vision", graph.read_bytes()).run({"image": images})["probabilities"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        pixels = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
        np.testing.assert_allclose(answers, module(pixels).softmax(1).numpy(), atol=1e-4)


def test_without_weights_the_model_is_the_same_every_time_and_told_to_mean_nothing(tmp_path: Path) -> None:
    card = torchvision_card(tmp_path, SMALL)
    torch.manual_seed(99)
    first, remarks = published(tmp_path, card)
    assert remarks == [f"torchvision:{SMALL} has no weights; its answers mean nothing"]
    assert is_current(card, tmp_path / "repository")
    again = open_source(card, b"")
    assert isinstance(again, Built)
    assert again.sha256 == source_hash(first)
    manifest = Manifest.read(first.path / "manifest.json")
    assert manifest.source.path == f"torchvision:{SMALL} with no weights"
    assert {"torch", "torchvision"} <= manifest.libraries.keys()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch looks for what it has fetched; the network is out of reach."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # discard: nobody listens
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints" / PUBLISHED


def imagenet_card(folder: Path, **changes: object) -> ModelCard:
    labels = {"labels": [str(at) for at in range(1000)]}
    source = {"weights": "DEFAULT", "arguments": {}} | dict(changes.pop("source", {}))  # type: ignore[call-overload]
    return torchvision_card(folder, SMALL, source=source, output=labels, **changes)


def test_published_weights_are_taken_and_the_cards_image_is_compared_with_their_preset(
    tmp_path: Path, cache: Path
) -> None:
    module = lively(SMALL, classes=1000)
    torch.save(module.state_dict(), cache)
    version, remarks = published(tmp_path, imagenet_card(tmp_path))
    assert remarks == [
        "the card's [image] is not the preset of SqueezeNet1_1_Weights.IMAGENET1K_V1: height = 64 (preset: 224), "
        "width = 64 (preset: 224), shorter_side = 72 (preset: 256)"
    ]
    manifest = Manifest.read(version.path / "manifest.json")
    assert manifest.source.path == f"torchvision:{SMALL} with weights DEFAULT"
    # The same file, given as such: its name tells whose preset counts.
    image = {"height": 224, "width": 224, "mean": [0.5], "interpolation": "bicubic"}
    given = imagenet_card(tmp_path, source={"weights": None, "path": str(cache)}, image=image)
    message = refused_remark(tmp_path, given)
    assert message == (
        "the card's [image] is not the preset of SqueezeNet1_1_Weights.IMAGENET1K_V1: resize = stretch (preset: "
        "crop), shorter_side = none (preset: 256), interpolation = bicubic (preset: bilinear), mean = [0.5, 0.5, 0.5] "
        "(preset: [0.485, 0.456, 0.406]), std = [1.0, 1.0, 1.0] (preset: [0.229, 0.224, 0.225])"
    )


def refused_remark(folder: Path, card: ModelCard) -> str:
    """What is said of a card whose samples have another size, before they are looked at."""
    said: list[str] = []
    with pytest.raises(ExportFailed):
        export(card, repository=folder / "elsewhere", progress=said.append)
    return said[1].removeprefix("load: ")


def test_published_weights_that_cannot_be_fetched_are_told_with_the_other_way(tmp_path: Path, cache: Path) -> None:
    assert not cache.exists()
    told = refused(tmp_path, imagenet_card(tmp_path))
    # The reason is the machine's own: a proxy that refuses, or a name that nobody resolves.
    assert told.startswith(f"{URL} cannot be fetched (")
    assert told.endswith("); fetch it elsewhere and give the file: --weights <file>")


class Bomb:
    """Pickled code, which a careless loader runs."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_pickle_in_torchs_cache_is_not_run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": Bomb()}, cache)
    told = refused(tmp_path, imagenet_card(tmp_path))
    assert told == f"{cache} holds no weights, or damaged ones; delete it, and it is fetched again"
    assert not (tmp_path / "exploded").exists()


def test_names_that_torchvision_does_not_know_are_refused_with_those_it_does(tmp_path: Path) -> None:
    assert refused(tmp_path, torchvision_card(tmp_path, "resnet81")) == (
        "torchvision has no classification model 'resnet81'; there are: resnet18, resnet152, resnet101"
    )
    told = refused(tmp_path, torchvision_card(tmp_path, "fcn_resnet50"))
    assert told.startswith("torchvision has no classification model 'fcn_resnet50'; there are: ")
    assert refused(tmp_path, torchvision_card(tmp_path, SMALL, source={"weights": "IMAGENET1K_V7"})) == (
        f"torchvision has no weights 'IMAGENET1K_V7' for {SMALL}; there are: IMAGENET1K_V1, DEFAULT"
    )


def test_arguments_that_the_model_does_not_take_are_told(tmp_path: Path) -> None:
    card = torchvision_card(tmp_path, "resnet18", source={"arguments": {"classes": CLASSES}})
    assert refused(tmp_path, card) == (
        "torchvision:resnet18 cannot be built: ResNet.__init__() got an unexpected keyword argument 'classes'"
    )


def in_a_new_process(before: str, card: ModelCard) -> str:
    code = (
        f"import sys, torch\n{before}\n"
        "from slipway_core.card import ModelCard; from slipway_core.errors import SlipwayError\n"
        "from slipway_export.sources import open_source\n"
        "try: print(type(open_source(ModelCard.model_validate_json(sys.argv[1]), b'')).__name__)\n"
        "except SlipwayError as e: print(e)"
    )
    command = [sys.executable, "-c", code, card.model_dump_json()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_torchvision_is_imported_where_its_compiled_part_does_not_load(tmp_path: Path) -> None:
    broken = "def broken(path): raise OSError('undefined symbol')\ntorch.ops.load_library = broken"
    assert in_a_new_process(broken, torchvision_card(tmp_path, SMALL)) == "TorchModule\n"


def test_where_torchvision_is_missing_it_is_told_what_to_install(tmp_path: Path) -> None:
    told = in_a_new_process("sys.modules['torchvision'] = None", torchvision_card(tmp_path, SMALL))
    assert told == 'exporting needs torchvision: pip install "slipway[torchvision]"\n'
