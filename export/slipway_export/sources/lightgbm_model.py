"""LightGBM models, saved as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.sources.boosting import (
    Answers,
    BoostedModel,
    Link,
    Objective,
    binary,
    check_features,
    check_objective,
    check_outputs,
    classes,
    damaged,
    value,
)
from slipway_export.sources.forest import Branch, Forest, Node, Tree, at_most, below, runs

Section = Mapping[str, str]

_REGRESSION: dict[str, Link] = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "softplus",
}
_OBJECTIVES = {
    **{name: Objective(name, "regression", link) for name, link in _REGRESSION.items()},
    **{name: Objective(name, "ranking", "identity") for name in ("lambdarank", "rank_xendcg")},
    "binary": Objective("binary", "classification", "sigmoid"),
    "multiclass": Objective("multiclass", "classification", "softmax"),
    "multiclassova": Objective("multiclassova", "classification", "sigmoid"),
}
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_PER_BRANCH = ("split_gain", "internal_value", "internal_weight", "internal_count")
_REMEDY = "write it with booster.save_model('model.txt') (pickles are not read)"
# decision_type: a bit for categories, a bit for the side of missing values, two for what counts as missing.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_ZERO, _NAN = 1, 2
_ZERO_REACHES = np.float32(1e-35)  # what lies nearer to 0 is 0 to LightGBM, on both sides
_BEFORE_ZERO = np.nextafter(-_ZERO_REACHES, np.float32(-np.inf))


def read(card: ModelCard, content: bytes) -> BoostedModel:
    """Load a text model. Raises :class:`ExportFailed` before the library reads a file that is cut off."""
    try:
        head, trees = _sections(content)
        written = re.fullmatch(r"v(\d+)", head["version"])
        if written is None:
            raise ValueError
        features, outputs = int(head["max_feature_idx"]) + 1, int(head["num_tree_per_iteration"])
        names = head["feature_names"]
    except (ValueError, KeyError):
        damaged(card, "LightGBM text model", _REMEDY)
    _refuse_newer_format(card, int(written[1]))
    objective, scale = _objective(card, head.get("objective", ""))
    check_features(card, features, _given_names(card, names))
    check_outputs(card, outputs)
    try:
        forest = _forest(card, head, trees, scale)
        booster = lightgbm.Booster(model_str=content.decode())
    except (ValueError, KeyError, OverflowError, lightgbm.basic.LightGBMError):
        damaged(card, "LightGBM text model", _REMEDY)
    positions = tuple(range(len(card.output.labels)))

    def ask(rows: Array) -> Answers:
        answered = np.asarray(booster.predict(rows))
        if objective.task != "classification":
            return value(answered)
        return binary(answered) if outputs == 1 else classes(answered.argmax(axis=1), answered, positions)

    return BoostedModel(card, ("lightgbm",), objective, forest, ask, positions)


def _sections(content: bytes) -> tuple[Section, list[Section]]:
    """The keys and values of the head and of each tree.

    Raises :class:`ValueError` or :class:`KeyError` for anything that the library would not survive: it reads trees in
    threads of its own, where an error ends the process.
    """
    start = content.find(b"\n\nTree=")
    if not content.startswith(b"tree\n") or b"\nend of trees" not in content or start == -1:
        raise ValueError
    if b"\nparameters:" in content and b"\nend of parameters" not in content:
        raise ValueError
    head = _keys(content[:start])
    at, trees = start + 2, list[Section]()
    for number, size in enumerate(map(int, head["tree_sizes"].split())):
        block = content[at : at + size]
        if not block.startswith(b"Tree=%d\n" % number):
            raise ValueError
        trees.append(_keys(block))
        at += size
    if not content[at:].startswith(b"end of trees"):
        raise ValueError
    return head, trees


def _keys(block: bytes) -> Section:
    lines = block.decode("utf-8").splitlines()
    return {key: text for key, found, text in (line.partition("=") for line in lines) if found} | {
        key: "" for key in lines if "=" not in key
    }


def _refuse_newer_format(card: ModelCard, written: int) -> None:
    """Of the file's format: the text does not say which library wrote it."""
    ours = _installed_format()
    if written > ours:
        raise ExportFailed(
            card.name,
            f"{card.source.path} has the format v{written} of a newer LightGBM, here is {lightgbm.__version__}, which "
            f"reads at most v{ours} and may misread it; upgrade lightgbm",
        )


def _installed_format() -> int:
    """The version that the installed library writes."""
    smallest = (
        "tree\nversion=v3\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        "feature_names=a\nfeature_infos=none\ntree_sizes=\n\nend of trees\n"
    )
    return int(_keys(lightgbm.Booster(model_str=smallest).model_to_string().encode())["version"][1:])


def _objective(card: ModelCard, text: str) -> tuple[Objective, float]:
    """The objective, and the factor of its sums. With a function of the user's own the file names none."""
    name, *settings = text.split() or ["custom"]
    known = Objective(name, "regression", "identity") if name == "custom" else _OBJECTIVES.get(name)
    objective = check_objective(card, known, name)
    if "sqrt" in settings:
        objective = Objective(name, objective.task, "signed_square")
    factor = next((float(word[8:]) for word in settings if word.startswith("sigmoid:")), 1.0)
    return objective, factor


def _given_names(card: ModelCard, text: str) -> list[str]:
    """The features' names, without those that LightGBM gives itself; it writes ``_`` for the spaces in them."""
    names = text.split()
    if names == [f"Column_{at}" for at in range(len(names))]:
        return []
    ours = [feature.name for feature in card.inputs]
    return ours if [re.sub(r"\s+", "_", name) for name in ours] == names else names


