"""Publishing: complete or not there, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_core.card import ModelCard
from slipway_core.errors import ContractChanged, PublishFailed
from slipway_core.layout import ModelDirectory, model_names
from slipway_core.manifest import Manifest
from slipway_core.summary import hash_file
from slipway_export import export, live_versions
from slipway_export.config import read_config
from support.export import onnx_card, pixels_card


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder; lock files, which stay, are left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_version_is_complete_and_its_manifest_proves_it(tmp_path: Path, repository: Path) -> None:
    card = onnx_card(tmp_path)
    published = export(card, repository=repository)
    assert (published.model, published.version, published.live) == ("linear", 1, True)
    manifest = Manifest.read(published.path / "manifest.json")
    assert manifest.source.sha256 == hash_file(card.source.path)
    assert manifest.files == {name: hash_file(published.path / name) for name in ("config.pbtxt", "model.onnx")}
    assert manifest.parity == published.parity
    assert (manifest.opset, manifest.ir_version) == (17, 8)
    assert "onnxruntime" in manifest.libraries
    assert (repository / "linear" / "labels.txt").read_text() == "x\ny\nz\n"
    assert (repository / "linear" / "config.pbtxt").read_bytes() == (published.path / "config.pbtxt").read_bytes()


def test_nothing_but_versions_and_shared_files_remains_in_the_model(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    export(pixels_card(tmp_path), repository=repository)
    assert model_names(repository) == ["pixels", "pixels_net"]
    for model in ("pixels", "pixels_net"):
        assert {path.name for path in (repository / model).iterdir()} == {"1", "2", "config.pbtxt", "labels.txt"}


def test_versions_count_up_and_only_the_first_is_live(tmp_path: Path, repository: Path) -> None:
    before = None
    for expected in (1, 2, 3):
        published = export(onnx_card(tmp_path), repository=repository)
        assert (published.version, published.live) == (expected, expected == 1)
        assert live_versions(repository, "linear") == (1,)
        shared = tree(repository)["linear/config.pbtxt"]
        assert before in (None, shared)
        before = shared


def test_a_number_can_be_asked_for_and_is_never_given_twice(tmp_path: Path, repository: Path) -> None:
    assert export(pixels_card(tmp_path), repository=repository, version=7).version == 7
    before = tree(repository)
    with pytest.raises(PublishFailed) as caught:
        export(pixels_card(tmp_path), repository=repository, version=7)
    assert str(caught.value) == (
        "pixels/7 was not published: this version exists, and versions never change; leave the number out for the "
        "next free one; what was published before is untouched"
    )
    assert tree(repository) == before
    assert export(pixels_card(tmp_path), repository=repository).version == 8
    assert export(pixels_card(tmp_path), repository=repository, version=2).version == 2


def test_both_halves_of_an_image_model_get_one_number_that_is_free_for_both(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    (repository / "pixels" / "4").mkdir()
    assert export(pixels_card(tmp_path), repository=repository).version == 5
    assert ModelDirectory(repository, "pixels_net").versions() == [1, 5]


def test_a_clone_with_tracked_configurations_publishes_its_first_version_without_changing_them(
    tmp_path: Path, repository: Path
) -> None:
    card = pixels_card(tmp_path)
    export(card, repository=repository)
    shared = {name: content for name, content in tree(repository).items() if "/1/" not in name}
    clone = tmp_path / "clone"
    for name, content in shared.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(content)
    assert export(card, repository=clone).live
    assert {name: content for name, content in tree(clone).items() if "/1/" not in name} == shared


# --- the contract -----------------------------------------------------------------------------------------


def changed(card: ModelCard, repository: Path) -> ContractChanged:
    before = tree(repository)
    with pytest.raises(ContractChanged) as caught:
        export(card, repository=repository)
    assert tree(repository) == before
    return caught.value


def test_other_labels_under_the_same_name_are_refused(tmp_path: Path, repository: Path) -> None:
    export(onnx_card(tmp_path), repository=repository)
    error = changed(onnx_card(tmp_path, output={"labels": ["x", "why", "z"]}), repository)
    assert str(error) == (
        "linear/2 was not published: its labels would change from 'y' at position 1 to 'why' at position 1, which "
        "breaks clients; publish it under another model name"
    )


def test_other_features_or_units_under_the_same_name_are_refused(tmp_path: Path, repository: Path) -> None:
    export(onnx_card(tmp_path, inputs=[{"name": "a", "unit": "cm"}, {"name": "b"}]), repository=repository)
    swapped = changed(onnx_card(tmp_path, inputs=[{"name": "b"}, {"name": "a", "unit": "cm"}]), repository)
    assert swapped.what == "features"
    assert (swapped.published, swapped.new) == ("a FP32 in cm, b FP32", "b FP32, a FP32 in cm")
    other_unit = changed(onnx_card(tmp_path, inputs=[{"name": "a", "unit": "mm"}, {"name": "b"}]), repository)
    assert other_unit.new == "a FP32 in mm, b FP32"


def test_another_size_of_image_under_the_same_name_is_refused(tmp_path: Path, repository: Path) -> None:
    from slipway_export.config import decoder_config, graph_config
    from slipway_export.contract import change

    small = pixels_card(tmp_path)
    large = pixels_card(tmp_path, image={"height": 16, "width": 16, "channels": 1})
    assert change(graph_config(small, [1]), graph_config(large, [2])) == (
        "inputs",
        "image UINT8[8, 8, 1]",
        "image UINT8[16, 16, 1]",
    )
    assert change(decoder_config(small, [1]), decoder_config(large, [2])) is None


def test_a_net_may_not_take_the_name_of_a_model(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    with pytest.raises(ContractChanged):
        export(onnx_card(tmp_path, name="pixels_net"), repository=repository)


def test_batching_and_preprocessing_may_change_from_version_to_version(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    image = {"height": 8, "width": 8, "channels": 1, "mean": [0.1], "interpolation": "bicubic"}
    card = pixels_card(tmp_path, image=image, batching={"max_batch_size": 4, "queue_delay_us": 100})
    published = export(card, repository=repository)
    assert json.loads((published.path / "image.json").read_text())["interpolation"] == "bicubic"
    assert read_config(repository / "pixels" / "config.pbtxt").max_batch_size == 16
    assert read_config(published.path / "config.pbtxt").max_batch_size == 4


def test_versions_that_somebody_else_put_there_are_not_overgrown(tmp_path: Path, repository: Path) -> None:
    (repository / "linear" / "1").mkdir(parents=True)
    with pytest.raises(PublishFailed, match=r"holds versions without a config\.pbtxt; choose another model name"):
        export(onnx_card(tmp_path), repository=repository)


# --- a process that is killed -----------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from slipway_core.card import ModelCard
from slipway_export import export
def progress(text):
    if text == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
export(ModelCard.model_validate_json(sys.argv[1]), repository=Path(sys.argv[2]), progress=progress)
"""


