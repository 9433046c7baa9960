"""``/v1/models/{model}/predict``: the right answers, and one exact line for every wrong question."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from slipway_client import FakeModel, FakeTransport, rpcs
from slipway_core.card import ModelCard
from support.frontend import IRIS_ROW, InProcess, error_of, fake_triton

PREDICT = "/v1/models/iris/predict"


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def app(triton: FakeTransport) -> InProcess:
    return InProcess.before(triton)


def row(**changed: object) -> dict[str, object]:
    return {**IRIS_ROW, **changed}


def test_rows_are_answered_in_the_shape_that_the_design_fixes(app: InProcess) -> None:
    answer = app.post(PREDICT, json={"rows": [row(), row(petal_length=6.0)]})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["model"], body["version"]) == ("iris", "1")
    first, second = body["predictions"]
    assert (first["label"], second["label"]) == ("setosa", "virginica")
    assert list(first["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert first["probabilities"]["setosa"] == pytest.approx(0.96)


def test_a_regressor_answers_values(app: InProcess, triton: FakeTransport) -> None:
    card = ModelCard.from_mapping(
        {
            "name": "price",
            "task": "regression",
            "source": {"kind": "sklearn", "path": "x"},
            "inputs": [{"name": "area", "unit": "m2"}],
            "output": {"unit": "EUR"},
        }
    )
    triton.models["price"] = FakeModel.of_card(card, lambda tensors: {"value": tensors["features"] * 2})
    answer = app.post("/v1/models/price/predict", json={"rows": [{"area": 1.5}, {"area": 4}]})
    assert answer.json() == {"model": "price", "version": "1", "predictions": [{"value": 3.0}, {"value": 8.0}]}


def test_features_of_several_types_travel_as_columns(app: InProcess, triton: FakeTransport) -> None:
    card = ModelCard.from_mapping(
        {
            "name": "mixed",
            "task": "regression",
            "source": {"kind": "sklearn", "path": "x"},
            "inputs": [{"name": "town", "datatype": "BYTES"}, {"name": "rooms", "datatype": "INT32"}],
        }
    )

    def answer(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        lengths = np.array([[len(town)] for town in tensors["town"].reshape(-1)], np.float32)
        return {"value": lengths + tensors["rooms"].astype(np.float32)}

    triton.models["mixed"] = FakeModel.of_card(card, answer)
    body = {"rows": [{"town": "Köln", "rooms": 3}]}
    assert app.post("/v1/models/mixed/predict", json=body).json()["predictions"] == [{"value": 8.0}]
    csv = {"content": "town,rooms\nBonn,2\n", "headers": {"Content-Type": "text/csv; charset=utf-8"}}
    assert app.post("/v1/models/mixed/predict", **csv).json()["predictions"] == [{"value": 6.0}]


def test_ten_thousand_rows_are_answered_in_order(app: InProcess) -> None:
    lengths = [1.0 + (at * 7 % 60) / 10 for at in range(10_000)]
    answer = app.post(PREDICT, json={"rows": [row(petal_length=length) for length in lengths]})
    labels = [prediction["label"] for prediction in answer.json()["predictions"]]
    assert labels == ["setosa" if n < 2.5 else "versicolor" if n < 4.9 else "virginica" for n in lengths]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", None, "APPLICATION/JSON"])
def test_json_is_taken_under_every_name_that_clients_give_it(app: InProcess, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = app.post(PREDICT, content=json.dumps({"rows": [row()]}), headers=headers)
    assert answer.json()["predictions"][0]["label"] == "setosa"


def test_what_curl_sends_with_d_alone_is_taken_as_json(app: InProcess) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert app.post(PREDICT, content=json.dumps({"rows": [row()]}), headers=headers).status_code == 200


def test_a_csv_is_answered_row_by_row(app: InProcess) -> None:
    csv = "\ufeffpetal_length,petal_width,sepal_length,sepal_width\r\n1.4,0.2,5.1,3.5\r\n6.0,2.1,6.3,2.9\r\n"
    answer = app.post(PREDICT, content=csv.encode(), headers={"Content-Type": "text/csv"})
    assert [prediction["label"] for prediction in answer.json()["predictions"]] == ["setosa", "virginica"]


def test_a_version_is_asked_by_query(app: InProcess, triton: FakeTransport) -> None:
    triton.models["iris"] = replace(triton.models["iris"], versions=("1", "2"))
    assert app.post(f"{PREDICT}?version=1", json={"rows": [row()]}).json()["version"] == "1"
    assert app.post(PREDICT, json={"rows": [row()]}).json()["version"] == "2"


HINT = '{"rows": [{"<feature>": <value>, ...}, ...]}'
BAD_BODIES = [
    (b"", f"the body is empty; send {HINT}"),
    (b"{", "the body is not JSON: Expecting property name enclosed in double quotes at line 1 column 2 (position 1)"),
    (b'{"rows": [}', "the body is not JSON: Expecting value at line 1 column 11 (position 10)"),
    (b'{"rows"\xff', "the body is not UTF-8 text: byte 0xff at position 7"),
    (b'{"rows": ' + b"[" * 100_000, "the body is not acceptable JSON: it is nested too deeply"),
    (
        b'{"rows": [{"a": ' + b"1" * 5_000 + b"}]}",
        "the body is not acceptable JSON: Exceeds the limit (4300 digits) for integer string conversion: "
        "value has 5000 digits",
    ),
    (
        b'{"rows": [{"a": "\\ud83d\\ude00 \\\\ud800 \\udc00"}]}',
        "the body is not acceptable JSON: a string holds half a surrogate pair (\\udc00)",
    ),
    (b'{"rows": [{"\\ud800": 1}]}', "the body is not acceptable JSON: a string holds half a surrogate pair (\\ud800)"),
    (b"null", f"the body must be an object {HINT}, got null"),
    (b"[]", f"the body must be an object {HINT}, got a list"),
    (b"3", f"the body must be an object {HINT}, got a number"),
    (b'{"row": []}', f"the body has no 'rows'; send {HINT}"),
    (b'{"rows": [], "version": "2"}', "the body holds 'rows' and nothing else, got 'version' too"),
    (b'{"rows": {}}', "'rows' must be a list of objects, got an object"),
    (b'{"rows": "x"}', "'rows' must be a list of objects, got a string"),
    (b'{"rows": true}', "'rows' must be a list of objects, got true or false"),
    (b'{"rows": []}', "there are no rows; send at least one"),
    (b'{"rows": [1]}', "row 0 must be an object of feature names and values, got int"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES, ids=[message[:40] for _, message in BAD_BODIES])
def test_a_body_that_holds_no_rows_is_refused(app: InProcess, triton: FakeTransport, body: bytes, message: str) -> None:
    assert error_of(app.post(PREDICT, content=body), 400) == message
    assert triton.requests(rpcs.MODEL_INFER) == []


BAD_ROWS = [
    ('{"sepal_length": "5.1"}', "row 1: feature 'sepal_length' must be a finite number (cm), got '5.1'"),
    ('{"sepal_length": NaN}', "row 1: feature 'sepal_length' must be a finite number (cm), got nan"),
    ('{"sepal_length": -Infinity}', "row 1: feature 'sepal_length' must be a finite number (cm), got -inf"),
    ('{"sepal_length": 1e400}', "row 1: feature 'sepal_length' must be a finite number (cm), got inf"),
    ('{"sepal_length": 1e39}', "row 1: feature 'sepal_length' must be a finite number (cm), got 1e+39"),
    ('{"sepal_length": true}', "row 1: feature 'sepal_length' must be a finite number (cm), got True"),
    ('{"sepal_length": null}', "row 1: feature 'sepal_length' must be a finite number (cm), got None"),
    ('{"sepal_length": [5.1]}', "row 1: feature 'sepal_length' must be a finite number (cm), got [5.1]"),
    (
        '{"petal_lenght": 5.1}',
        "row 1: unknown feature 'petal_lenght'; did you mean 'petal_length'? "
        "the model's features are sepal_length, sepal_width, petal_length, petal_width",
    ),
]


@pytest.mark.parametrize(("changed", "message"), BAD_ROWS, ids=[changed for changed, _ in BAD_ROWS])
def test_a_value_that_no_model_can_take_is_named_by_row_and_feature(app: InProcess, changed: str, message: str) -> None:
    name = json.loads(changed).popitem()[0]
    second = json.dumps({key: value for key, value in row().items() if key != name})[:-1] + ", " + changed[1:]
    body = f'{{"rows": [{json.dumps(row())}, {second}]}}'
    assert error_of(app.post(PREDICT, content=body), 400) == message


def test_a_missing_feature_is_named_with_the_closest_of_the_row(app: InProcess) -> None:
    given = {name: value for name, value in IRIS_ROW.items() if name != "petal_width"}
    assert error_of(app.post(PREDICT, json={"rows": [given]}), 400) == (
        "row 0: feature 'petal_width' is missing (the row has 'sepal_width')"
    )


BAD_CSV = [
    (b"", "the body is empty; send a CSV whose first line names the features"),
    (b"\n", "the CSV is empty; its first line names the features"),
    (b"sepal_length\n", "there are no rows; send at least one"),
    (b"sepal_length,sepal_length\n1,2\n", "the CSV's header names a feature twice: 'sepal_length'"),
    (b"sepal_length;sepal_width\n5,1;3,5\n", "it looks as if ';' separated the CSV's columns; send commas"),
    (
        b"5.1,3.5,1.4,0.2\n",
        "the CSV's first line must name the features: sepal_length,sepal_width,petal_length,petal_width; "
        "it is '5.1,3.5,1.4,0.2'",
    ),
    (b"sepal_length,sepal_width\n5.1\n", "line 2 of the CSV has 1 cells, its header has 2"),
    (b"sepal_length\nfive\n", "row 0: feature 'sepal_length' must be a finite number (cm), got 'five'"),
    (b"sepal_length\n" + b"1" * 200_000, "line 2 of the CSV cannot be read: field larger than field limit (131072)"),
    (b"sepal_length\n\xff", "the body is not UTF-8 text: byte 0xff at position 13"),
]


@pytest.mark.parametrize(("body", "message"), BAD_CSV, ids=[message[:40] for _, message in BAD_CSV])
def test_a_bad_csv_is_refused(app: InProcess, body: bytes, message: str) -> None:
    assert error_of(app.post(PREDICT, content=body, headers={"Content-Type": "text/csv"}), 400) == message


def test_an_image_is_no_row(app: InProcess) -> None:
    answer = app.post(PREDICT, content=b"\x89PNG", headers={"Content-Type": "image/png"})
    message = f"content type 'image/png' is not read here; send text/csv, or application/json: {HINT}"
    assert error_of(answer, 415) == message


def test_one_object_per_line_is_refused_with_the_form_that_is_read(app: InProcess) -> None:
    lines = f"{json.dumps(row())}\n{json.dumps(row())}\n"
    assert error_of(app.post(PREDICT, content=lines), 400) == (
        "the body is not JSON: Extra data at line 2 column 1 (position 83); it must be one value, not one per line"
    )
    told = error_of(app.post(PREDICT, content=lines, headers={"Content-Type": "application/x-ndjson"}), 415)
    assert told.endswith(HINT)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"rows": [{"a": 1, "a": 2}]}', "a"),
        ('{"rows": [{"a" : 1, "b" : 1, "a" : 1}]}', "a"),
        ('{"rows": [{"a" : 1, "a":2}]}', "a"),
        ('{"rows": [{"a":1, "a"\t\r\n:2}]}', "a"),
        ('{"rows": [{}], "rows": [{}]}', "rows"),
        ('{"rows" :[],"rows":[{}]}', "rows"),
    ],
)
def test_a_name_given_twice_is_refused(app: InProcess, body: str, name: str, large: bool) -> None:
    sent = body + " " * 300_000 * large
    assert error_of(app.post(PREDICT, content=sent), 400) == (
        f"{name!r} is named twice in one object of the body; which value is meant?"
    )


def test_a_string_that_looks_like_names_is_no_name(app: InProcess) -> None:
    told = error_of(app.post(PREDICT, content=json.dumps({"rows": [row(sepal_length='{"a": 1, "a": 2}')]})), 400)
    assert told == """row 0: feature 'sepal_length' must be a finite number (cm), got '{"a": 1, "a": 2}'"""


def test_a_space_before_a_colon_is_no_second_name(app: InProcess) -> None:
    body = json.dumps({"rows": [row()]}, separators=(",", " : "))
    assert app.post(PREDICT, content=body).status_code == 200


def test_a_model_that_is_being_loaded_is_a_503_and_no_404(app: InProcess, triton: FakeTransport) -> None:
    triton.unready["iris"] = "loading"
    answer = app.post(PREDICT, json={"rows": [row()]})
    assert error_of(answer, 503) == (
        "model 'iris' takes no more requests now (none of its versions is loaded at the moment); try again later"
    )
    assert answer.headers["retry-after"] == "1"
    triton.unready["iris"] = "unloaded"
    assert app.post(PREDICT, json={"rows": [row()]}).status_code == 404


def test_a_compressed_body_is_refused(app: InProcess) -> None:
    answer = app.post(PREDICT, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert error_of(answer, 415) == "content encoding 'gzip' is not read here; send the body as it is"


def test_more_rows_than_the_setting_allows_are_refused_with_its_name(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_rows=2)
    assert error_of(app.post(PREDICT, json={"rows": [row()] * 3}), 413) == (
        "3 rows are more than the 2 taken in one call; send less, or raise SLIPWAY_MAX_ROWS"
    )


def test_an_unknown_model_or_version_is_refused_with_what_there_is(app: InProcess) -> None:
    body = {"rows": [row()]}
    for model, message in [
        ("irris", "no model 'irris' is served; did you mean 'iris'?"),
        ("%00%ff", "no model '\\x00\ufffd' is served; available: digits, iris"),
        ("n" * 10_000, f"no model '{'n' * 80}...' is served; available: digits, iris"),
    ]:
        assert error_of(app.post(f"/v1/models/{model}/predict", json=body), 404) == message
    assert error_of(app.post(f"{PREDICT}?version=9", json=body), 404) == (
        "model 'iris' has no live version '9'; available: 1"
    )
    assert error_of(app.post(f"{PREDICT}?version=latest", json=body), 400) == (
        "version must be a positive whole number, got 'latest'"
    )


def test_an_image_model_is_not_asked_with_rows(app: InProcess) -> None:
    assert error_of(app.post("/v1/models/digits/predict", json={"rows": [row()]}), 400) == (
        "model 'digits' cannot predict on rows; it takes images: use classify"
    )


def test_a_model_that_answers_nan_has_failed(app: InProcess, triton: FakeTransport) -> None:
    answer = {"probabilities": np.full((1, 3), np.nan, np.float32)}
    triton.models["iris"] = replace(triton.models["iris"], answer=lambda _: answer)
    assert error_of(app.post(PREDICT, json={"rows": [row()]}), 500) == (
        "model 'iris' failed: it answered NaN or an infinity, which no prediction can be"
    )
