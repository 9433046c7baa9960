"""A repository read before Triton is started: the order of loading, the workers it needs, what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from slipway_core.errors import RepositoryBroken
from slipway_serving.loading import reason_of
from slipway_serving.repository import Stage, read_repository

IO = 'input { name: "x" data_type: TYPE_FP32 dims: 2 }\noutput { name: "y" data_type: TYPE_FP32 dims: 2 }\n'


def _model(repository: Path, name: str, config: str | None, versions: int = 1, code: str = "") -> None:
    (repository / name).mkdir(exist_ok=True)
    for version in range(1, versions + 1):
        (repository / name / str(version)).mkdir(parents=True)
        (repository / name / str(version) / "model.py").write_text(code)
    if config is not None:
        (repository / name / "config.pbtxt").write_text(config)


def test_nets_come_before_the_python_models_that_call_them_and_ensembles_last(tmp_path: Path) -> None:
    _model(tmp_path, "a_ensemble", 'platform: "ensemble"\n' + IO)
    _model(tmp_path, "digits", 'backend: "python"\n' + IO)
    _model(tmp_path, "digits_net", 'platform: "onnxruntime_onnx"\n' + IO)
    _model(tmp_path, "iris", 'backend: "onnxruntime"\n' + IO)
    _model(tmp_path, "no_config", None)
    assert read_repository(tmp_path).stages() == [["digits_net", "iris", "no_config"], ["digits"], ["a_ensemble"]]


def test_workers_are_counted_by_instances_and_live_versions(tmp_path: Path) -> None:
    three = "instance_group { count: 3 kind: KIND_CPU }\n"
    _model(
        tmp_path, "two_live", 'backend: "onnxruntime"\nversion_policy { specific { versions: [1, 2] } }\n' + three, 4
    )
    _model(tmp_path, "latest", 'backend: "python"\ninstance_group { count: 1 }\n', 4)
    _model(tmp_path, "all", 'backend: "python"\nversion_policy { all { } }\ninstance_group { count: 1 }\n', 4)
    _model(tmp_path, "native", 'backend: "tensorrt"\n')
    repository = read_repository(tmp_path)
    assert {model.name: model.workers for model in repository.models} == {
        "two_live": 6,
        "latest": 1,
        "all": 4,
        "native": 0,
    }
    assert repository.workers == 11


@pytest.mark.parametrize(
    ("config", "code", "complete"),
    [
        ('platform: "onnxruntime_onnx"\n' + IO, "", True),
        (IO, "", False),
        ('backend: "onnxruntime"\ninput { name: "x" data_type: TYPE_FP32 dims: 2 }\n', "", False),
        ('backend: "onnxruntime"\n' + IO.replace("dims: 2", ""), "", False),
        ('backend: "python"\n' + IO, "class TritonPythonModel: ...", True),
        ('backend: "python"\n' + IO, "def auto_complete_config(c): ...", False),
        (None, "", False),
    ],
)
def test_a_config_is_complete_when_triton_has_nothing_to_guess(
    config: str | None, code: str, complete: bool, tmp_path: Path
) -> None:
    _model(tmp_path, "m", config, code=code)
    (model,) = read_repository(tmp_path).models
    assert model.complete is complete
    assert model.stage in Stage


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            'name: "m"\nmax_batch_sise: 8\n',
            r"m/config\.pbtxt: line 2, column 1: .*ModelConfig\" has no field named \"max_batch_sise\"\.",
        ),
        ("max_batch_size: many\n", r"m/config\.pbtxt: line 1, column 17: .*many"),
        ('name: "n"\n', r"m/config\.pbtxt: says name 'n', but its directory is 'm'; both must agree"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_line_and_column(config: str, message: str, tmp_path: Path) -> None:
    _model(tmp_path, "m", config)
    with pytest.raises(RepositoryBroken) as refused:
        read_repository(tmp_path)
    assert re.fullmatch(f"{re.escape(str(tmp_path))}/{message}", str(refused.value))


def test_a_name_that_would_confuse_tritons_shell_is_refused(tmp_path: Path) -> None:
    _model(tmp_path, "my model", None)
    with pytest.raises(RepositoryBroken, match="Triton cannot serve a model of this name; use letters"):
        read_repository(tmp_path)


def _image_model(repository: Path, net_versions: int, live: str = "1", net_live: str = "1") -> None:
    policy = "version_policy {{ specific {{ versions: [{}] }} }}\n"
    image = 'parameters { key: "slipway.image" value { string_value: "{}" } }\n'
    _model(repository, "digits", 'backend: "python"\n' + image + policy.format(live) + IO, 2)
    _model(repository, "digits_net", 'platform: "onnxruntime_onnx"\n' + policy.format(net_live) + IO, net_versions)


def test_an_image_model_with_all_its_nets_is_whole(tmp_path: Path) -> None:
    _image_model(tmp_path, net_versions=2, live="1, 2", net_live="2, 1")
    assert read_repository(tmp_path).broken == {}


@pytest.mark.parametrize(
    ("net_versions", "reason"),
    [
        (0, "it asks digits_net/1, which is missing; put that back, or remove digits/1"),
        (1, "it asks digits_net/2, which is missing; put that back, or remove digits/2"),
        (2, "it asks digits_net/2, which is not live; add 2 to version_policy in digits_net/config.pbtxt"),
    ],
)
def test_an_image_model_without_the_net_of_a_live_version_is_broken(
    net_versions: int, reason: str, tmp_path: Path
) -> None:
    _image_model(tmp_path, net_versions, live="1, 2")
    repository = read_repository(tmp_path)
    with pytest.raises(RepositoryBroken) as refused:
        repository.require_whole()
    assert str(refused.value).startswith(f"{tmp_path}: model 'digits': {reason}")


def test_a_version_that_is_not_live_needs_no_net(tmp_path: Path) -> None:
    _image_model(tmp_path, net_versions=1)
    assert read_repository(tmp_path).broken == {}


@pytest.mark.parametrize("link", ["digits", "iris/2", "iris/config.pbtxt", "iris/1/model.onnx"])
def test_a_link_that_leads_nowhere_is_refused_by_name(link: str, tmp_path: Path) -> None:
    _model(tmp_path, "iris", None)
    (tmp_path / link).symlink_to("/mnt/unmounted")
    with pytest.raises(RepositoryBroken) as refused:
        read_repository(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / link}: is a link to /mnt/unmounted, which cannot be read (no such file or directory); "
        "mend the link or remove it"
    )


@contextmanager
def _without_privileges() -> Generator[None]:
    """As a user to whom permissions apply."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["iris", "iris/1", "iris/config.pbtxt", "iris/1/model.py", "."])
