"""Reads a CSV of labelled measurements, whatever its columns are called, and says exactly what is wrong with it."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from slipway_core.card import Feature, ModelCard
from slipway_core.errors import TrainingFailed
from slipway_core.tensors import Array

# Six models times a grid search is minutes beyond this.
MOST_ROWS = 5_000
MOST_BYTES = 16 << 20
# In the order of preference where a table has several: names say more than codes.
LABEL_COLUMNS = ("species", "class", "label", "variety", "target")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
_DELIMITERS = (",", ";", "\t")
_LARGEST = float(np.finfo(np.float32).max)


def plain_label(text: str) -> str:
    """A label without case, surrounding space and the genus: ``Iris-setosa`` is ``setosa``."""
    return re.sub(r"^iris[\s_-]+", "", text.strip().lower())


@dataclass(frozen=True)
class CsvTable:
    """``inputs`` float64 ``[n, features]`` in the card's order, NaN where missing; ``targets`` int64 ``[n]``.

    ``unlabelled`` rows were left out; ``unused`` are the columns that the card does not name.
    """

    inputs: Array
    targets: Array
    unlabelled: int
    unused: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, card: ModelCard, recipe: str) -> CsvTable:
        """Read a table with a header; raises :class:`TrainingFailed` that names the line and the column."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise TrainingFailed(recipe, f"{path} is larger than {MOST_BYTES >> 20} MiB; give a sample of it")
            if not (path.is_file() or path.is_dir()):
                raise TrainingFailed(recipe, f"{path} is not a regular file; give a CSV file")
            with path.open(encoding="utf-8-sig", newline="") as stream:
                return _Reader(path, card, recipe).table(stream)
        except FileNotFoundError:
            raise TrainingFailed(recipe, f"{path} does not exist") from None
        except IsADirectoryError:
            raise TrainingFailed(recipe, f"{path} is a folder; give a CSV file") from None
        except OSError as e:
            raise TrainingFailed(recipe, f"{path} cannot be read ({e.strerror})") from None
        except UnicodeDecodeError:
            raise TrainingFailed(recipe, f"{path} is not UTF-8 text; give a CSV file saved as UTF-8") from None


