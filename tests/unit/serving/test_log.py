"""What of Triton's log is shown, and what is read from it."""

from __future__ import annotations

import pytest

from slipway_serving.log import TritonLog

NOISE = r"""
W1122 04:52:36.987398 11441 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, pinned memory pool will not be available: CUDA driver version is insufficient for CUDA runtime version"
I1122 04:52:36.987506 11441 cuda_memory_manager.cc:117] "CUDA memory pool disabled"
E1122 04:52:36.987584 11441 server.cc:241] "CudaDriverHelper has not been initialized."
I1122 04:52:38.964420 11441 server.cc:631] 
+-------------+------+
| Backend     | Path |
+-------------+------+

Error: Failed to initialize NVML
W1122 04:52:38.969032 11441 metrics.cc:798] "DCGM unable to start: DCGM initialization error"
I1122 04:52:38.978388 11441 grpc_server.cc:2558] "Started GRPCInferenceService at 127.0.0.1:18101"
Signal (15) received.
"""  # noqa: E501, W291


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def log(shown: list[str]) -> TritonLog:
    log = TritonLog(shown.append, verbose=False)
    log.starting = False
    return log


def test_what_a_machine_without_gpu_makes_triton_say_is_hidden_unless_verbose(log: TritonLog, shown: list[str]) -> None:
    everything: list[str] = []
    verbose = TritonLog(everything.append, verbose=True)
    for line in NOISE.strip("\n").split("\n"):
        log.feed(line)
        verbose.feed(line)
    assert shown == []
    assert everything == [f"triton | {line}" for line in NOISE.strip("\n").split("\n")]


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (
            "E1122 05:07:39.174682 17156 model_lifecycle.cc:642] \"failed to load 'm' version 1: Internal: "
            'ValueError: no weights\\n\\nAt:\\n  /m/1/model.py(4): initialize\\n"',
            "triton | ERROR failed to load 'm' version 1: Internal: ValueError: no weights",
        ),
        ("W1122 05:07:39.174682 1 core.cc:1] odd", "triton | WARNING odd"),
        (
            "I1122 04:52:38.884963 11441 model_lifecycle.cc:839] \"successfully loaded 'iris'\"",
            "triton | INFO successfully loaded 'iris'",
        ),
        ('I1122 04:52:38.884963 1 model.py:12] "a model speaks"', "triton | INFO a model speaks"),
        ("a model prints", "triton | a model prints"),
    ],
)
def test_what_matters_is_shown_prefixed_with_its_level(line: str, seen: str, log: TritonLog, shown: list[str]) -> None:
    log.feed(line)
    assert shown == [seen]


def test_while_models_are_loaded_their_failures_are_left_to_who_loads_them(shown: list[str]) -> None:
    log = TritonLog(shown.append, verbose=False)
    for file in (
        "model_lifecycle.cc:642",
        "model_repository_manager.cc:1460",
        "pb_stub.cc:366",
        "backend_model.cc:692",
    ):
        log.feed(f'E1122 05:07:39.174682 17156 {file}] "failed"')
    assert shown == []
    assert log.tail() == ["failed"] * 4


def test_the_reason_for_a_failed_poll_is_kept_with_line_and_column(log: TritonLog) -> None:
    log.feed(
        "[libprotobuf ERROR /tmp/x/text_format.cc:337] Error parsing text-format inference.ModelConfig: 3:15: "
        'Message type "inference.ModelConfig" has no field named "max_batch_sise".'
    )
    log.feed(
        "E1122 05:27:58.117760 25828 model_repository_manager.cc:1460] \"Poll failed for model directory 'm': "
        'failed to read text proto from /r/m/config.pbtxt"'
    )
    log.feed(
        "E1122 05:27:58.123887 25828 model_repository_manager.cc:1460] \"Poll failed for model directory 'n': "
        "unexpected directory name 'n' for model 'other', directory name must equal model name\""
    )
    assert log.reason("m") == (
        'config.pbtxt, line 3, column 15: Message type "inference.ModelConfig" has no field named "max_batch_sise".'
    )
    assert log.reason("n").startswith("unexpected directory name 'n' for model 'other'")
    assert log.reason("unheard_of") == ""


def test_the_end_of_the_requests_in_flight_is_heard(log: TritonLog) -> None:
    assert not log.unloading.is_set()
    log.feed('I1122 04:52:10.743032 10977 server.cc:336] "All models are stopped, unloading models"')
    assert log.unloading.is_set()


def test_a_port_that_triton_could_not_bind_is_noticed_since_it_runs_on_without_it(shown: list[str]) -> None:
    log = TritonLog(shown.append, verbose=False)
    log.feed("E1122 06:20:04.154721717   17817 chttp2_server.cc:1060] UNKNOWN:No address added out of total 1 resolved")
    log.feed(
        "E1122 06:20:04.154721 17817 http_server.cc:362] "
        "\"failed to start HTTP service: Unavailable - Socket '127.0.0.1:8000' already in use\""
    )
    assert log.no_endpoint == "HTTP: Socket '127.0.0.1:8000' already in use"
    assert shown == []
