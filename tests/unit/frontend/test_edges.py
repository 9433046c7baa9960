"""What holds for every answer: ids, one form of error, limits, and nothing of a bug leaks out."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from slipway_client import FakeTransport, rpcs
from slipway_core import errors
from slipway_frontend.errors import STATUS
from support.frontend import IRIS_ROW, InProcess, error_of, fake_triton

PREDICT = "/v1/models/iris/predict"


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def app(triton: FakeTransport) -> InProcess:
    return InProcess.before(triton)


def failing_with(triton: FakeTransport, error: Exception) -> None:
    def fail(_: object) -> dict[str, object]:
        raise error

    triton.models["iris"] = replace(triton.models["iris"], answer=fail)  # type: ignore[arg-type]


STATUSES = [
    (errors.InvalidInput("no"), 400, None),
    (errors.WrongTask("iris", "fly", "walk"), 400, None),
    (errors.ModelNotFound("iris"), 404, None),
    (errors.InferenceFailed("iris", "boom"), 500, None),
    (errors.RepositoryBroken("iris", "boom"), 500, None),
    (errors.UnsupportedByServer("no"), 501, None),
    (errors.Overloaded("iris", "its queue is full"), 503, "1"),
    (errors.WorkerDied("iris"), 503, "5"),
    (errors.DeadlineExceeded("model 'iris'", 30), 504, None),
]
UNREACHABLE = "Triton is not reachable; try again in a few seconds, or ask who runs this server to look at its log"


@pytest.mark.parametrize(("error", "status", "pause"), STATUSES, ids=[type(e).__name__ for e, *_ in STATUSES])
def test_each_error_has_its_status_and_its_own_line(
    app: InProcess, triton: FakeTransport, error: errors.SlipwayError, status: int, pause: str | None
) -> None:
    failing_with(triton, error)
    answer = app.post(PREDICT, json={"rows": [IRIS_ROW]})
    assert error_of(answer, status) == str(error)
    assert answer.headers.get("retry-after") == pause


UNNAMED = [
    (errors.ServerUnavailable("fake:0", "ipv4:fake:0 refused"), 503, "2", UNREACHABLE),
    (errors.DeadlineExceeded("Triton at fake:0", 30), 504, None, "Triton did not answer within 30 s"),
    (errors.UnsupportedByServer("Triton at fake:0: not allowed"), 501, None, "Triton: not allowed"),
]


@pytest.mark.parametrize(("error", "status", "pause", "told"), UNNAMED)
def test_where_triton_is_concerns_the_log_alone(
    app: InProcess,
    triton: FakeTransport,
    caplog: pytest.LogCaptureFixture,
    error: errors.SlipwayError,
    status: int,
    pause: str | None,
    told: str,
) -> None:
    failing_with(triton, error)
    answer = app.post(PREDICT, json={"rows": [IRIS_ROW]})
    assert error_of(answer, status) == told
    assert answer.headers.get("retry-after") == pause
    assert status != 503 or "fake:0 refused" in caplog.text


def test_every_error_that_a_model_can_bring_has_a_status_of_its_own() -> None:
    told = {type(error) for error, *_ in STATUSES}
    assert told - {errors.RepositoryBroken} | {type(error) for error, *_ in UNNAMED} <= set(STATUS)


def test_a_bug_is_a_500_that_shows_no_traceback_and_is_found_in_the_log(
    app: InProcess, triton: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    failing_with(triton, KeyError("secret of the implementation"))
    with caplog.at_level(logging.ERROR):
        answer = app.post(PREDICT, json={"rows": [IRIS_ROW]}, headers={"X-Request-ID": "find-me"})
    assert error_of(answer, 500) == "internal error; the frontend's log tells more under request id find-me"
    assert "secret" not in answer.text
    assert "request find-me failed" in caplog.text
    assert "secret of the implementation" in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nowhere", "/docs", "/"])
def test_every_answer_carries_a_request_id(app: InProcess, path: str) -> None:
    first, second = (app.get(path).headers["x-request-id"] for _ in range(2))
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize("given", ["a", "trace-7/3:x", "~" * 128])
def test_a_sane_request_id_is_kept(app: InProcess, given: str) -> None:
    assert app.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "with space", "x" * 129, "tab\tulator", b"caf\xc3\xa9"])
def test_a_request_id_that_could_do_harm_is_replaced(app: InProcess, given: str | bytes) -> None:
    answered = app.get("/healthz", headers=[(b"X-Request-ID", given)]).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", answered)


def test_an_unknown_route_is_refused_like_everything_else(app: InProcess) -> None:
    assert error_of(app.get("/v1/nothing"), 404) == "there is no GET /v1/nothing; the routes are listed at /docs"
    assert error_of(app.get("/v1/models/"), 404) == "there is no GET /v1/models/; the routes are listed at /docs"
    assert error_of(app.get("/" + "x" * 5_000), 404).endswith("x...; the routes are listed at /docs")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{PREDICT}?verison=1", "unknown query parameter 'verison'; did you mean 'version'? this route takes version"),
        (f"{PREDICT}?x", "unknown query parameter 'x'; this route takes version"),
        (
            "/v1/models/digits/classify?topk=1",
            "unknown query parameter 'topk'; did you mean 'top_k'? this route takes version, top_k",
        ),
        ("/v1/models/iris?version=1&v=2", "unknown query parameter 'v'; this route takes version"),
    ],
)
def test_a_query_that_would_be_ignored_is_refused(app: InProcess, path: str, message: str) -> None:
    method = "POST" if "classify" in path or "predict" in path else "GET"
    assert error_of(app.ask(method, path), 400) == message


def test_a_wrong_method_is_refused_with_the_right_one(app: InProcess) -> None:
    answer = app.get(PREDICT)
    assert error_of(answer, 405) == "GET is not allowed on /v1/models/iris/predict; use POST"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/docs", "/v2/models/iris", "/openapi.json"])
def test_what_can_be_got_has_a_head(app: InProcess, path: str) -> None:
    head, got = app.ask("HEAD", path), app.get(path)
    assert (head.status_code, head.headers["content-length"]) == (200, got.headers["content-length"])


def raw_answer(app: FastAPI, *received: dict[str, Any]) -> list[Any]:
    """What the app sends when a server hands it exactly these messages, and then nothing more."""
    scope = {"type": "http", "method": "POST", "path": PREDICT, "raw_path": PREDICT.encode(), "headers": []}
    scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1", "state": {}}
    parts, sent = list(received), []

    async def receive() -> Any:
        return parts.pop(0) if parts else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    return sent


def test_a_body_that_passes_the_limit_with_its_last_part_is_answered_at_once(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_text_bytes=4096).app
    sent = raw_answer(app, {"type": "http.request", "body": b"x" * 5_000, "more_body": False})
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") not in sent[0]["headers"]


def test_a_client_that_goes_away_while_sending_is_no_failure_of_ours(
    app: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        sent = raw_answer(
            app.app, {"type": "http.request", "body": b'{"rows"', "more_body": True}, {"type": "http.disconnect"}
        )
    assert sent == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "aborted" in caplog.text


def test_a_request_is_one_line_in_the_log(app: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="slipway.frontend"):
        app.get("/v1/models%0aforged", headers={"X-Request-ID": "r1"})
        app.get("/readyz")
    assert [re.sub(r"[\d.]+ ms", "T ms", record.getMessage()) for record in caplog.records] == [
        "GET '/v1/models\\nforged' 404 T ms r1"
    ]


def test_models_are_described_for_those_who_ask(app: InProcess, triton: FakeTransport) -> None:
    net = type(triton.models["iris"].config)(name="digits_net")
    net.parameters["slipway.task"].string_value = "classification"
    net.parameters["slipway.role"].string_value = "net"
    triton.models["digits_net"] = replace(triton.models["iris"], config=net)
    digits, iris = app.get("/v1/models").json()["models"]
    assert iris == app.get("/v1/models/iris").json()
    assert {key: iris[key] for key in ("name", "task", "versions", "max_batch_size", "labels", "ask")} == {
        "name": "iris",
        "task": "classification",
        "versions": ["1"],
        "max_batch_size": 64,
        "labels": ["setosa", "versicolor", "virginica"],
        "ask": PREDICT,
    }
    assert iris["inputs"][0] == {
        "name": "sepal_length",
        "unit": "cm",
        "datatype": "FP32",
        "optional": False,
        "example": 5.1,
        "description": "",
    }
    assert (digits["ask"], digits["image"]["height"], iris["image"]) == ("/v1/models/digits/classify", 8, None)
    assert error_of(app.get("/v1/models/irs"), 404) == "no model 'irs' is served; did you mean 'iris'?"


def test_the_documentation_needs_no_internet(app: InProcess) -> None:
    page = app.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded and all("//" not in address or address.startswith("data:") for address in loaded)
    for name, kind in [("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")]:
        answer = app.get(f"/docs/{name}")
        assert answer.headers["content-type"].startswith(kind) and len(answer.content) > 100_000


def test_the_description_of_the_routes_promises_what_they_do(app: InProcess) -> None:
    described = app.get("/openapi.json").json()
    predict = described["paths"]["/v1/models/{model}/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"application/json", "text/csv"}
    assert set(predict["responses"]) == {"200", "400", "404", "408", "413", "415", "500", "503", "504"}
    assert "HTTPValidationError" not in described["components"]["schemas"]
    example = predict["requestBody"]["content"]["application/json"]["example"]
    assert app.post(PREDICT, json=example).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(app: InProcess) -> None:
    answer = app.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; connect-src 'self';")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_the_frontend_runs_without_a_triton(app: InProcess, triton: FakeTransport) -> None:
    triton.down = True
    assert app.get("/healthz").json() == {"status": "ok"}
    answer = app.get("/readyz")
    assert error_of(answer, 503) == UNREACHABLE
    assert answer.json()["ready"] is False
    assert error_of(app.post(PREDICT, json={"rows": [IRIS_ROW]}), 503) == UNREACHABLE
    assert error_of(app.get("/v1/models"), 503) == UNREACHABLE


def test_readiness_names_the_model_that_does_not_answer(app: InProcess, triton: FakeTransport) -> None:
    assert app.get("/readyz").json() == {
        "ready": True,
        "models": [
            {"name": "digits", "ready": True, "versions": ["1"], "reason": ""},
            {"name": "iris", "ready": True, "versions": ["1"], "reason": ""},
        ],
    }
    triton.unready["iris"] = "Internal: failed to load model.onnx"
    answer = app.get("/readyz")
    assert error_of(answer, 503) == "not ready: iris (Internal: failed to load model.onnx)"
    assert answer.json()["models"][1]["ready"] is False


def test_a_model_unloaded_on_purpose_does_not_spoil_readiness(app: InProcess, triton: FakeTransport) -> None:
    triton.unready["iris"] = "unloaded"
    assert [model["name"] for model in app.get("/readyz").json()["models"]] == ["digits"]


def test_an_image_model_without_its_net_spoils_readiness(app: InProcess, triton: FakeTransport) -> None:
    triton.models["digits_net"] = triton.models["iris_net"] = triton.models["iris"]
    assert app.get("/readyz").status_code == 200
    triton.unready["digits_net"] = triton.unready["iris_net"] = "unloaded"
    answer = app.get("/readyz")
    assert error_of(answer, 503) == "not ready: digits (it asks digits_net/1, which is not served)"


@pytest.mark.parametrize("model", ["iris", "digits"])
def test_a_dead_worker_spoils_readiness_until_the_model_answers_again(
    app: InProcess, triton: FakeTransport, model: str
) -> None:
    healthy = triton.models[model]
    dead = errors.WorkerDied(model)

    def die(_: object) -> dict[str, object]:
        raise dead

    triton.models[model] = replace(healthy, answer=die)  # type: ignore[arg-type]
    assert app.get("/readyz").status_code == 200, "Triton knows nothing of it, and nobody has asked the model yet"
    asked = {"iris": {"json": {"rows": [IRIS_ROW]}}, "digits": {"content": b"\x89PNG"}}[model]
    route = {"iris": PREDICT, "digits": "/v1/models/digits/classify"}[model]
    assert app.post(route, **asked).status_code == 503
    assert error_of(app.get("/readyz"), 503) == f"not ready: {model} (its worker process died)"
    triton.models[model] = healthy
    assert app.get("/readyz").status_code == 200
    infers = len(triton.requests(rpcs.MODEL_INFER))
    assert app.get("/readyz").status_code == 200
    assert len(triton.requests(rpcs.MODEL_INFER)) == infers, "a living model is not asked again"
