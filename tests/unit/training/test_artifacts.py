"""A run's files appear together or not at all, whatever happens to the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from slipway_core.errors import TrainingFailed
from slipway_training.artifacts import staged


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with the files of an earlier run, and a note that somebody put beside them."""
    target = tmp_path / "artifacts" / "iris"
    with staged(target, "iris") as run:
        run.write("model", b"old")
        run.write("summary", b"old")
    (target / "notes.txt").write_text("mine")
    return target


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def hidden(target: Path) -> list[str]:
    return sorted(entry.name for entry in target.parent.iterdir() if entry.is_dir() and entry != target)


def test_files_appear_when_the_block_ends_and_not_before(earlier: Path) -> None:
    with staged(earlier, "iris") as run:
        run.write("model", b"new")
        run.write("summary", b"new")
        assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "old"}
    assert contents(earlier) == {"model": "new", "notes.txt": "mine", "summary": "new"}
    assert hidden(earlier) == []


def test_a_run_that_fails_leaves_the_earlier_files_and_nothing_else(earlier: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(earlier, "iris") as run:
        run.write("model", b"new")
        raise ZeroDivisionError
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "old"}
    assert hidden(earlier) == []


def test_what_a_killed_run_left_half_written_is_cleared_by_the_next(earlier: Path) -> None:
    half = earlier.with_name(".iris.partial")
    half.mkdir()
    (half / "model").write_text("half")
    with staged(earlier, "iris") as run:
        run.write("summary", b"new")
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "new"}
    assert hidden(earlier) == []


def test_a_run_killed_between_its_last_renames_is_finished_by_the_next(earlier: Path) -> None:
    ready = earlier.with_name(".iris.complete")
    ready.mkdir()
    (ready / "summary").write_text("newer")
    with pytest.raises(ZeroDivisionError), staged(earlier, "iris"):
        raise ZeroDivisionError
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "newer"}
    assert hidden(earlier) == []


def test_two_runs_at_once_are_refused(earlier: Path) -> None:
    with staged(earlier, "iris") as run:
        run.write("model", b"new")
        with pytest.raises(TrainingFailed) as refused, staged(earlier, "iris"):
            raise AssertionError
    assert str(refused.value) == f"cannot train 'iris': another run is writing {earlier}; wait for it to end"
    assert contents(earlier)["model"] == "new"


def test_a_target_that_cannot_be_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target, reason in (
        (tmp_path / "file", "it is a file, not a folder"),
        (tmp_path / "file" / "iris", "Not a directory"),
    ):
        with pytest.raises(TrainingFailed) as refused, staged(target, "iris"):
            raise AssertionError
        assert str(refused.value) in (
            f"cannot train 'iris': {target} cannot be written ({reason})",
            f"cannot train 'iris': {target} cannot be written (File exists)",
        )


def test_a_run_that_is_killed_leaves_the_earlier_files_and_no_lock(earlier: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from slipway_training.artifacts import staged\n"
        "with staged(Path(sys.argv[1]), 'iris') as run:\n"
        "    run.write('model', b'new')\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, earlier], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"written\n"
    run.kill()
    run.communicate(timeout=30)
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "old"}
    with staged(earlier, "iris") as run_after:
        run_after.write("summary", b"new")
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "new"}
    assert hidden(earlier) == []


def test_a_full_disk_is_one_line_and_the_earlier_files_stay(earlier: Path) -> None:
    # A limit on the size of files is the nearest to a full disk that needs no mount.
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from slipway_core.errors import TrainingFailed\n"
        "from slipway_training.artifacts import staged\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with staged(Path(sys.argv[1]), 'iris') as run:\n"
        "        run.write('summary', b'new')\n"
        "        run.write('model', b'x' * 5000)\n"
        "except TrainingFailed as e:\n"
        "    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, earlier], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"cannot train 'iris': {earlier} cannot be written (File too large)\n"
    assert contents(earlier) == {"model": "old", "notes.txt": "mine", "summary": "old"}
    assert hidden(earlier) == []
