"""The trees of XGBoost's files: looked over before the library reads them, and as a forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.sources.forest import Branch, Forest, Node, Tree, runs

_LEAF = -1
_NO_PARENT = 2**31 - 1
_MOST_CATEGORIES = 2**24
_PER_NODE = ("split_indices", "split_conditions", "default_left", "base_weights", "loss_changes", "sum_hessian")


def require_sound(card: ModelCard, document: dict[str, Any]) -> None:
    """Look over what would end the process inside the library: it follows whatever index a file holds.

    Raises :class:`ValueError`, or :class:`KeyError` or :class:`TypeError` where something is not there, and
    :class:`ExportFailed` for leaves of several values.
    """
    learner = document["learner"]
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] == "gblinear":
        return
    model = _trees_of(gradient_booster)
    trees, parameters = model["trees"], learner["learner_model_param"]
    outputs = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    _require(int(model["gbtree_model_param"]["num_trees"]) == len(trees) == len(model["tree_info"]))
    _require(all(0 <= output < outputs for output in model["tree_info"]))
    ends = _whole(model.get("iteration_indptr", [0, len(trees)]))
    _require(len(ends) > 0 and ends[0] == 0 and ends[-1] == len(trees) and bool(np.all(np.diff(ends) >= 0)))
    _require(len(gradient_booster.get("weight_drop", trees)) == len(trees))
    for number, tree in enumerate(trees):
        _require(int(tree.get("id", number)) == number)
        if int(tree["tree_param"].get("size_leaf_vector", 0)) > 1:
            raise ExportFailed(card.name, "the model's leaves hold several values; train with 'one_output_per_tree'")
        _require_sound_tree(tree, int(parameters["num_feature"]))


def forest(gradient_booster: dict[str, Any], features: int, rounds: int, base: tuple[float, ...]) -> Forest:
    """The trees of the first ``rounds``, or of all."""
    weights: Sequence[float] | None = gradient_booster.get("weight_drop")  # of "dart"
    model = _trees_of(gradient_booster)
    ends = model["iteration_indptr"]
    count = ends[min(rounds, len(ends) - 1)] if rounds else len(model["trees"])
    trees: list[Tree] = []
    for number, (tree, output) in enumerate(zip(model["trees"][:count], model["tree_info"], strict=False)):
        trees.append(Tree(output, _nodes(tree, weights[number] if weights else 1.0)))
    return Forest(features, closed=False, base=base, trees=tuple(trees))


def _trees_of(gradient_booster: dict[str, Any]) -> dict[str, Any]:
    return gradient_booster.get("gbtree", gradient_booster)["model"]


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("the trees do not hold together")


def _whole(numbers: Any) -> Array:
    found = np.array(numbers)
    _require(found.ndim == 1 and (found.dtype.kind in "iu" or len(found) == 0))
    return found.astype(np.int64)


def _require_sound_tree(tree: dict[str, Any], features: int) -> None:
    count = int(tree["tree_param"]["num_nodes"])
    left, right, parents = (_whole(tree[key]) for key in ("left_children", "right_children", "parents"))
    kinds = _whole(tree.get("split_type", [0] * len(left)))
    _require(count > 0 and all(len(column) == count for column in (left, right, parents, kinds)))
    _require(all(np.array(tree[key]).shape == (count,) for key in _PER_NODE))
    _require(bool(np.all((parents == _NO_PARENT) | ((parents >= -1) & (parents < count)))))
    branches = np.flatnonzero(left != _LEAF)
    _require(bool(np.all((right == _LEAF) == (left == _LEAF))))
    # Every child names its one parent: the ways lead apart and never back.
    for children in (left[branches], right[branches]):
        _require(bool(np.all((children > 0) & (children < count))))
        _require(bool(np.all(parents[children] == branches)))
    _require(bool(np.all(left[branches] != right[branches])))
    asked = _whole(tree["split_indices"])[branches]
    _require(bool(np.all((asked >= 0) & (asked < features))))
    _require_sound_categories(tree, kinds)


def _require_sound_categories(tree: dict[str, Any], kinds: Array) -> None:
    keys = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    categories, nodes, starts, sizes = (_whole(tree.get(key, [])) for key in keys)
    _require(len(nodes) == len(starts) == len(sizes))
    _require(bool(np.all((nodes >= 0) & (nodes < len(kinds)) & (starts >= 0) & (sizes >= 0))))
    _require(bool(np.all(starts + sizes <= len(categories))))
    _require(bool(np.all((categories >= 0) & (categories < _MOST_CATEGORIES))))
    _require(bool(np.all(np.diff(nodes) > 0)) and set(np.flatnonzero(kinds).tolist()) == set(nodes.tolist()))


def _nodes(tree: dict[str, Any], weight: float) -> list[Node]:
    categories = _categories(tree)
    nodes: list[Node] = []
    for at, left in enumerate(tree["left_children"]):
        condition = tree["split_conditions"][at]
        if left == _LEAF:
            nodes.append(condition * weight)
            continue
        # Without a category the way is left, whatever the number; NaN has its own way.
        cuts = categories.get(at, ()) if tree["split_type"][at] else (condition,)
        missing = 0 if tree["default_left"][at] else 1
        nodes.append(Branch(tree["split_indices"][at], cuts or (np.inf,), (left, tree["right_children"][at]), missing))
    return nodes


def _categories(tree: dict[str, Any]) -> dict[int, tuple[float, ...]]:
    """Of each branch by category where the way to the right begins and ends; 2.7 belongs to category 2."""
    cuts: dict[int, tuple[float, ...]] = {}
    parts = (tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"])
    for node, start, size in zip(*parts, strict=True):
        chosen = tree["categories"][start : start + size]
        cuts[node] = tuple(float(bound) for first, last in runs(chosen) for bound in (first, last + 1))
    return cuts
