"""A scikit-learn model as a ``.skops`` file whose bytes depend on the model alone."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import skops.io

_EPOCH = (1980, 1, 1, 0, 0, 0)


def skops_bytes(model: Any) -> bytes:
    """The model in skops format, without pickle; equal models give equal bytes.

    skops names its parts after memory addresses and stamps them with the time; here they are counted instead.
    """
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as archive:
        schema: Any = json.loads(archive.read("schema.json"))
        parts = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    numbers: dict[int, int] = {}
    _renumber(schema, numbers)
    parts = {_renamed(name, numbers): content for name, content in parts.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(parts):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), parts[name])
        archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), json.dumps(schema, indent=2))
    return buffer.getvalue()


def _renumber(node: Any, numbers: dict[int, int]) -> None:
    """Replace every ``__id__``, and the files named after one, by its place in the order of appearance."""
    if isinstance(node, list):
        for child in node:
            _renumber(child, numbers)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        for key, child in node.items():
            if key == "file" and isinstance(child, str):
                node[key] = _renamed(child, numbers)
            else:
                _renumber(child, numbers)


def _renamed(file: str, numbers: dict[int, int]) -> str:
    stem, dot, suffix = file.partition(".")
    if not stem.isdecimal():
        return file
    return f"{numbers.setdefault(int(stem), len(numbers) + 1)}{dot}{suffix}"
