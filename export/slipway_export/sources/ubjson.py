"""UBJSON (draft 12, https://ubjson.org) as far as XGBoost writes it: not every kind of value."""

from __future__ import annotations

from typing import Any

import numpy as np

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_WORDS = {"T": True, "F": False, "Z": None}
_DEEPEST = 64


def decoded(content: bytes) -> Any:
    """The value that fills the bytes. Raises :class:`ValueError` for anything else."""
    reader = _Reader(content)
    value = reader.value(reader.letter(), 0)
    if reader.at != len(content):
        raise ValueError("something follows the value")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.at = 0
        self._content = content

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._content) - self.at:
            raise ValueError("cut off")
        self.at += count
        return self._content[self.at - count : self.at]

    def letter(self) -> str:
        return self.take(1).decode("latin-1")

    def value(self, kind: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deep")
        if kind in _NUMBERS:
            return self._numbers(kind, 1)[0]
        if kind in _WORDS:
            return _WORDS[kind]
        if kind in "SC":
            return self._text() if kind == "S" else self.letter()
        if kind == "{":
            return self._object(depth)
        if kind == "[":
            return self._array(depth)
        raise ValueError(f"nothing is marked {kind!r}")

    def _numbers(self, kind: str, count: int) -> list[Any]:
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()

    def _length(self) -> int:
        kind = self.letter()
        if kind not in "iUIlL":
            raise ValueError("a length is a whole number")
        return self._numbers(kind, 1)[0]

    def _text(self) -> str:
        return self.take(self._length()).decode("utf-8")

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._content[self.at : self.at + 1] != b"}":
            name = self._text()
            found[name] = self.value(self.letter(), depth + 1)
        self.at += 1
        return found

    def _array(self, depth: int) -> list[Any]:
        kind = self.letter()
        if kind == "$":
            kind = self.letter()
            if kind not in _NUMBERS or self.letter() != "#":
                raise ValueError("an array of one type is one of numbers")
            return self._numbers(kind, self._length())
        if kind == "#":
            return [self.value(self.letter(), depth + 1) for _ in range(self._length())]
        found: list[Any] = []
        while kind != "]":
            found.append(self.value(kind, depth + 1))
            kind = self.letter()
        return found