class _Reader:
    def __init__(self, path: Path, card: ModelCard, recipe: str) -> None:
        self._path, self._features, self._labels, self._recipe = path, card.inputs, card.output.labels, recipe

    def table(self, stream: Iterator[str]) -> CsvTable:
        stream, delimiter = self._with_delimiter(stream)
        lines = csv.reader(stream, delimiter=delimiter, strict=True)
        header, columns, label_column = self._header(lines)
        inputs: list[list[float]] = []
        targets: list[int] = []
        unlabelled = 0
        for number, line in self._rows(lines, len(header)):
            label = line[label_column].strip()
            if label.lower() in MISSING:
                unlabelled += 1
                continue
            targets.append(self._target(label, number))
            cells = zip(self._features, columns, strict=True)
            inputs.append([self._value(feature, line[column], number) for feature, column in cells])
            if len(inputs) > MOST_ROWS:
                raise self._refused(f"{self._path} has more than {MOST_ROWS:,} rows; give a sample of them")
        if not inputs:
            raise self._refused(f"{self._path} has a header and no labelled rows")
        used = {*columns, label_column}
        unused = tuple(name.strip() for at, name in enumerate(header) if at not in used and name.strip())
        return CsvTable(np.array(inputs), np.array(targets, dtype=np.int64), unlabelled, unused)

    def _with_delimiter(self, stream: Iterator[str]) -> tuple[Iterator[str], str]:
        """The stream again, with the delimiter that its first line has most of."""
        first = next(stream, "")
        if "\0" in first:
            raise self._refused(f"{self._path} is not text; give a CSV file saved as UTF-8")
        if not first.strip():
            raise self._refused(f"{self._path} is empty; its first line names the columns {self._wanted()}")

        def again() -> Iterator[str]:
            yield first
            yield from stream

        return again(), max(_DELIMITERS, key=first.count)

    def _rows(self, lines: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
        number = 1
        while True:
            try:
                line = next(lines, None)
            except csv.Error as e:
                raise self._refused(f"{self._path} is no CSV file: {e} after line {number}") from None
            if line is None:
                return
            number = int(getattr(lines, "line_num", number + 1))
            if not any(cell.strip() for cell in line):
                continue
            if len(line) != width:
                raise self._refused(f"line {number} of {self._path} has {len(line)} cells, its header has {width}")
            yield number, line

    def _header(self, lines: Iterator[list[str]]) -> tuple[list[str], list[int], int]:
        """The header, the column of each feature, and the label's."""
        try:
            header = next(lines, [])
        except csv.Error as e:
            raise self._refused(f"{self._path} is no CSV file: {e} in its first line") from None
        if sum(_number(cell) is not None for cell in header) >= len(self._features):
            raise self._refused(
                f"the first line of {self._path} holds values; put a line before it that names the columns "
                + self._wanted()
            )
        columns = [self._column(feature, header) for feature in self._features]
        return header, columns, self._label_column(header)

    def _column(self, feature: Feature, header: Sequence[str]) -> int:
        found = [
            at for at, name in enumerate(header) if _plain_header(name, feature.unit) == _plain_header(feature.name)
        ]
        if not found:
            raise self._refused(f"{self._path} has no column for {feature.name}{_closest(feature.name, header)}")
        self._refuse_two(feature.name, found, header)
        return found[0]

    def _label_column(self, header: Sequence[str]) -> int:
        names = [_plain_header(name) for name in header]
        for wanted in LABEL_COLUMNS:
            found = [at for at, name in enumerate(names) if name == wanted]
            if found:
                self._refuse_two("the label", found, header)
                return found[0]
        raise self._refused(
            f"{self._path} has no column for the label; call it one of {', '.join(LABEL_COLUMNS)} "
            f"(its columns are {', '.join(header)})"
        )

    def _refuse_two(self, what: str, found: Sequence[int], header: Sequence[str]) -> None:
        if len(found) > 1:
            both = " and ".join(repr(header[at]) for at in found[:2])
            raise self._refused(f"{self._path} has two columns for {what}, {both}; keep one")

    def _value(self, feature: Feature, cell: str, line: int) -> float:
        if cell.strip().lower() in MISSING:
            return math.nan
        value = _number(cell)
        if value is None or not abs(value) <= _LARGEST:
            unit = f" ({feature.unit})" if feature.unit else ""
            raise self._refused(
                f"line {line} of {self._path}: {feature.name} must be a finite number{unit}, got {_shown(cell)}"
            )
        return value

    def _target(self, label: str, line: int) -> int:
        """The index of a label given by name, or by its number counted from 0."""
        known = [plain_label(name) for name in self._labels]
        if plain_label(label) in known:
            return known.index(plain_label(label))
        number = _number(label)
        if number is not None and number in range(len(known)):
            return int(number)
        close = get_close_matches(plain_label(label), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise self._refused(
            f"line {line} of {self._path}: unknown label {_shown(label)}{hint} "
            f"(known are {', '.join(self._labels)}, or 0 to {len(known) - 1})"
        )

    def _wanted(self) -> str:
        return ",".join([*(feature.name for feature in self._features), LABEL_COLUMNS[0]])

    def _refused(self, reason: str) -> TrainingFailed:
        return TrainingFailed(self._recipe, reason)


def _plain_header(name: str, unit: str = "") -> str:
    """Letters and digits in lower case, without a unit in brackets or at the end."""
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"\(.*?\)|\[.*?\]", "", name.lower()))
    return plain.removesuffix(unit.lower()) if unit else plain


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _closest(name: str, header: Sequence[str]) -> str:
    close = get_close_matches(name, header, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else f" (its columns are {', '.join(header)})"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