def killed_at(event: str, card: ModelCard, repository: Path) -> None:
    """Run the export in another process, which is killed with -9 when it tells of the event."""
    command = [sys.executable, "-c", KILLED, card.model_dump_json(), str(repository), event]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def test_a_crash_between_net_and_model_is_repaired_by_the_next_export(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    before = tree(repository)
    killed_at("publish: pixels_net/2 is in place", pixels_card(tmp_path, seed=1), repository)
    assert ModelDirectory(repository, "pixels_net").versions() == [1, 2]
    assert ModelDirectory(repository, "pixels").versions() == [1]
    assert live_versions(repository, "pixels") == (1,)
    assert before.items() <= tree(repository).items()

    published = export(pixels_card(tmp_path, seed=2), repository=repository)
    assert published.version == 2
    net = Manifest.read(repository / "pixels_net" / "2" / "manifest.json")
    assert net.source.sha256 == hash_file(pixels_card(tmp_path, seed=2).source.path)
    assert not list(repository.rglob(".publishing"))


def test_a_crash_between_net_and_model_is_repaired_when_the_same_number_is_asked_for(
    tmp_path: Path, repository: Path
) -> None:
    export(pixels_card(tmp_path), repository=repository, version=5)
    killed_at("publish: pixels_net/6 is in place", pixels_card(tmp_path, seed=1), repository)
    published = export(pixels_card(tmp_path), repository=repository, version=6)
    assert published.version == 6
    assert ModelDirectory(repository, "pixels_net").versions() == [5, 6]


def test_a_crash_during_the_very_first_export_leaves_nothing_that_counts_as_a_version(
    tmp_path: Path, repository: Path
) -> None:
    killed_at("publish: pixels/config.pbtxt is in place", pixels_card(tmp_path), repository)
    assert ModelDirectory(repository, "pixels").versions() == []
    assert (repository / "pixels" / ".publishing").is_dir()
    published = export(pixels_card(tmp_path), repository=repository)
    assert (published.version, published.live) == (1, True)
    assert not (repository / "pixels" / ".publishing").exists()


def test_a_listener_that_fails_takes_the_half_published_version_with_it(tmp_path: Path, repository: Path) -> None:
    export(pixels_card(tmp_path), repository=repository)
    before = tree(repository)

    def interrupted(text: str) -> None:
        if text == "publish: pixels_net/2 is in place":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(pixels_card(tmp_path), repository=repository, progress=interrupted)
    assert tree(repository) == before


@pytest.mark.parametrize("place", ["pixels_net/labels.txt", "pixels_net/1", "pixels/config.pbtxt"])
def test_an_interrupted_first_version_puts_tracked_configurations_back(
    tmp_path: Path, repository: Path, place: str
) -> None:
    tracked = {f"{model}/config.pbtxt": f"# somebody's {model}".encode() for model in ("pixels", "pixels_net")}
    for name, content in tracked.items():
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_bytes(content)

    def interrupted(text: str) -> None:
        if text == f"publish: {place} is in place":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(pixels_card(tmp_path), repository=repository, progress=interrupted)
    assert tree(repository) == tracked


# --- two processes ----------------------------------------------------------------------------------------


def test_exports_at_the_same_time_get_a_number_each(tmp_path: Path, repository: Path) -> None:
    card = pixels_card(tmp_path)
    export(card, repository=repository)
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.append(export(card, repository=repository).version)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [2, 3, 4, 5, 6, 7]
    assert ModelDirectory(repository, "pixels_net").versions() == [1, 2, 3, 4, 5, 6, 7]


HOLDING = """
import sys
from pathlib import Path
from slipway_export.durable import locked
with locked(Path(sys.argv[1]), "linear", lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_an_export_waits_for_another_process_and_says_so(tmp_path: Path, repository: Path) -> None:
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(repository)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        waiting = threading.Thread(
            target=export, args=(onnx_card(tmp_path),), kwargs={"repository": repository, "progress": said.append}
        )
        waiting.start()
        deadline = time.monotonic() + 60
        while "publish: waiting for another export of linear" not in said:
            assert time.monotonic() < deadline
        assert ModelDirectory(repository, "linear").versions() == []
        other.kill()  # a dead process holds no lock
    waiting.join(60)
    assert ModelDirectory(repository, "linear").versions() == [1]


# --- disks ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of its own on the folder; False where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "slipway-test", str(folder)]
    allowed = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield allowed
    finally:
        if allowed:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a disk without room does, for users who may not mount one: a write beyond the limit fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_version_as_it_was_and_nothing_of_the_new_one(
    tmp_path: Path, repository: Path
) -> None:
    with mounted(repository, 200) as small:
        export(pixels_card(tmp_path), repository=repository)
        if small:  # a few kilobytes stay free: enough to begin, too few to finish
            room = os.statvfs(repository)
            (repository / "ballast").write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 8192))
        before = tree(repository)
        card = pixels_card(tmp_path, seed=1)
        limit = contextlib.nullcontext() if small else files_of_at_most(2000)
        with limit, pytest.raises(PublishFailed) as caught:
            export(card, repository=repository)
        assert str(caught.value).startswith(f"pixels/2 was not published: {repository} cannot be written (")
        assert ("no space left on device" in str(caught.value)) == small
        assert str(caught.value).endswith("what was published before is untouched")
        assert tree(repository) == before
        assert not list(repository.rglob(".publishing"))
        (repository / "ballast").unlink(missing_ok=True)
        assert export(pixels_card(tmp_path), repository=repository).version == 2


def test_a_full_disk_leaves_no_trace_of_a_first_version(tmp_path: Path, repository: Path) -> None:
    card = pixels_card(tmp_path)
    with files_of_at_most(2000), pytest.raises(PublishFailed, match="file too large"):
        export(card, repository=repository)
    assert model_names(repository) == []


def test_a_read_only_repository_is_told_and_stays_as_it_is(tmp_path: Path, repository: Path) -> None:
    with mounted(repository, 1000) as own:
        export(onnx_card(tmp_path), repository=repository)
        before = tree(repository)
        if own:
            subprocess.run(["mount", "-o", "remount,ro", str(repository)], check=True)
        else:
            for folder in (repository, *repository.rglob("*")):
                folder.chmod(0o555)
            assert os.geteuid() != 0, "root without the right to mount cannot have a read-only folder"
        with pytest.raises(PublishFailed, match=r"linear/2 was not published: .* cannot be written \("):
            export(onnx_card(tmp_path), repository=repository)
        assert tree(repository) == before
        if not own:
            for folder in (repository, *repository.rglob("*")):
                folder.chmod(0o755)


def test_a_repository_that_is_a_file_is_told(tmp_path: Path, repository: Path) -> None:
    repository.write_text("")
    with pytest.raises(PublishFailed, match=r"cannot be written \(file exists\)"):
        export(onnx_card(tmp_path), repository=repository)
