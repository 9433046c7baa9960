"""torch programs through the gate, and what is refused before it is loaded."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, UntrustedSource
from slipway_export import Published, export
from slipway_export.image_model.decoding import Preparation
from slipway_export.runtime import Session
from support import export_torch_modules as modules
from support.export import card as card_of
from support.export import iris_card, pixel_images
from support.export_torch import SmallNet, save_program, torch_card


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small net, exported once."""
    return save_program(tmp_path_factory.mktemp("program") / "net.pt2", SmallNet(), torch.zeros(2, 1, 8, 8))


BESSEL = modules.Bessel.forward.__code__.co_firstlineno + 1


def refused(folder: Path, program: Path, error: type[ExportFailed] = ExportFailed, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        export(torch_card(folder, program, **changes), repository=folder / "repository")
    assert not (folder / "repository").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def net(program: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, Published]:
    """The same net, published once."""
    folder = tmp_path_factory.mktemp("net")
    card = torch_card(folder, program)
    return card, export(card, repository=folder / "repository")


def graph_of(published: Published) -> bytes:
    return (published.path.parents[1] / "digits_net" / "1" / "model.onnx").read_bytes()


def test_a_net_takes_images_of_bytes_at_any_batch_and_gives_label_and_probabilities(
    net: tuple[ModelCard, Published],
) -> None:
    _, published = net
    assert published.parity.batches == (1, 2, 7, 16)
    session = Session("digits", graph_of(published))
    for size in (1, 2, 3, 16, 40):
        answers = session.run({"image": pixel_images(size)})
        assert answers["label"].shape == (size, 1)
        np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(answers["probabilities"].argmax(axis=1), answers["label"][:, 0])


def test_the_graph_is_one_file_that_tritons_onnx_runtime_reads(net: tuple[ModelCard, Published]) -> None:
    _, published = net
    model = onnx.load_model_from_string(graph_of(published))
    assert model.ir_version <= 10
    assert all(entry.version <= 21 for entry in model.opset_import)
    assert not list(published.path.parents[1].rglob("*.data"))


def test_the_graph_holds_no_traces_of_the_machine_that_made_it(net: tuple[ModelCard, Published]) -> None:
    content = graph_of(net[1])
    assert b".py" not in content
    assert b"pytorch" not in content


def test_the_version_holds_what_the_python_backend_runs(net: tuple[ModelCard, Published]) -> None:
    folder = net[1].path
    files = {path.name for path in folder.iterdir()}
    assert files == {"model.py", "lanes.py", "decoding.py", "image.json", "config.pbtxt", "manifest.json"}
    assert Preparation.from_json((folder / "image.json").read_text()).interpolation == "box"


def test_features_go_into_a_program_as_they_are(tmp_path: Path) -> None:
    program = save_program(tmp_path / "linear.pt2", torch.nn.Linear(4, 1), torch.zeros(2, 4))
    samples = tmp_path / "rows.npz"
    np.savez(samples, inputs=np.random.default_rng(0).normal(size=(9, 4)))
    card = card_of(
        {
            "name": "price",
            "task": "regression",
            "source": {"kind": "torch", "path": str(program), "samples": str(samples)},
            "inputs": [{"name": name} for name in "abcd"],
        }
    )
    export(card, repository=tmp_path / "repository")
    session = Session("price", (tmp_path / "repository" / "price" / "1" / "model.onnx").read_bytes())
    assert session.run({"features": np.zeros((3, 4), np.float32)})["value"].shape == (3, 1)


def test_a_program_of_a_fixed_batch_is_refused_with_the_way_to_free_it(tmp_path: Path) -> None:
    program = save_program(tmp_path / "fixed.pt2", SmallNet(), torch.zeros(4, 1, 8, 8), batch=4)
    assert "takes batches of exactly 4; export it with dynamic_shapes=" in refused(tmp_path, program)


def test_a_program_for_fewer_items_than_the_card_allows_is_refused_with_both_numbers(tmp_path: Path) -> None:
    few = torch.export.Dim("batch", min=1, max=8)
    program = save_program(tmp_path / "few.pt2", SmallNet(), torch.zeros(2, 1, 8, 8), batch=few)
    assert "takes at most 8 items, the card allows 16" in refused(tmp_path, program)


def test_a_program_for_other_images_is_refused_with_both_shapes(tmp_path: Path, program: Path) -> None:
    image = {"height": 8, "width": 8, "channels": 3}
    message = refused(tmp_path, program, image=image, source={"samples": None})
    assert "takes float32 ['batch', 1, 8, 8], the card makes FP32 ['batch', 3, 8, 8]" in message


def test_labels_that_do_not_fit_the_net_are_refused_with_both_numbers(tmp_path: Path, program: Path) -> None:
    assert "the model gives 10 classes, the card's output.labels names 2" in refused(
        tmp_path, program, output={"labels": ["yes", "no"]}
    )


def test_a_card_that_does_not_say_what_the_output_is_is_refused(tmp_path: Path, program: Path) -> None:
    assert "source.output is missing; for classification it must be 'logits' or 'probabilities'" in refused(
        tmp_path, program, source={"output": None}
    )


def test_a_file_that_was_cut_off_is_told_in_one_line(tmp_path: Path, program: Path) -> None:
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(program.read_bytes()[:5000])
    assert "cut.pt2 is damaged or cut off; export the model again" in refused(tmp_path, cut)


def test_a_checkpoint_of_weights_is_no_program(tmp_path: Path) -> None:
    torch.save(SmallNet().state_dict(), tmp_path / "weights.pt2")
    assert "weights.pt2 holds weights and no model; name what builds it: source.factory = " in refused(
        tmp_path, tmp_path / "weights.pt2"
    )


def test_a_program_that_was_saved_in_training_is_refused(tmp_path: Path) -> None:
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(SmallNet().train(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "training.pt2")
    message = refused(tmp_path, tmp_path / "training.pt2")
    assert "the program works as in training (batch_norm at export_torch.py, line " in message
    assert message.endswith(
        "): its answers would be random or depend on their neighbours in the batch; call eval() before saving it, and "
        "give functional forms training=self.training"
    )


def test_an_operator_that_onnx_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    program = save_program(tmp_path / "bessel.pt2", modules.Bessel(), torch.zeros(2, 1, 8, 8))
    assert refused(tmp_path, program) == (
        f"cannot export 'digits': ONNX has no operator for prims.bessel_j0 (export_torch_modules.py, line {BESSEL}); "
        "write that step with other operators, or convert the model to ONNX yourself and give it as "
        "source.kind = 'onnx'"
    )


class Bomb:
    """Pickled code, which a careless loader runs."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


def edited(program: Path, to: Path, edit: Callable[[str, bytes], bytes]) -> Path:
    """A copy of an archive with some entries changed."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(to, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, edit(entry.filename, old.read(entry.filename)))
    return to


def test_a_pickle_among_the_sample_inputs_is_refused_and_not_run(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = io.BytesIO()
    torch.save((Bomb(),), bomb)
    evil = edited(program, tmp_path / "evil.pt2", lambda name, old: bomb.getvalue() if "sample_inputs" in name else old)
    assert "holds types that are not trusted: posix.mkdir" in refused(tmp_path, evil, UntrustedSource)
    assert not (tmp_path / "exploded").exists()


def test_pickled_constants_are_refused_and_not_run(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}

    def edit(name: str, old: bytes) -> bytes:
        return json.dumps({"config": {"c": entry}}).encode() if name.endswith("constants_config.json") else old

    evil = edited(program, tmp_path / "evil.pt2", edit)
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("net/data/constants/opaque_obj_0", pickle.dumps(Bomb()))
    assert "pickled objects (opaque_obj)" in refused(tmp_path, evil, UntrustedSource)
    assert not (tmp_path / "exploded").exists()


def test_an_expression_that_is_more_than_arithmetic_is_refused(tmp_path: Path, program: Path) -> None:
    def edit(name: str, old: bytes) -> bytes:
        return old.replace(b"positive=True, integer=True)", b"positive=exec(chr(97)))") if "models/" in name else old

    evil = edited(program, tmp_path / "evil.pt2", edit)
    assert "exec(chr(97))" in refused(tmp_path, evil, UntrustedSource)


def test_compiled_code_in_the_archive_is_refused(tmp_path: Path, program: Path) -> None:
    evil = edited(program, tmp_path / "evil.pt2", lambda _name, old: old)
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("net/data/aotinductor/model/code.so", b"\x7fELF")
    assert "compiled code" in refused(tmp_path, evil, UntrustedSource)


EXPORT_BOTH = """
import sys
from pathlib import Path
from slipway_core.card import ModelCard
from slipway_export import export
for text in sys.argv[2:]:
    export(ModelCard.model_validate_json(text), repository=Path(sys.argv[1]))
"""


def test_another_process_makes_the_same_files_from_the_same_sources(
    tmp_path: Path, net: tuple[ModelCard, Published]
) -> None:
    digits, published = net
    iris = iris_card(tmp_path)
    here, there = published.path.parents[1], tmp_path / "there"
    export(iris, repository=here)
    command = [sys.executable, "-c", EXPORT_BOTH, str(there), digits.model_dump_json(), iris.model_dump_json()]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True)
    files = [path.relative_to(here) for path in here.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert len([path for path in files if path.name == "model.onnx"]) == 2
    for path in files:
        assert (here / path).read_bytes() == (there / path).read_bytes(), path
