"""Rows by feature name become tensors in the card's order, or are refused by row and feature."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_core.card import Feature
from slipway_core.errors import InvalidInput, InvalidValue, MissingFeature, UnknownFeature
from slipway_core.rows import csv_rows, input_specs, rows_from_csv, rows_to_tensors

FEATURES = (Feature(name="length", unit="cm"), Feature(name="width", unit="cm"))
MIXED = (
    Feature(name="age", datatype="INT8"),
    Feature(name="city", datatype="BYTES"),
    Feature(name="vip", datatype="BOOL"),
)


def test_all_float_features_are_one_tensor_in_the_cards_order() -> None:
    tensors = rows_to_tensors(FEATURES, [{"width": 2, "length": 1}, {"length": 3.5, "width": 4}])
    assert list(tensors) == ["features"]
    assert tensors["features"].dtype == np.float32
    assert tensors["features"].tolist() == [[1, 2], [3.5, 4]]


def test_mixed_features_are_one_tensor_each() -> None:
    tensors = rows_to_tensors(MIXED, [{"age": 7, "city": "Köln", "vip": True}])
    assert {name: (t.dtype.kind, t.tolist()) for name, t in tensors.items()} == {
        "age": ("i", [[7]]),
        "city": ("O", [["Köln"]]),
        "vip": ("b", [[True]]),
    }
    assert [str(spec) for spec in input_specs(MIXED)] == ["age INT8[1]", "city BYTES[1]", "vip BOOL[1]"]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (
            {"lenght": 1, "width": 2},
            UnknownFeature,
            "row 0: unknown feature 'lenght'; did you mean 'length'? the model's features are length, width",
        ),
        ({"width": 2}, MissingFeature, "row 0: feature 'length' is missing"),
        (
            {"length": "long", "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got 'long'",
        ),
        (
            {"length": math.nan, "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got nan",
        ),
        (
            {"length": math.inf, "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got inf",
        ),
        (
            {"length": 1e39, "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got 1e+39",
        ),
        (
            {"length": True, "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got True",
        ),
        (
            {"length": None, "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got None",
        ),
        (
            {"length": [1], "width": 2},
            InvalidValue,
            "row 0: feature 'length' must be a finite number (cm), got [1]",
        ),
    ],
)
def test_a_wrong_row_is_refused_by_row_and_feature(
    row: dict[str, Any], error: type[InvalidInput], message: str
) -> None:
    with pytest.raises(error) as caught:
        rows_to_tensors(FEATURES, [row])
    assert str(caught.value) == message


def test_an_integer_too_large_for_any_float_is_refused() -> None:
    with pytest.raises(InvalidValue, match="finite number"):
        rows_to_tensors(FEATURES, [{"length": 10**400, "width": 2}])


@pytest.mark.parametrize("value", [128, -129, 1.5, "7", True])
def test_a_whole_number_feature_takes_its_own_range_alone(value: object) -> None:
    with pytest.raises(InvalidValue, match="a whole number from -128 to 127"):
        rows_to_tensors(MIXED, [{"age": value, "city": "x", "vip": False}])


def test_no_rows_and_rows_that_are_no_objects_are_refused() -> None:
    with pytest.raises(InvalidInput, match="there are no rows; send at least one"):
        rows_to_tensors(FEATURES, [])
    with pytest.raises(InvalidInput, match="row 1 must be an object of feature names and values, got int"):
        rows_to_tensors(FEATURES, json.loads('[{"length": 1, "width": 2}, 5]'))


def test_an_optional_feature_reaches_the_model_as_nan() -> None:
    optional = (Feature(name="length", optional=True), Feature(name="width"))
    tensors = rows_to_tensors(optional, [{"width": 1}, {"length": None, "width": 2}])
    assert np.isnan(tensors["features"][:, 0]).all()


def test_a_csv_becomes_rows_with_numbers_where_numbers_belong() -> None:
    text = "\ufefflength, width\n1,2\n\n3.5,4\n"
    assert rows_from_csv(text, FEATURES) == [{"length": 1.0, "width": 2.0}, {"length": 3.5, "width": 4.0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the CSV is empty; its first line names the features"),
        ("length,width\n1\n", "line 2 of the CSV has 1 cells, its header has 2"),
        ("length,length\n1,2\n", "the CSV's header names a feature twice: 'length'"),
        ("length;width\n1,5;2\n", "it looks as if ';' separated the CSV's columns; send commas"),
        ("length\twidth\n1\t2\n", "it looks as if a tab separated the CSV's columns; send commas"),
        ("1,2\n3,4\n", "the CSV's first line must name the features: length,width; it is '1,2'"),
        ("length,width\n1,wide\n", "row 0: feature 'width' must be a finite number (cm), got 'wide'"),
    ],
)
def test_a_wrong_csv_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rows_from_csv(text, FEATURES)
    assert str(caught.value) == message


NO_NUMBERS = [
    "5_1",
    "\u0665",
    "5\uff11",
    "\xa05",
    "5\x0b",
    "nan",
    "-inf",
    "0x10",
    "1e",
    ".",
    "1,5",
    "--1",
    "1 2",
    "1\x00",
]


@pytest.mark.parametrize("cell", NO_NUMBERS)
@pytest.mark.parametrize("feature", [FEATURES[0], MIXED[0]], ids=["float", "whole"])
def test_a_cell_is_a_number_in_plain_ascii_or_refused_by_row_and_feature(feature: Feature, cell: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        rows_from_csv(f'{feature.name}\n7\n"{cell}"\n', [feature])
    assert (caught.value.row, caught.value.name, caught.value.value) == (1, feature.name, cell)


@pytest.mark.parametrize("cell", ["9" * 5_000, "1.0", "1e2", "+", ""])
def test_a_cell_of_a_whole_number_is_digits_alone(cell: str) -> None:
    with pytest.raises(InvalidValue, match="row 0: feature 'age' must be a whole number"):
        rows_to_tensors(MIXED[:1], rows_from_csv(f'age\n"{cell}"\n', MIXED[:1]))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30))
def test_every_number_that_python_writes_is_read_back(fraction: float, whole: int) -> None:
    features = (FEATURES[0], MIXED[0])
    (row,) = rows_from_csv(f"length,age\n {fraction!r},\t{whole:+d} \n", features)
    assert row == {"length": fraction, "age": whole}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_of_the_three_ways(end: str) -> None:
    text = end.join(["length,width", "1,2", "", "3,4", ""])
    assert rows_from_csv(text, FEATURES) == [{"length": 1.0, "width": 2.0}, {"length": 3.0, "width": 4.0}]


def test_the_rows_of_a_csv_are_read_as_they_are_asked_for() -> None:
    rows = csv_rows("length,width\n1,2\n3,wrong\n", FEATURES)
    assert next(rows) == {"length": 1.0, "width": 2.0}
    with pytest.raises(InvalidValue, match="row 1"):
        next(rows)


def test_a_csv_for_a_model_without_features_is_not_blamed_for_its_header() -> None:
    assert rows_from_csv("length\n1\n", ()) == [{"length": "1"}]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=50))
def test_every_finite_row_arrives_unchanged_and_in_order(values: list[tuple[float, float]]) -> None:
    tensors = rows_to_tensors(FEATURES, [{"length": a, "width": b} for a, b in values])
    assert tensors["features"].tolist() == [list(pair) for pair in values]
