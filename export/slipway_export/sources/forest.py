"""Decision trees of any library as one ONNX operator that compares exactly as the library does.

ONNX compares in single precision, and with one bound at a time. A branch here may have several: the values below its
first cut go one way, those up to the second the other way, and so on in turn. So sets of categories and zeros that
count as missing are branches like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from slipway_core.rows import FEATURES_TENSOR
from slipway_core.tensors import Array
from slipway_export.graph import MAX_IR_VERSION, ML_DOMAIN

_OPSETS = {"": 18, ML_DOMAIN: 3}
_MARGINS = "margins"


class DamagedTrees(ValueError):
    """Nodes that are no tree: an index that leads nowhere, or twice to the same place."""


class Branch(NamedTuple):
    """A question about one feature. ``cuts`` ascend; ``sides`` are the nodes that take turns between them.

    ``missing`` says which of the two sides NaN takes.
    """

    feature: int
    cuts: tuple[float, ...]
    sides: tuple[int, int]
    missing: Literal[0, 1]


Node: TypeAlias = Branch | float


@dataclass(frozen=True)
class Tree:
    """Nodes from the root, which is the first; a number is a leaf, which is added to ``output``."""

    output: int
    nodes: Sequence[Node]


@dataclass(frozen=True)
class Forest:
    """The sum of all trees and of ``base``, for each output. ``closed``: a cut itself belongs to the side below it."""

    features: int
    closed: bool
    base: tuple[float, ...]
    trees: tuple[Tree, ...]

    def to_onnx(self, name: str) -> ModelProto:
        """``features [n, features]`` to the sums ``[n, outputs]``. Raises :class:`DamagedTrees`."""
        columns = _Columns("BRANCH_LEQ" if self.closed else "BRANCH_LT")
        for number, tree in enumerate(self.trees or (Tree(0, [0.0]),)):
            columns.add(number, tree, self.features, len(self.base))
        attributes: dict[str, Any] = {"n_targets": len(self.base), **columns.attributes()}
        sums = helper.make_node("TreeEnsembleRegressor", [FEATURES_TENSOR], ["sums"], domain=ML_DOMAIN, **attributes)
        # ONNX Runtime leaves the operator's own base values out where no tree adds to an output.
        margins = helper.make_node("Add", ["sums", "base"], [_MARGINS])
        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            [sums, margins],
            name,
            [helper.make_tensor_value_info(FEATURES_TENSOR, kind, ["batch", self.features])],
            [helper.make_tensor_value_info(_MARGINS, kind, ["batch", len(self.base)])],
            [numpy_helper.from_array(np.array([self.base], np.float32), "base")],
        )
        opsets = [helper.make_opsetid(*item) for item in _OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=MAX_IR_VERSION)


def at_most(bounds: Array) -> Array:
    """The largest single-precision numbers that are not above these: ``x <= bound`` decides on ``x`` as before."""
    with np.errstate(over="ignore"):
        rounded = bounds.astype(np.float32)
    return np.where(rounded > bounds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def below(bounds: Array) -> Array:
    """The largest single-precision numbers below these."""
    rounded = at_most(bounds)
    return np.where(rounded == bounds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last of each row of consecutive numbers."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


@dataclass
class _Columns:
    """The operator's attributes: one entry per node and comparison, and one per leaf."""

    mode: str
    nodes: list[tuple[int, int, int, str, float, int, int, int]] = field(default_factory=list[Any])
    leaves: list[tuple[int, int, int, float]] = field(default_factory=list[Any])

    def add(self, number: int, tree: Tree, features: int, outputs: int) -> None:
        """Lay out what can be reached from the root. ONNX Runtime wants a node's "false" side to be new: it is."""
        if not 0 <= tree.output < outputs:
            raise DamagedTrees(f"tree {number} adds to output {tree.output} of {outputs}")
        places = _places(number, tree, features)
        for at, place in places.items():
            node = tree.nodes[at]
            if isinstance(node, Branch):
                self._branch(number, place, node, (places[node.sides[0]], places[node.sides[1]]))
            else:
                self.nodes.append((number, place, 0, "LEAF", 0.0, 0, 0, 0))
                self.leaves.append((number, place, tree.output, float(node)))

    def _branch(self, number: int, place: int, node: Branch, sides: tuple[int, int]) -> None:
        last = len(node.cuts) - 1
        for step, cut in enumerate(node.cuts):
            beyond = sides[(step + 1) % 2] if step == last else place + step + 1
            # NaN falls through to the first comparison whose "true" is its side, or to the end.
            takes_missing = int(step == node.missing)
            self.nodes.append(
                (number, place + step, node.feature, self.mode, float(cut), sides[step % 2], beyond, takes_missing)
            )

    def attributes(self) -> dict[str, list[Any]]:
        trees, places, features, modes, values, yes, no, missing = map(list, zip(*self.nodes, strict=True))
        leaf_trees, leaf_places, outputs, weights = map(list, zip(*self.leaves, strict=True))
        return {
            "nodes_treeids": trees,
            "nodes_nodeids": places,
            "nodes_featureids": features,
            "nodes_modes": modes,
            "nodes_values": values,
            "nodes_truenodeids": yes,
            "nodes_falsenodeids": no,
            "nodes_missing_value_tracks_true": missing,
            "target_treeids": leaf_trees,
            "target_nodeids": leaf_places,
            "target_ids": outputs,
            "target_weights": weights,
        }


def _places(number: int, tree: Tree, features: int) -> dict[int, int]:
    """The place of each node in the operator's own numbering, the root first."""
    places: dict[int, int] = {}
    waiting, free = [0], 0
    while waiting:
        at = waiting.pop()
        if not 0 <= at < len(tree.nodes) or at in places:
            raise DamagedTrees(f"tree {number} has a branch to node {at}, where none can be")
        places[at] = free
        node = tree.nodes[at]
        free += len(node.cuts) if isinstance(node, Branch) else 1
        if isinstance(node, Branch):
            if not 0 <= node.feature < features:
                raise DamagedTrees(f"tree {number} asks for feature {node.feature} of {features}")
            if any(math.isnan(cut) for cut in node.cuts):
                raise DamagedTrees(f"tree {number} compares with a number that is none")
            waiting.extend(reversed(node.sides))
    return places
