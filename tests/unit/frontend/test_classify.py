"""``/v1/models/{model}/classify``: files in a form, a bare body, and everything that is no image."""

from __future__ import annotations

import pytest

from slipway_client import FakeTransport, rpcs
from support.frontend import InProcess, error_of, fake_triton

CLASSIFY = "/v1/models/digits/classify"
BINARY = {"Content-Type": "application/octet-stream"}


def png(last_digit: int) -> bytes:
    return b"\x89PNG" + b"x" * (16 + last_digit)


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def app(triton: FakeTransport) -> InProcess:
    return InProcess.before(triton)


def test_one_file_is_answered_in_the_shape_that_the_design_fixes(app: InProcess) -> None:
    answer = app.post(CLASSIFY, files={"file": ("seven.png", png(7), "image/png")})
    assert answer.status_code == 200
    (prediction,) = answer.json().pop("predictions")
    assert {key: answer.json()[key] for key in ("model", "version")} == {"model": "digits", "version": "1"}
    assert (prediction["file"], prediction["label"]) == ("seven.png", "7")
    assert [entry["label"] for entry in prediction["top"]] == ["7", "0", "1"]
    assert prediction["top"][0]["probability"] == pytest.approx(0.91)


def test_several_files_are_one_batch_in_order(app: InProcess, triton: FakeTransport) -> None:
    files = [("file", (f"{at}.png", png(at))) for at in range(10)]
    predictions = app.post(CLASSIFY, files=files).json()["predictions"]
    assert [(p["file"], p["label"]) for p in predictions] == [(f"{at}.png", str(at)) for at in range(10)]
    assert [request.inputs[0].shape[0] for request in triton.requests(rpcs.MODEL_INFER)] == [10]


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/octet-stream", "", None])
def test_an_image_may_be_the_bare_body(app: InProcess, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    (prediction,) = app.post(CLASSIFY, content=png(4), headers=headers).json()["predictions"]
    assert (prediction["file"], prediction["label"]) == ("image 0", "4")


@pytest.mark.parametrize(("top_k", "labels"), [(1, ["4"]), (2, ["4", "0"]), (99, ["4", *"012356789"])])
def test_as_many_labels_are_named_as_asked_for(app: InProcess, top_k: int, labels: list[str]) -> None:
    (prediction,) = app.post(f"{CLASSIFY}?top_k={top_k}", content=png(4)).json()["predictions"]
    assert [entry["label"] for entry in prediction["top"]] == labels


def test_a_file_without_a_name_is_called_by_its_place(app: InProcess) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n'
    body = head + png(2) + b"\r\n--b--\r\n"
    answer = app.post(CLASSIFY, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.json()["predictions"][0]["file"] == "image 0"


def test_the_file_that_is_no_image_is_named(app: InProcess) -> None:
    files = [("file", ("a.png", png(1))), ("file", ("notes.png", b"some text"))]
    assert error_of(app.post(CLASSIFY, files=files), 400) == "notes.png: not an image that can be decoded"
    assert error_of(app.post(CLASSIFY, content=b"text", headers=BINARY), 400) == (
        "image 0: not an image that can be decoded"
    )


def form(text: bytes) -> dict[str, object]:
    return {"content": text, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


BAD_FORMS = [
    ({"content": b"", "headers": BINARY}, 400, "the body is empty; send an image file's bytes, or several as a form"),
    (form(b"--b--\r\n"), 400, "the form holds no file; with curl: -F file=@image.png"),
    (
        form(b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx.png\r\n--b--\r\n'),
        400,
        "form field 'file' is text, not a file; with curl: -F file=@image.png",
    ),
    ({"files": {"file": ("a.png", b"")}}, 400, "a.png: the file is empty"),
    (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "the form cannot be read: Missing boundary in multipart.",
    ),
    (
        {"json": {"rows": []}},
        415,
        "content type 'application/json' is not read here; "
        "send multipart/form-data with image files, or an image's bytes as image/*",
    ),
]


@pytest.mark.parametrize(("request_", "status", "message"), BAD_FORMS, ids=[message[:40] for *_, message in BAD_FORMS])
def test_what_holds_no_image_is_refused(app: InProcess, request_: dict[str, object], status: int, message: str) -> None:
    assert error_of(app.post(CLASSIFY, **request_), status) == message


def test_garbage_in_a_form_is_refused(app: InProcess) -> None:
    assert error_of(app.post(CLASSIFY, **form(b"not a form at all")), 400).startswith("the form cannot be read: ")


def test_more_files_than_the_setting_allows_are_refused_with_its_name(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_images=2)
    files = [("file", (f"{at}.png", png(at))) for at in range(3)]
    assert error_of(app.post(CLASSIFY, files=files), 413) == (
        "the form holds more images than the 2 taken in one call; send less, or raise SLIPWAY_MAX_IMAGES"
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("top_k=0", "query parameter 'top_k': Input should be greater than or equal to 1, got '0'"),
        (
            "top_k=all",
            "query parameter 'top_k': Input should be a valid integer, unable to parse string as an integer, got 'all'",
        ),
    ],
)
def test_a_bad_query_is_named(app: InProcess, query: str, message: str) -> None:
    assert error_of(app.post(f"{CLASSIFY}?{query}", content=png(1)), 400) == message


def test_a_tabular_model_is_not_asked_with_images(app: InProcess) -> None:
    assert error_of(app.post("/v1/models/iris/classify", content=png(1)), 400) == (
        "model 'iris' cannot classify images; it takes rows: use predict"
    )
