"""The README's commands are run, not believed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.environments import ROOT
from support.stack import Stack

README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_the_two_commands_are_verbs_of_the_makefile() -> None:
    verbs = re.findall(r"^make (\S+)", _blocks("bash")[0], re.M)
    assert verbs == ["up", "test"]
    for verb in verbs:
        planned = subprocess.run(
            ["make", "-n", verb], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert planned.returncode == 0, planned.stderr


def test_the_commands_to_ask_with_work_as_printed(stack: Stack) -> None:
    (block,) = _blocks("bash")[1:]
    lines = [line for line in block.splitlines() if line and not line.startswith("source ")]
    assert len(lines) == 4
    variables = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLIPWAY_TRITON_GRPC": stack.grpc,
    }
    answers = []
    for line in lines:
        command = ["bash", "-ec", line.replace("127.0.0.1:8080", stack.frontend)]
        done = subprocess.run(
            command, cwd=stack.folder, env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        answers.append(done.stdout)
    assert answers[0].startswith("setosa (")
    assert re.match(r"\d \(", answers[1])
    assert '"predictions"' in answers[2]
    assert "digits_net" in answers[3]


def test_the_python_example_works_as_printed(stack: Stack) -> None:
    (code,) = _blocks("python")
    command = [sys.executable, "-c", code.replace("127.0.0.1:8001", stack.grpc)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "virginica\n", done.stderr


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page.name} links to {target}"


def test_make_help_lists_the_verbs() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} >= {"up", "test", "check", "bench", "lock", "help"}
