"""Which versions are live, what activation writes, and whether an export would change anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway_core.errors import ModelNotFound, RepositoryBroken, ServerUnavailable
from slipway_export import activate, export, is_current, live_versions
from slipway_export.config import read_config
from support.export import linear_model, onnx_card, pixels_card


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three versions of an image model, the first one live."""
    for seed in range(3):
        export(pixels_card(tmp_path, seed=seed), repository=tmp_path / "repository")
    return tmp_path / "repository"


def named(repository: Path, model: str) -> list[int]:
    return list(read_config(repository / model / "config.pbtxt").version_policy.specific.versions)


def test_activating_adds_the_version_for_the_model_and_its_net(repository: Path) -> None:
    assert activate(repository, "pixels", 2) == (1, 2)
    assert named(repository, "pixels") == named(repository, "pixels_net") == [1, 2]
    assert live_versions(repository, "pixels") == (1, 2)


def test_an_activated_version_answers_beside_one_older(repository: Path) -> None:
    assert activate(repository, "pixels", 2) == (1, 2)
    assert activate(repository, "pixels", 3) == (2, 3)
    assert named(repository, "pixels_net") == [2, 3]


def test_activating_an_older_version_takes_the_newer_ones_out(repository: Path) -> None:
    activate(repository, "pixels", 3)
    assert activate(repository, "pixels", 2) == (1, 2)
    assert activate(repository, "pixels", 1) == (1,)
    assert named(repository, "pixels_net") == [1]


def test_activation_brings_the_versions_own_settings(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path, batching={"max_batch_size": 4}), repository=repository)
    assert read_config(repository / "pixels" / "config.pbtxt").max_batch_size == 16
    activate(repository, "pixels", 4)
    for model in ("pixels", "pixels_net"):
        assert read_config(repository / model / "config.pbtxt").max_batch_size == 4


def test_activation_writes_the_labels_that_somebody_lost(repository: Path) -> None:
    (repository / "pixels" / "labels.txt").unlink()
    activate(repository, "pixels", 2)
    assert (repository / "pixels" / "labels.txt").read_text().split() == list("0123456789")


def test_activating_what_has_no_labels_changes_nothing_but_the_live_versions(tmp_path: Path) -> None:
    card = onnx_card(
        tmp_path,
        linear_model(np.ones((2, 1))),
        task="regression",
        output={"labels": [], "unit": "cm"},
        source={"output": "value"},
    )
    for _ in range(2):
        export(card, repository=tmp_path / "models")
    before = (tmp_path / "models" / "linear" / "config.pbtxt").read_text()
    activate(tmp_path / "models", "linear", 2)
    after = (tmp_path / "models" / "linear" / "config.pbtxt").read_text()
    assert after == before.replace("versions: 1", "versions: 1\n    versions: 2")
    assert not (tmp_path / "models" / "linear" / "labels.txt").exists()


def test_a_version_that_is_not_there_cannot_be_activated(repository: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"'pixels' has no live version '9'; available: 1, 2, 3"):
        activate(repository, "pixels", 9)
    with pytest.raises(ModelNotFound, match=r"no model 'pixel' is served; did you mean 'pixels'\?"):
        activate(repository, "pixel", 1)


def test_without_a_triton_at_the_address_everything_stays_as_it_was(repository: Path) -> None:
    before = (repository / "pixels" / "config.pbtxt").read_bytes(), named(repository, "pixels_net")
    with pytest.raises(ServerUnavailable, match=r"no Triton answers at 127\.0\.0\.1:1"):
        activate(repository, "pixels", 2, address="127.0.0.1:1")
    assert ((repository / "pixels" / "config.pbtxt").read_bytes(), named(repository, "pixels_net")) == before


def test_a_live_version_that_was_deleted_is_not_live(repository: Path) -> None:
    activate(repository, "pixels", 2)
    (repository / "pixels" / "2").rename(repository.parent / "gone")
    assert live_versions(repository, "pixels") == (1,)


def test_an_unknown_model_has_no_live_version(tmp_path: Path) -> None:
    assert live_versions(tmp_path, "nobody") == ()


@pytest.mark.parametrize(
    ("policy", "live"),
    [
        ("", (5,)),
        ("version_policy { latest { num_versions: 2 } }", (3, 5)),
        ("version_policy { all {} }", (1, 3, 5)),
        ("version_policy { specific { versions: [1, 4] } }", (1,)),
    ],
)
def test_configurations_by_hand_are_read_as_triton_reads_them(
    tmp_path: Path, policy: str, live: tuple[int, ...]
) -> None:
    for version in (1, 3, 5):
        (tmp_path / "m" / str(version)).mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text(f'name: "m" {policy}')
    assert live_versions(tmp_path, "m") == live


def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text("name: m m")
    with pytest.raises(RepositoryBroken, match=r"config\.pbtxt: is no model configuration"):
        live_versions(tmp_path, "m")


def test_an_export_is_current_until_source_or_card_change(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    card = onnx_card(tmp_path)
    assert not is_current(card, repository)
    export(card, repository=repository)
    assert is_current(card, repository)
    assert not is_current(card.model_copy(update={"description": "other words"}), repository)
    content = card.source.path.read_bytes()
    card.source.path.write_bytes(content + b"\0")
    assert not is_current(card, repository)
    card.source.path.unlink()
    assert not is_current(card, repository)


def test_an_image_model_without_its_net_or_without_a_live_version_is_not_current(
    tmp_path: Path, repository: Path
) -> None:
    card = pixels_card(tmp_path, seed=2)
    assert is_current(card, repository)
    (repository / "pixels_net" / "3").rename(tmp_path / "net")
    assert not is_current(card, repository)
    (tmp_path / "net").rename(repository / "pixels_net" / "3")
    (repository / "pixels" / "config.pbtxt").unlink()
    assert not is_current(card, repository)
