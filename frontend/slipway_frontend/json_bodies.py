"""JSON text that anybody may have sent -> values, in bounded time and with messages that a person can act on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from slipway_core.errors import InvalidInput
from slipway_core.tensors import Array

# Half a pair is group 1; what it could be confused with is matched before.
_SURROGATES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
)
_COLON_APART = re.compile(r'"[ \t\r\n]++:')


def as_text(body: bytes) -> str:
    """UTF-8, with or without a byte order mark."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidInput(
            f"the body is not UTF-8 text: byte 0x{e.object[e.start]:02x} at position {e.start}"
        ) from None


def as_json(text: str, for_each_object: Callable[[dict[str, Any]], Any] | None = None, distinct: bool = False) -> Any:
    """Parsed JSON; NaN and infinities are let through, because who reads the numbers can name their place.

    Raises :class:`InvalidInput` that says where the JSON ends to be one, or, where names must be ``distinct``, which
    one an object repeats. Where objects are many, :func:`refuse_repeated_names` costs less.
    """
    try:
        value = json.loads(text, object_hook=for_each_object, object_pairs_hook=_distinct if distinct else None)
    except json.JSONDecodeError as e:
        where = f"line {e.lineno} column {e.colno} (position {e.pos})"
        more = "; it must be one value, not one per line" if e.msg == "Extra data" else ""
        raise InvalidInput(f"the body is not JSON: {e.msg} at {where}{more}") from None
    except RecursionError:
        raise InvalidInput("the body is not acceptable JSON: it is nested too deeply") from None
    except ValueError as e:  # an integer of thousands of digits
        raise InvalidInput(f"the body is not acceptable JSON: {str(e).partition(';')[0]}") from None
    _refuse_lone_surrogates(text)
    return value


def _refuse_lone_surrogates(text: str) -> None:
    """Half a surrogate pair can be written in JSON, and in no text that goes on to Triton."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    lone = next((found.group(1) for found in _SURROGATES.finditer(text) if found.group(1)), None)
    if lone:
        raise InvalidInput(f"the body is not acceptable JSON: a string holds half a surrogate pair (\\u{lone.lower()})")


def refuse_repeated_names(text: str, names: int) -> None:
    """JSON's own reader keeps the last of two equal names; ``names`` is how many it has kept.

    Raises :class:`InvalidInput` that tells the name. Costs little as long as no string holds what looks like the end
    of a name; no name escapes the count.
    """
    if text.count('":') + sum(1 for _ in _COLON_APART.finditer(text)) != names:
        json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise InvalidInput(f"{name[:60]!r} is named twice in one object of the body; which value is meant?")
    return named


def signs(body: bytes) -> Array:
    """The bytes that stand outside strings, with 0 for each that stands within one; escapes are left out."""
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    letters = np.frombuffer(unescaped, np.uint8)
    within = np.cumsum(letters == ord('"'), dtype=np.uint8) & 1  # counts beyond 255 keep their parity
    return np.where(within, np.uint8(0), letters)


def count_of(signs: Array, *letters: str) -> int:
    """How often any of the letters stands outside strings."""
    return sum(int(np.count_nonzero(signs == ord(letter))) for letter in letters)


def longest_without(signs: Array, *letters: str) -> int:
    """The largest distance between two neighbours of these letters, the text's ends included."""
    at = np.flatnonzero(np.isin(signs, [ord(letter) for letter in letters]))
    return int(np.diff(at, prepend=-1, append=len(signs)).max())
