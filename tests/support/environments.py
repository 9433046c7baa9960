"""Python environments of their own, made with uv, for tests of what an installation contains."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Environment:
    """A virtual environment in a folder."""

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    def install(self, *requirements: str, pinned: bool = True) -> None:
        """Install with uv, pinned by the lock file unless told otherwise."""
        constraint = ["--constraint", str(LOCK)] if pinned else []
        self._checked([str(UV), "pip", "install", "--quiet", *constraint, *requirements])

    def run(self, *command: str, timeout_s: float = 120, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment, away from the checkout, so that only what is installed is found."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            env=self._variables(),
            cwd=cwd or self.path,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SLIPWAY"))}
        links = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
        return kept | {
            "VIRTUAL_ENV": str(self.path),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "UV_FIND_LINKS": links,
        }

    def _checked(self, command: list[str]) -> None:
        done = subprocess.run(command, env=self._variables(), capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr


def new_environment(path: Path) -> Environment:
    """An empty environment with this interpreter."""
    subprocess.run([str(UV), "venv", "--quiet", "--python", sys.executable, str(path)], check=True, timeout=120)
    return Environment(path)


def built_wheel(folder: Path) -> Path:
    """The project's wheel, built from the checkout."""
    command = [str(UV), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel
