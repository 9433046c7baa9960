"""What a ``.pt2`` file may hold. torch's own loader unpickles and evaluates; this looks first, and runs nothing."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, UntrustedSource

# torch evaluates the expressions of dynamic shapes: "Symbol('s77', positive=True)", "2*s0 + 1", "Max(1, s0//2)".
_SYNTAX = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.keyword),
    *(ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_FUNCTIONS = frozenset(
    {
        *("Symbol", "Integer", "Float", "Rational", "Identity", "Where", "ToFloat"),
        *("Abs", "Pow", "Max", "Min", "Mod", "PythonMod", "floor", "ceiling", "sqrt", "FloatPow", "PowByNatural"),
        *("FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv", "LShift", "RShift", "ModularIndexing"),
        *("CeilToInt", "FloorToInt", "RoundToInt", "RoundDecimal", "TruncToInt", "TruncToFloat"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"),
    }
)


def refuse_code(card: ModelCard, content: bytes) -> None:
    """Raises :class:`UntrustedSource` when loading the archive would unpickle objects or run code of the file's.

    Raises :class:`ExportFailed` when the bytes are no such archive, or of a torch that wrote another format.
    """
    path = str(card.source.path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [entry.filename.partition("/")[2] for entry in archive.infolist()]
            if "archive_format" not in names or not any(name.startswith("models/") for name in names):
                reason = f"{path} is no archive of torch.export; write it with torch.export.save (torch 2.9 or later)"
                raise ExportFailed(card.name, reason)
            found = sorted(set(_code(archive, names)))
    except (zipfile.BadZipFile, EOFError, OSError, ValueError):
        raise ExportFailed(card.name, f"{path} is damaged or cut off; export the model again") from None
    if found:
        raise UntrustedSource(card.name, path, found)


def _code(archive: zipfile.ZipFile, names: list[str]) -> Iterator[str]:
    if len(set(names)) != len(names):
        yield "two entries of one name"
    root = archive.infolist()[0].filename.partition("/")[0]
    for name in names:
        if name.startswith("data/aotinductor/"):
            yield "compiled code"
        elif name.startswith("data/sample_inputs/"):
            yield from _pickled(archive.read(f"{root}/{name}"))
        elif name.startswith(("data/weights/", "data/constants/")):
            yield from _payload(name, lambda entry=name: archive.read(f"{root}/{entry}"))
        elif name.startswith("models/"):
            yield from _expressions(json.loads(archive.read(f"{root}/{name}")))


def _payload(name: str, read: Any) -> Iterator[str]:
    """Weights and constants are raw bytes, described by a JSON file that may ask for pickle instead."""
    if name.endswith(".pt"):
        yield "pickled tensors"
    if name.endswith("_config.json"):
        for entry in json.loads(read())["config"].values():
            kind = str(entry["path_name"]).rpartition("_")[0]
            if entry["use_pickle"] or kind not in ("weight", "tensor"):
                yield f"pickled objects ({kind})"


def _pickled(content: bytes) -> Iterator[str]:
    """Sample inputs are a pickle, which torch reads without restriction when the restricted reading fails."""
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as e:
        named = re.search(r"GLOBAL (\S+)", str(e))
        yield named.group(1) if named else "pickled objects (sample inputs)"


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _expressions(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "expr_str" and not _is_arithmetic(str(value)):
                yield f"the expression {value!r}"
            yield from _expressions(value)


def _is_arithmetic(expression: str) -> bool:
    """Numbers, symbols, operators and the functions of shapes: nothing that could name or build other code."""
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, ValueError):
        return False
    for node in nodes:
        if not isinstance(node, _SYNTAX):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            return False
    return True
