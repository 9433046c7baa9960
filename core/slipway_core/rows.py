"""Rows by feature name <-> the tensors a tabular model takes.

When all features share one numeric datatype they form one tensor ``features [rows, n]`` in the card's order;
otherwise each feature is a tensor of its own, ``<feature> [rows, 1]``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

import numpy as np

from slipway_core.card import Feature
from slipway_core.errors import InvalidInput, InvalidValue, MissingFeature, UnknownFeature
from slipway_core.tensors import Array, TensorSpec, numpy_dtype

FEATURES_TENSOR = "features"
_FLOATS = ("FP16", "FP32", "FP64")
# Python's own float() and int() take "5_1", digits of other scripts, and words.
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")  # Python refuses to read thousands
_BLANKS = " \t"
_SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}
_SHOWN = 60  # characters of what somebody sent that a message repeats


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
    checks = [(name, *_plain(feature.datatype), feature) for name, feature in zip(names, features, strict=True)]
    for at, row in enumerate(rows):
        # pyright sees a Mapping; JSON may have put anything here.
        if type(row) is not dict and not isinstance(row, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"row {at} must be an object of feature names and values, got {type(row).__name__}")
        if not known.issuperset(row):
            unknown = next(name for name in row if name not in known)
            raise UnknownFeature(at, str(unknown), names)
        for column, (name, kinds, least, most, feature) in zip(columns, checks, strict=True):
            value: Any = row.get(name)
            if type(value) in kinds and (least is None or least <= value <= most):
                column.append(value)
            else:
                column.append(_checked(feature, row, at))
    if is_one_tensor(features):
        return {FEATURES_TENSOR: np.array(columns, dtype=np.float32).T.copy()}
    return {
        feature.name: np.array(column, dtype=numpy_dtype(feature.datatype)).reshape(-1, 1)
        for feature, column in zip(features, columns, strict=True)
    }


@cache
def _plain(datatype: str) -> tuple[frozenset[type], Any, Any]:
    """The types and the range of values that fit without a closer look; no range is None."""
    if datatype == "BYTES":
        return frozenset({str}), None, None
    if datatype == "BOOL":
        return frozenset({bool}), None, None
    if datatype in _FLOATS:
        most = float(np.finfo(numpy_dtype(datatype)).max)
        return frozenset({int, float}), -most, most
    limits = np.iinfo(numpy_dtype(datatype))
    return frozenset({int}), int(limits.min), int(limits.max)


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
    """All rows of a CSV; see :func:`csv_rows`."""
    return list(csv_rows(text, features))


def csv_rows(text: str, features: Sequence[Feature]) -> Iterator[dict[str, Any]]:
    """Rows of a CSV with a header of feature names, one by one; blanks around a cell do not count.

    Numbers are decimal or scientific, in ASCII; empty cells of optional features count as missing.
    Raises :class:`InvalidInput` for an empty or ragged table or another kind of table, and :class:`InvalidValue`
    for a cell that is no number.
    """
    lines = _csv_lines(text.removeprefix("\ufeff"))
    header = [name.strip() for name in next(lines, (0, []))[1]]
    _check_header(header, features)
    by_name = {feature.name: feature for feature in features}
    columns = [(name, by_name.get(name)) for name in header]
    row = 0
    for number, line in lines:
        if not line:
            continue
        if len(line) != len(header):
            raise InvalidInput(f"line {number} of the CSV has {len(line)} cells, its header has {len(header)}")
        yield {
            name: _cell(feature, cell.strip(_BLANKS), row) for (name, feature), cell in zip(columns, line, strict=True)
        }
        row += 1


def _check_header(header: Sequence[str], features: Sequence[Feature]) -> None:
    if not any(header):
        raise InvalidInput("the CSV is empty; its first line names the features")
    names = [feature.name for feature in features]
    if names and set(names).isdisjoint(header):
        _refuse_header(header, names)
    if len(set(header)) != len(header):
        seen: set[str] = set()
        twice = next(name for name in header if name in seen or seen.add(name))
        raise InvalidInput(f"the CSV's header names a feature twice: {twice[:_SHOWN]!r}")


def _refuse_header(header: Sequence[str], names: Sequence[str]) -> NoReturn:
    for separator, word in _SEPARATORS.items():
        if any(separator in cell for cell in header):
            raise InvalidInput(f"it looks as if {word} separated the CSV's columns; send commas")
    raise InvalidInput(
        f"the CSV's first line must name the features: {','.join(names)}; it is {','.join(header[:_SHOWN])[:_SHOWN]!r}"
    )


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and cells."""
    reader = csv.reader(io.StringIO(text, newline=""))
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
    written, read = (_FLOAT, float) if feature.datatype in _FLOATS else (_WHOLE, int)
    if not written.fullmatch(cell):
        raise InvalidValue(row, feature.name, cell, _expected(feature))
    return read(cell)
