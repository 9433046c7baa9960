"""``/v2``: Triton's own protocol over JSON, every datatype, and what its clients rely on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from slipway_client import FakeModel, FakeTransport, rpcs
from support.frontend import InProcess, error_of, fake_triton

INFER = "/v2/models/echo/infer"


@pytest.fixture
def triton() -> FakeTransport:
    fake = fake_triton()
    config = type(fake.models["iris"].config)(name="echo", max_batch_size=0, platform="onnxruntime_onnx")
    config.input.add(name="x", data_type="TYPE_FP32", dims=[-1])
    config.output.add(name="x", data_type="TYPE_FP32", dims=[-1])
    fake.models["echo"] = FakeModel(config, lambda tensors: tensors)
    return fake


@pytest.fixture
def app(triton: FakeTransport) -> InProcess:
    return InProcess.before(triton)


def tensor(datatype: str, data: Any, shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data, **more}


EXAMPLES = [
    ("BOOL", [True, False]),
    ("UINT8", [0, 255]),
    ("UINT16", [0, 65535]),
    ("UINT32", [0, 2**32 - 1]),
    ("UINT64", [0, 2**64 - 1]),
    ("INT8", [-128, 127]),
    ("INT16", [-(2**15), 2**15 - 1]),
    ("INT32", [-(2**31), 2**31 - 1]),
    ("INT64", [-(2**63), 2**63 - 1]),
    ("FP32", [1.5, -2]),
    ("FP64", [1e300, 0.1]),
    ("BYTES", ["", "Köln"]),
]


@pytest.mark.parametrize(("datatype", "data"), EXAMPLES)
def test_every_datatype_goes_in_and_comes_out(app: InProcess, datatype: str, data: list[Any]) -> None:
    body = app.post(INFER, json={"inputs": [tensor(datatype, data)]}).json()
    assert body == {
        "model_name": "echo",
        "model_version": "1",
        "outputs": [{"name": "x", "datatype": datatype, "shape": [2], "data": data}],
    }


def test_nested_data_fills_the_shape_row_by_row(app: InProcess) -> None:
    body = app.post(INFER, json={"inputs": [tensor("INT32", [[1, 2, 3], [4, 5, 6]], [2, 3])]}).json()
    assert body["outputs"][0] == {"name": "x", "datatype": "INT32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}


def test_tensors_without_elements_pass(app: InProcess) -> None:
    body = app.post(INFER, json={"inputs": [tensor("FP32", [], [0, 4])]}).json()
    assert body["outputs"][0] == {"name": "x", "datatype": "FP32", "shape": [0, 4], "data": []}


def test_nan_and_infinities_are_answered_bare_as_triton_writes_them(app: InProcess, triton: FakeTransport) -> None:
    answered = {"x": np.array([np.nan, -np.inf], np.float32)}
    triton.models["echo"] = FakeModel(triton.models["echo"].config, lambda _: answered)
    answer = app.post(INFER, json={"inputs": [tensor("FP32", [1.0])]})
    assert answer.text.endswith('"data":[NaN,-Infinity]}]}')


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_a_number_that_is_not_finite_is_refused_by_input_and_element(
    app: InProcess, triton: FakeTransport, datatype: str, number: str
) -> None:
    for place in (1, 25_000):
        data = ",".join(["0"] * place + [number, "2"])
        body = f'{{"inputs": [{{"name":"x","datatype":"{datatype}","shape":[{place + 2}],"data":[{data}]}}]}}'
        assert error_of(app.post(INFER, content=body), 400) == (
            f"input 'x': element {place} of 'data' is not a finite number (NaN, or beyond 1.8e308)"
        )
    assert triton.requests(rpcs.MODEL_INFER) == []


def test_an_id_is_echoed_and_only_if_given(app: InProcess) -> None:
    given = {"id": "request 7", "inputs": [tensor("FP32", [1.0])]}
    assert app.post(INFER, json=given).json()["id"] == "request 7"
    assert "id" not in app.post(INFER, json={"inputs": [tensor("FP32", [1.0])]}).json()


def test_parameters_reach_triton_with_their_types(app: InProcess, triton: FakeTransport) -> None:
    parameters = {"sequence_id": 7, "sequence_start": True, "priority": 2, "timeout": 9, "note": "x", "share": 0.5}
    outputs = [{"name": "x", "parameters": {"classification": 2}}]
    request = {"parameters": parameters | {"huge": 2**63}, "inputs": [tensor("FP32", [1.0])], "outputs": outputs}
    assert app.post(INFER, json=request).status_code == 200
    (sent,) = triton.requests(rpcs.MODEL_INFER)
    got = {key: value.WhichOneof("parameter_choice") for key, value in sent.parameters.items()}
    assert got == {
        "sequence_id": "int64_param",
        "sequence_start": "bool_param",
        "priority": "uint64_param",
        "timeout": "int64_param",
        "note": "string_param",
        "share": "double_param",
        "huge": "uint64_param",
    }
    assert sent.outputs[0].parameters["classification"].int64_param == 2


@pytest.mark.parametrize("name", ["region", "byte_size", "offset"])
@pytest.mark.parametrize("place", ["inputs", "outputs", "the request"])
def test_no_client_reaches_memory_that_others_share_with_triton(
    app: InProcess, triton: FakeTransport, place: str, name: str
) -> None:
    parameters = {"parameters": {f"shared_memory_{name}": 1}}
    request: dict[str, Any] = {"inputs": [tensor("FP32", [1.0])], "outputs": [{"name": "x"}]}
    (request if place == "the request" else request[place][0]).update(parameters)
    where = {"inputs": "input 'x': ", "outputs": "output 0: "}.get(place, "")
    assert error_of(app.post(INFER, json=request), 400) == (
        f"{where}'parameters': 'shared_memory_{name}': shared memory is not offered here; send the data itself"
    )
    assert triton.requests(rpcs.MODEL_INFER) == []


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("was", "twice"),
    [
        ('"data":', '"data":[2.0],"data" :'),
        ('"priority":', '"priority":1,"priority":'),
        ('"inputs":', '"inputs" :[],"inputs":'),
    ],
)
def test_a_name_given_twice_is_refused(
    app: InProcess, triton: FakeTransport, was: str, twice: str, large: bool
) -> None:
    request = {"parameters": {"priority": 2}, "inputs": [tensor("FP32", [1.0])]}
    body = json.dumps(request).replace(was, twice) + " " * 300_000 * large
    assert error_of(app.post(INFER, content=body), 400) == (
        f"{was[1:-2]!r} is named twice in one object of the body; which value is meant?"
    )
    assert triton.requests(rpcs.MODEL_INFER) == []


def test_a_version_in_the_path_is_the_one_asked(app: InProcess) -> None:
    request = {"inputs": [tensor("FP32", [1.0])]}
    assert app.post("/v2/models/echo/versions/1/infer", json=request).json()["model_version"] == "1"
    assert error_of(app.post("/v2/models/echo/versions/2/infer", json=request), 404) == (
        "model 'echo' has no live version '2'; available: 1"
    )
    assert error_of(app.post("/v2/models/echo/versions/one/infer", json=request), 400) == (
        "version must be a positive whole number, got 'one'"
    )


def test_more_rows_than_the_batch_limit_are_refused_with_the_limit(app: InProcess) -> None:
    features = {"name": "features", "datatype": "FP32", "shape": [10_000, 4], "data": [1.0] * 40_000}
    assert error_of(app.post("/v2/models/iris/infer", json={"inputs": [features]}), 400) == (
        "10000 rows are more than model 'iris' takes in one request (64); "
        "send at most 64, or use predict, which splits and joins them"
    )


BAD_INPUTS = [
    ({}, "the body has no list 'inputs'"),
    ([], "the body must be an object"),
    ({"inputs": [3]}, "input 0 must be an object"),
    ({"inputs": [{}]}, "input 0: 'name' must be a string"),
    ({"inputs": [{"name": "x"}]}, "input 'x': 'shape' must be a list of whole numbers"),
    ({"inputs": [tensor("FP32", [1], [-1])]}, "input 'x': 'shape' must be a list of whole numbers from 0"),
    ({"inputs": [tensor("FP32", [1], [True])]}, "input 'x': 'shape' must be a list of whole numbers from 0"),
    ({"inputs": [tensor("FP16", [1])]}, "input 'x': FP16 has no JSON form; use binary data or gRPC"),
    ({"inputs": [tensor("BF16", [1])]}, "input 'x': BF16 has no JSON form; use binary data or gRPC"),
    (
        {"inputs": [tensor("FLOAT", [1])]},
        "input 'x': datatype 'FLOAT' is not one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
        "FP16, FP32, FP64, BYTES",
    ),
    ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, "input 'x' has no 'data'"),
    ({"inputs": [tensor("FP32", [1], None) | {"data": 3}]}, "input 'x': 'data' must be a list"),
    ({"inputs": [tensor("FP32", [1, 2], [3])]}, "input 'x': 2 elements do not fill the shape [3]"),
    ({"inputs": [tensor("FP32", [1], [2**62, 4])]}, f"input 'x': 1 elements do not fill the shape [{2**62}, 4]"),
    ({"inputs": [tensor("FP32", [[1, 2], 3])]}, "input 'x': 'data' is nested unevenly"),
    ({"inputs": [tensor("FP32", ["1"])]}, "input 'x': 'data' holds a string, which a FP32 tensor cannot"),
    ({"inputs": [tensor("FP32", [None])]}, "input 'x': 'data' holds an object or null, which a FP32 tensor cannot"),
    ({"inputs": [tensor("INT32", [1.5])]}, "input 'x': 'data' holds a fraction, which a INT32 tensor cannot"),
    ({"inputs": [tensor("BOOL", [1])]}, "input 'x': 'data' holds a whole number, which a BOOL tensor cannot"),
    ({"inputs": [tensor("INT8", [True])]}, "input 'x': 'data' holds true or false, which a INT8 tensor cannot"),
    (
        {"inputs": [tensor("BYTES", [b"a".hex(), 1])]},
        "input 'x': 'data' holds a whole number, which a BYTES tensor cannot",
    ),
    ({"inputs": [tensor("UINT8", [256])]}, "input 'x': UINT8 takes 0 to 255"),
    ({"inputs": [tensor("UINT64", [-1])]}, f"input 'x': UINT64 takes 0 to {2**64 - 1}"),
    ({"inputs": [tensor("FP32", [1e39])]}, "input 'x': element 0 of 'data' is too large for FP32: 1e+39"),
    ({"inputs": [tensor("FP64", [10**400])]}, "input 'x': 'data' holds a number too large for FP64"),
    ({"id": 3, "inputs": []}, "'id' must be a string"),
    ({"inputs": [], "outputs": {}}, "'outputs' must be a list"),
    ({"inputs": [], "outputs": [{}]}, "output 0: 'name' must be a string"),
    ({"inputs": [], "parameters": []}, "'parameters' must be an object"),
    (
        {"inputs": [], "parameters": {"a": {}}},
        "'parameters': 'a' must be a string, a number, true or false",
    ),
    (
        {"inputs": [], "parameters": {"triton_x": 1}},
        "'parameters': names that start with 'triton_' are Triton's own, got 'triton_x'",
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD_INPUTS, ids=[message[:50] for _, message in BAD_INPUTS])
def test_a_request_that_is_none_is_refused(app: InProcess, triton: FakeTransport, body: object, message: str) -> None:
    assert error_of(app.post(INFER, json=body), 400) == message
    assert triton.requests(rpcs.MODEL_INFER) == []


def test_an_output_that_json_cannot_carry_is_refused(app: InProcess, triton: FakeTransport) -> None:
    echo = triton.models["echo"].config
    for made, message in [
        (np.zeros(1, np.float16), "output 'x': FP16 has no JSON form; use gRPC"),
        (
            np.array([b"\xff"], np.object_),
            "output 'x' holds bytes that are no text, which JSON cannot carry; use gRPC",
        ),
    ]:
        triton.models["echo"] = FakeModel(echo, lambda _, made=made: {"x": made})
        assert error_of(app.post(INFER, json={"inputs": [tensor("FP32", [1.0])]}), 400) == message


def test_binary_tensors_are_refused_in_one_line(app: InProcess) -> None:
    answer = app.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": "2"})
    assert error_of(answer, 501) == (
        "binary tensors (Inference-Header-Content-Length) are not taken here; send the data as JSON"
    )


def test_health_is_what_clients_of_triton_read(app: InProcess, triton: FakeTransport) -> None:
    for path, key in [("live", "live"), ("ready", "ready")]:
        answer = app.get(f"/v2/health/{path}")
        assert (answer.status_code, answer.json()) == (200, {key: True})
    triton.down = True
    answer = app.get("/v2/health/ready")
    assert error_of(answer, 400) == "Triton is not ready"
    assert answer.json()["ready"] is False
    assert error_of(app.get("/v2/health/live"), 400) == "Triton does not answer"


def test_a_models_readiness_is_told(app: InProcess) -> None:
    assert app.get("/v2/models/echo/ready").json() == {"name": "echo", "ready": True}
    assert app.get("/v2/models/echo/versions/1/ready").json() == {"name": "echo", "ready": True}
    assert error_of(app.get("/v2/models/echo/versions/3/ready"), 400) == "model 'echo' version '3' is not ready"
    assert error_of(app.get("/v2/models/none/ready"), 400) == "model 'none' is not ready"


def test_metadata_and_configuration_are_tritons_own(app: InProcess) -> None:
    assert app.get("/v2").json() == {"name": "triton", "version": "fake", "extensions": []}
    assert app.get("/v2/models/echo").json() == {
        "name": "echo",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    }
    config = app.get("/v2/models/iris/config").json()
    assert config["input"][0]["dims"] == [4], "64-bit integers are numbers, not strings"
    assert json.loads(config["parameters"]["slipway.labels"]["string_value"])[0] == "setosa"
    for path in ("/v2/models/none", "/v2/models/none/config", "/v2/models/none/versions/1/config"):
        assert error_of(app.get(path), 404) == "no model 'none' is served; available: digits, echo, iris"