def test_what_may_not_be_read_is_refused_by_name(closed: str) -> None:
    with _without_privileges(), TemporaryDirectory() as folder:
        repository = Path(folder)
        _model(repository, "iris", 'backend: "python"\n' + IO)
        mode = (repository / closed).stat().st_mode
        (repository / closed).chmod(0)
        try:
            with pytest.raises(RepositoryBroken) as refused:
                read_repository(repository)
        finally:
            (repository / closed).chmod(mode)
    assert str(refused.value).startswith(f"{repository / closed}: cannot be read (permission denied); give this user")


def test_directories_without_a_version_are_told_apart(tmp_path: Path) -> None:
    _model(tmp_path, "iris", 'backend: "onnxruntime"\n' + IO)
    (tmp_path / "digits").mkdir()
    (tmp_path / ".partial").mkdir()
    repository = read_repository(tmp_path)
    assert repository.unpublished == ("digits",)
    assert [model.name for model in repository.models] == ["iris"]


@pytest.mark.parametrize(
    ("said", "logged", "reason"),
    [
        (
            "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: "
            "ModelRefused: model 'm', input 'x': its config says [-1, 3], the graph [-1, 2];",
            "",
            "version 1: model 'm', input 'x': its config says [-1, 3], the graph [-1, 2]",
        ),
        (
            "load failed for model 'm': version 2 is at UNAVAILABLE state: Internal: ValueError: no weights",
            "",
            "version 2: ValueError: no weights",
        ),
        ("failed to load 'm', failed to poll from model repository", "config.pbtxt, line 3", "config.pbtxt, line 3"),
        (
            "failed to load 'm', failed to poll from model repository",
            "",
            "Triton cannot read its directory (nothing in the log says why)",
        ),
        (
            "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: "
            "Stub process 'm_0_0' is not healthy.;",
            "",
            "its worker died while it loaded (killed, out of memory, or crashed); the log may say more (--verbose)",
        ),
    ],
)
def test_tritons_reason_is_told_without_its_wrapping(said: str, logged: str, reason: str) -> None:
    assert reason_of("m", RepositoryBroken("m", said), logged) == reason
