"""Triton's log: what a person wants to see of it, and what it says about a model that would not load."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

PREFIX = "triton | "
TAIL_LINES = 40

_HEADER = re.compile(r"^(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (?P<file>[^:\]]+):\d+\] ?(?P<text>.*)$")
_LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
# What a machine without a GPU makes Triton say at every start.
_NOISE = re.compile(
    r"CUDA driver version is insufficient|CudaDriverHelper has not been initialized|unable to create stream"
    r"|Failed to initialize NVML|DCGM unable to start|unable to get number of CUDA devices|CUDA memory pool disabled"
    r"|pinned system memory|Error: NVML|failed to load all models"
)
# The same failure is told by three layers; the model's life cycle tells it best.
_ECHOES = ("backend_model.cc", "pb_stub.cc", "python_be.cc")
# What whoever starts the server tells better.
_STARTING = ("model_lifecycle.cc", "model_repository_manager.cc", "main.cc", "chttp2_server.cc")
_NO_ENDPOINT = re.compile(r"^failed to start (\w+) service: (?:\w+ - )?(.*)$")
_PROTOBUF = re.compile(r"^\[libprotobuf .*?Error parsing text-format [\w.]+: (\d+):(\d+): (.*)$")
_POLL = re.compile(r"^Poll failed for model directory '([^']+)': (.*)$", re.S)
_OUTCOME = re.compile(r"^successfully (un)?loaded '")
_TABLE = re.compile(r"^[+|]|^\s*$")
_STOPPING = re.compile(r"^Signal \(\d+\) received|^Waiting for in-flight requests")
_UNLOADING = "All models are stopped, unloading models"


@dataclass(frozen=True)
class Entry:
    """One line: with Triton's header, or (``file`` empty) as a model or library printed it."""

    level: str
    file: str
    text: str


def parse(line: str) -> Entry:
    """The line's parts; quotes and escapes of the newer log format are undone."""
    match = _HEADER.match(line)
    if match is None:
        return Entry("", "", line)
    text = match["text"]
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace("\\n", "\n").replace('\\"', '"')
    return Entry(_LEVELS[match["level"]], match["file"], text)


class TritonLog:
    """Takes Triton's log line by line and hands on what is worth reading, prefixed with ``triton | ``.

    While ``starting``, failures of models and ports are kept back: whoever starts the server tells them better.
    ``no_endpoint`` says which port Triton could not bind; it runs on without it. ``stopping`` is set when Triton has
    heard that it is to end, ``unloading`` when everything in flight has been answered. With ``verbose`` every line is
    handed on as it is.
    """

    def __init__(self, hand_on: Callable[[str], None], verbose: bool) -> None:
        self._hand_on, self._verbose = hand_on, verbose
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._poll_reasons: dict[str, str] = {}
        self._syntax_error = ""
        self.starting = True
        self.no_endpoint = ""
        self.stopping, self.unloading = threading.Event(), threading.Event()

    def feed(self, line: str) -> None:
        """Take one line, without its end."""
        entry = parse(line)
        self._learn(entry)
        if self._verbose:
            self._hand_on(PREFIX + line)
        elif self._matters(entry):
            self._hand_on(f"{PREFIX}{entry.level + ' ' if entry.level else ''}{_first_part(entry.text)}")

    def tail(self) -> list[str]:
        """The last warnings, errors and prints, oldest first."""
        return list(self._tail)

    def reason(self, model: str) -> str:
        """Why Triton could not read the model's directory; empty when it said nothing about it."""
        return self._poll_reasons.get(model, "")

    def _learn(self, entry: Entry) -> None:
        if _STOPPING.match(entry.text):
            self.stopping.set()
        if entry.text == _UNLOADING:
            self.unloading.set()
        if trouble := _NO_ENDPOINT.match(entry.text):
            self.no_endpoint = f"{trouble[1]}: {trouble[2]}"
        if syntax := _PROTOBUF.match(entry.text):
            self._syntax_error = f"line {syntax[1]}, column {syntax[2]}: {syntax[3]}"
        elif poll := _POLL.match(entry.text):
            unreadable = "failed to read text proto" in poll[2] and self._syntax_error
            self._poll_reasons[poll[1]] = f"config.pbtxt, {self._syntax_error}" if unreadable else poll[2]
            self._syntax_error = ""
        if entry.level != "INFO" and not _NOISE.search(entry.text) and not _TABLE.match(entry.text):
            self._tail.append(_first_part(entry.text))

    def _matters(self, entry: Entry) -> bool:
        if _NOISE.search(entry.text) or (not entry.file and _TABLE.match(entry.text)):
            return False
        if entry.file in _ECHOES or (not entry.file and _PROTOBUF.match(entry.text)):
            return False
        if entry.level == "INFO":
            return entry.file.endswith(".py") or bool(_OUTCOME.match(entry.text) and not self.starting)
        if not entry.file and entry.text.startswith("Signal ("):
            return False
        return not (self.starting and (entry.file in _STARTING or _NO_ENDPOINT.match(entry.text)))


def _first_part(text: str) -> str:
    """A message without the trace of a Python model, in one line."""
    return " ".join(text.partition("\n\nAt:")[0].split())
