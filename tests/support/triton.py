"""A real embedded Triton for tests, and small ONNX models to put into it."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from onnx import NodeProto, TensorProto, helper, save

from slipway_client import Client
from slipway_core.tensors import Array
from slipway_serving import ServeOptions, Server, start

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Shape = Sequence[int | str]


@dataclass
class RunningTriton:
    """A server on free ports, its repository, and every line it has logged."""

    server: Server
    repository: Path
    lines: list[str] = field(default_factory=list[str])

    @property
    def grpc(self) -> str:
        return self.server.grpc_address

    @property
    def http(self) -> str:
        return self.server.http_address


@contextmanager
def start_triton(repository: Path, **options: object) -> Generator[RunningTriton]:
    """A Triton of the test's own on a repository that holds a model; stopped at the end."""
    lines: list[str] = []
    chosen = {"server": "embedded", "http_port": 0, "grpc_port": 0, "metrics_port": 0, "drain_s": 2.0} | options
    with start(ServeOptions(repository=repository, log=lines.append, **chosen)) as server:  # type: ignore[arg-type]
        yield RunningTriton(server, repository, lines)


def publish(
    repository: Path,
    name: str,
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    config: str | None = "",
    *,
    initializers: Sequence[TensorProto] = (),
    version: int = 1,
) -> Path:
    """Write an ONNX model and, unless ``config`` is None, its config: ``config`` after name and platform."""
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in outputs.items()],
        list(initializers),
    )
    directory = repository / name / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), directory / "model.onnx")
    if config is not None:
        head = f'name: "{name}"\nplatform: "onnxruntime_onnx"\n'
        (repository / name / "config.pbtxt").write_text(head + config + CPU, encoding="utf-8")
    return directory


CPU = """
instance_group { count: 1 kind: KIND_CPU }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


def publish_doubler(repository: Path, name: str = "doubler", batching: str = "dynamic_batching { }") -> None:
    """``y = x + x`` on FP32 [2], up to 8 at once."""
    config = f"""
max_batch_size: 8
input {{ name: "x" data_type: TYPE_FP32 dims: 2 }}
output {{ name: "y" data_type: TYPE_FP32 dims: 2 }}
{batching}
"""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    publish(repository, name, nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, config)


def publish_python(repository: Path, name: str, code: str, config: str) -> Path:
    """Write a model for Triton's python backend; ``config`` follows name and backend."""
    directory = repository / name / "1"
    directory.mkdir(parents=True)
    (directory / "model.py").write_text(code, encoding="utf-8")
    head = f'name: "{name}"\nbackend: "python"\ninstance_group {{ count: 1 kind: KIND_CPU }}\n'
    (repository / name / "config.pbtxt").write_text(head + config, encoding="utf-8")
    return directory


def ask(
    triton: RunningTriton, model: str, tensors: Mapping[str, Array], outputs: Sequence[str] = ()
) -> dict[str, Array]:
    """One request's answer."""
    with Client(triton.grpc) as client:
        return dict(client.infer(model, tensors, outputs=outputs).tensors)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until the condition holds; fail with ``what`` when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def workers(server: Server, model: str) -> list[int]:
    """The process ids of a model's living workers."""
    return [pid for pid in descendants(server.pid) if f"/{model}/" in command_line(pid)]


def descendants(pid: int) -> list[int]:
    """The processes below ``pid``, all generations."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> str:
    """A process's command line; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def guardian_of(server_pid: int) -> int:
    """The guardian above a Triton."""
    parent = int(Path(f"/proc/{server_pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert "_guardian.py" in command_line(parent)
    return parent


def name_of(guardian: int) -> str:
    """The name by which a server marks everything of its own."""
    match = re.search(r"--prefix (\S+)-", command_line(guardian))
    assert match is not None
    return match[1]


def traces(name: str) -> set[str]:
    """What the server of that name has in /dev/shm and among temporary files."""
    folders = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return {str(path) for folder in folders for path in folder.glob(f"{name}*")}
