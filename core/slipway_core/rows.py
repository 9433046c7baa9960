"""Rows by feature name <-> the tensors a tabular model takes.

When all features share one numeric datatype they form one tensor ``features [rows, n]`` in the card's order;
otherwise each feature is a tensor of its own, ``<feature> [rows, 1]``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from slipway_core.card import Feature
from slipway_core.errors import InvalidInput, InvalidValue, MissingFeature, UnknownFeature
from slipway_core.tensors import Array, TensorSpec, numpy_dtype

FEATURES_TENSOR = "features"
_FLOATS = ("FP16", "FP32", "FP64")


def is_one_tensor(features: Sequence[Feature]) -> bool:
    """Whether the features travel as one FP32 tensor."""
    return all(feature.datatype == "FP32" for feature in features)


def input_specs(features: Sequence[Feature]) -> tuple[TensorSpec, ...]:
    """The input tensors that a model with these features declares."""
    if is_one_tensor(features):
        return (TensorSpec(FEATURES_TENSOR, "FP32", (len(features),)),)
    return tuple(TensorSpec(feature.name, feature.datatype, (1,)) for feature in features)


def rows_to_tensors(features: Sequence[Feature], rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Check every value and lay the rows out as the model's input tensors, in order.

    Raises :class:`InvalidInput` (empty), :class:`UnknownFeature`, :class:`MissingFeature` or
    :class:`InvalidValue`, each naming the row (from 0) and the feature.
    """
    if not rows:
        raise InvalidInput("there are no rows; send at least one")
    names = [feature.name for feature in features]
    known = frozenset(names)
    columns: list[list[Any]] = [[] for _ in features]
    for at, row in enumerate(rows):
        # pyright sees a Mapping; JSON may have put anything here.
        if not isinstance(row, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"row {at} must be an object of feature names and values, got {type(row).__name__}")
        if not known.issuperset(row):
            unknown = next(name for name in row if name not in known)
            raise UnknownFeature(at, str(unknown), names)
        for feature, column in zip(features, columns, strict=True):
            column.append(_checked(feature, row, at))
    if is_one_tensor(features):
        return {FEATURES_TENSOR: np.array(columns, dtype=np.float32).T.copy()}
    return {
        feature.name: np.array(column, dtype=numpy_dtype(feature.datatype)).reshape(-1, 1)
        for feature, column in zip(features, columns, strict=True)
    }


def _checked(feature: Feature, row: Mapping[str, Any], at: int) -> Any:
    value = row.get(feature.name)
    if value is None:
        if feature.optional:
            return _missing(feature)
        if feature.name in row:
            raise InvalidValue(at, feature.name, None, _expected(feature))
        raise MissingFeature(at, feature.name, list(row))
    if not _fits(feature, value):
        raise InvalidValue(at, feature.name, value, _expected(feature))
    return value


def _missing(feature: Feature) -> Any:
    return math.nan if feature.datatype in _FLOATS else ""


def _fits(feature: Feature, value: Any) -> bool:
    if feature.datatype == "BYTES":
        return isinstance(value, str)
    if feature.datatype == "BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if feature.datatype in _FLOATS:
        try:
            return abs(value) <= float(np.finfo(numpy_dtype(feature.datatype)).max)
        except OverflowError:
            return False
    limits = np.iinfo(numpy_dtype(feature.datatype))
    return int(limits.min) <= value <= int(limits.max) and float(value).is_integer()


def _expected(feature: Feature) -> str:
    if feature.datatype == "BYTES":
        return "a string"
    if feature.datatype == "BOOL":
        return "true or false"
    if feature.datatype in _FLOATS:
        return "a finite number" + (f" ({feature.unit})" if feature.unit else "")
    limits = np.iinfo(numpy_dtype(feature.datatype))
    return f"a whole number from {limits.min} to {limits.max}"


def rows_from_csv(text: str, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Rows of a CSV with a header of feature names; empty cells of optional features count as missing.

    Raises :class:`InvalidInput` for an empty or ragged table and :class:`InvalidValue` for a cell that is no number.
    """
    lines = _csv_lines(text.removeprefix("\ufeff"))
    header = [name.strip() for name in next(lines, (0, []))[1]]
    if not any(header):
        raise InvalidInput("the CSV is empty; its first line names the features")
    if len(set(header)) != len(header):
        raise InvalidInput(f"the CSV's header names a feature twice: {', '.join(header)}")
    by_name = {feature.name: feature for feature in features}
    rows: list[dict[str, Any]] = []
    for number, line in lines:
        if not line:
            continue
        if len(line) != len(header):
            raise InvalidInput(f"line {number} of the CSV has {len(line)} cells, its header has {len(header)}")
        rows.append(
            {name: _cell(by_name.get(name), cell.strip(), len(rows)) for name, cell in zip(header, line, strict=True)}
        )
    return rows


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and cells."""
    reader = csv.reader(io.StringIO(text))
    try:
        for line in reader:
            yield reader.line_num, line
    except csv.Error as e:
        raise InvalidInput(f"line {reader.line_num} of the CSV cannot be read: {e}") from None


def _cell(feature: Feature | None, cell: str, row: int) -> Any:
    if feature is None or feature.datatype == "BYTES":
        return cell
    if not cell:
        return None
    if feature.datatype == "BOOL":
        return {"true": True, "1": True, "false": False, "0": False}.get(cell.lower(), cell)
    try:
        return float(cell) if feature.datatype in _FLOATS else int(cell)
    except ValueError:
        raise InvalidValue(row, feature.name, cell, _expected(feature)) from None
