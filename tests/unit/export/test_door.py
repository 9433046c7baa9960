"""The room's door: what it offers, what it tells, and what opening it costs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import slipway_export
from slipway_core.errors import ExportFailed, InvalidCard, SourceNotFound
from slipway_export.sources import KINDS
from support.export import onnx_card

HEAVY = ("torch", "sklearn", "skl2onnx", "skops", "onnx", "onnxruntime", "pandas", "PIL")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_door_offers_these_names_and_no_others() -> None:
    assert slipway_export.__all__ == ["Progress", "Published", "activate", "export", "is_current", "live_versions"]
    assert all(hasattr(slipway_export, name) for name in slipway_export.__all__)


def test_opening_the_door_loads_no_heavy_library(tmp_path: Path) -> None:
    code = f"import sys, slipway_export, slipway_export.__main__; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert run("-c", code, folder=tmp_path).stdout == "\n"


def test_a_missing_library_is_told_with_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path; from slipway_core.card import ModelCard; import slipway_export\n"
        "try: slipway_export.export(ModelCard.model_validate_json(sys.argv[1]), repository=Path('r'))\n"
        "except slipway_export.exporting.MissingExtra as e: print(e)"
    )
    answer = run("-c", code, onnx_card(tmp_path).model_dump_json(), folder=tmp_path)
    assert answer.stdout == 'exporting needs onnx: pip install "slipway[export]"\n', answer.stderr


CARD = """
name = "linear"
task = "classification"
inputs = [{ name = "a" }, { name = "b" }]
[source]
kind = "onnx"
path = "model.onnx"
samples = "samples.npz"
output = "logits"
[output]
labels = ["x", "y", "z"]
"""


def test_the_module_exports_one_card(tmp_path: Path) -> None:
    onnx_card(tmp_path)
    (tmp_path / "linear.toml").write_text(CARD)
    answer = run("-m", "slipway_export", "linear.toml", folder=tmp_path)
    assert (answer.stdout, answer.returncode) == ("model_repository/linear/1 (live)\n", 0), answer.stderr
    steps = [line.partition(":")[0] for line in answer.stderr.splitlines()]
    assert list(dict.fromkeys(steps)) == ["load", "convert", "parity", "publish"]


def test_the_module_tells_a_users_error_in_one_line(tmp_path: Path) -> None:
    answer = run("-m", "slipway_export", "nobody.toml", folder=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: card = 'nobody.toml' is not valid: cannot be read")
    assert answer.stderr.count("\n") == 1
    assert "Options" in run("-m", "slipway_export", "--help", folder=tmp_path).stdout


def test_activating_without_a_triton_is_refused_before_the_work(tmp_path: Path) -> None:
    onnx_card(tmp_path)
    (tmp_path / "linear.toml").write_text(CARD)
    with socket.socket() as taken:  # bound and not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = run("-m", "slipway", "export", "linear.toml", "--activate", "--url", address, folder=tmp_path)
    assert answer.stderr == (
        f"slipway: no Triton answers at {address} (connection refused); start one with: slipway up\n"
    )
    assert (answer.stdout, answer.returncode) == ("", 1)
    assert not (tmp_path / "model_repository").exists()


def test_the_steps_are_told_as_they_happen(tmp_path: Path) -> None:
    said: list[str] = []
    slipway_export.export(onnx_card(tmp_path), repository=tmp_path / "repository", progress=said.append)
    assert said == [
        f"load: onnx model {tmp_path / 'model.onnx'}",
        "convert: to ONNX for linear",
        "parity: on 12 samples",
        "publish: linear/config.pbtxt is in place",
        "publish: linear/labels.txt is in place",
        "publish: linear/1 is in place",
    ]


def test_the_training_summary_goes_into_the_manifest_or_is_told_missing(tmp_path: Path) -> None:
    card = onnx_card(tmp_path, source={"summary": str(tmp_path / "summary.json")})
    with pytest.raises(SourceNotFound, match=r"summary\.json does not exist; train the model again"):
        slipway_export.export(card, repository=tmp_path / "repository")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ExportFailed, match=r"summary\.json is no training summary"):
        slipway_export.export(card, repository=tmp_path / "repository")


def test_a_kind_of_source_that_nobody_reads_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidCard) as caught:
        slipway_export.export(onnx_card(tmp_path, source={"kind": "pmml"}), repository=tmp_path / "repository")
    assert (
        str(caught.value) == f"linear: source.kind = 'pmml' is not valid: it must be one of {', '.join(sorted(KINDS))}"
    )
    assert not (tmp_path / "repository").exists()


def test_a_label_of_several_lines_is_refused(tmp_path: Path) -> None:
    card = onnx_card(tmp_path, output={"labels": ["x", "y\nand why", "z"]})
    with pytest.raises(ExportFailed, match="must be a line of text"):
        slipway_export.export(card, repository=tmp_path / "repository")