def _forest(card: ModelCard, head: Section, trees: Sequence[Section], factor: float) -> Forest:
    outputs = int(head["num_tree_per_iteration"])
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise ExportFailed(card.name, "the model's leaves are linear models; train without linear_tree")
    if "average_output" in head:  # boosting "rf"
        factor /= max(1, len(trees) // outputs)
    grown = tuple(Tree(number % outputs, _nodes(tree, factor)) for number, tree in enumerate(trees))
    return Forest(len(card.inputs), closed=True, base=(0.0,) * outputs, trees=grown)


@dataclass(frozen=True)
class _Arrays:
    """A tree as the file has it: branches by number, leaves by ``-1 - number``. Raises :class:`ValueError`."""

    features: Array
    thresholds: Array
    kinds: Array
    lefts: Array
    rights: Array
    leaves: Array
    category_bounds: Array
    categories: Array

    @classmethod
    def of(cls, tree: Section) -> _Arrays:
        leaves, categorical = int(tree["num_leaves"]), int(tree["num_cat"])
        branches = leaves - 1
        for key in _PER_LEAF:
            _numbers(tree, key, leaves, optional=leaves == 1 or key != "leaf_value")
        for key in _PER_BRANCH:
            _numbers(tree, key, branches, optional=True)
        bounds = _whole(tree, "cat_boundaries", categorical + 1 if categorical else 0)
        if np.any(np.diff(bounds) < 0):
            raise ValueError
        lefts, rights = (_whole(tree, key, branches) for key in ("left_child", "right_child"))
        if any(np.any((side < -leaves) | (side >= branches)) for side in (lefts, rights)):
            raise ValueError
        words = _whole(tree, "cat_threshold", int(bounds[-1]) if categorical else 0)
        return cls(
            features=_whole(tree, "split_feature", branches),
            thresholds=_numbers(tree, "threshold", branches),
            kinds=_whole(tree, "decision_type", branches),
            lefts=lefts,
            rights=rights,
            leaves=_numbers(tree, "leaf_value", leaves),
            category_bounds=bounds,
            categories=words.astype(np.uint32),
        )


def _whole(tree: Section, key: str, count: int) -> Array:
    numbers = _numbers(tree, key, count)
    whole = numbers.astype(np.int64)
    if np.any(whole != numbers):
        raise ValueError
    return whole


def _numbers(tree: Section, key: str, count: int, *, optional: bool = False) -> Array:
    if optional and not tree.get(key, ""):
        return np.empty(0)
    numbers = np.array(tree.get(key, "").split(), np.float64)
    if len(numbers) != count:
        raise ValueError
    return numbers


def _nodes(tree: Section, factor: float) -> list[Node]:
    arrays = _Arrays.of(tree)
    branches = len(arrays.features)
    cuts = _as_compared(arrays.thresholds)

    def place(child: int) -> int:
        return child if child >= 0 else branches - 1 - child

    nodes: list[Node] = []
    for at, kind in enumerate(arrays.kinds.tolist()):
        sides = place(int(arrays.lefts[at])), place(int(arrays.rights[at]))
        feature = int(arrays.features[at])
        if kind & _CATEGORICAL:
            nodes.append(Branch(feature, _category_cuts(arrays, int(arrays.thresholds[at])), (sides[1], sides[0]), 0))
        else:
            nodes.append(_numerical(feature, cuts[at], kind, sides))
    return [*nodes, *(arrays.leaves * factor).tolist()]


def _as_compared(thresholds: Array) -> Array:
    """The single-precision bounds that decide as the double ones do, given that all that is nearly 0 is 0."""
    cuts = at_most(thresholds)
    cuts = np.where((thresholds >= -_ZERO_REACHES) & (thresholds < 0), _BEFORE_ZERO, cuts)
    return np.where((thresholds >= 0) & (thresholds <= _ZERO_REACHES), _ZERO_REACHES, cuts)


def _numerical(feature: int, cut: Any, kind: int, sides: tuple[int, int]) -> Branch:
    missing_is, default = kind >> _MISSING_SHIFT, 0 if kind & _DEFAULT_LEFT else 1
    if missing_is == _NAN:
        return Branch(feature, (float(cut),), sides, default)
    if missing_is != _ZERO:  # NaN counts as 0
        return Branch(feature, (float(cut),), sides, 0 if cut >= 0 else 1)
    bounds = sorted({float(_BEFORE_ZERO), float(_ZERO_REACHES), float(cut)})
    ways = [default if _BEFORE_ZERO < bound <= _ZERO_REACHES else int(bound > cut) for bound in (*bounds, np.inf)]
    changes = tuple(bound for bound, way, then in zip(bounds, ways, ways[1:], strict=False) if way != then)
    ordered = sides if ways[0] == 0 else (sides[1], sides[0])
    return Branch(feature, changes or (np.inf,), ordered, 0 if default == ways[0] else 1)


def _category_cuts(arrays: _Arrays, number: int) -> tuple[float, ...]:
    """Where the categories that go left begin and end; a code counts without its fraction, so -0.5 is category 0."""
    if not 0 <= number < len(arrays.category_bounds) - 1:
        raise ValueError
    first, last = arrays.category_bounds[number : number + 2].tolist()
    words = arrays.categories[first:last]
    chosen = np.flatnonzero(np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little"))
    found = list(runs(chosen.tolist()))
    begins = np.where([start == 0 for start, _ in found], -1.0, below(np.array([start for start, _ in found], float)))
    ends = below(np.array([end + 1 for _, end in found], float))
    return tuple(float(bound) for pair in zip(begins, ends, strict=True) for bound in pair) or (np.inf,)
