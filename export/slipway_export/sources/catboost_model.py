"""CatBoost models, saved in its binary format (``.cbm``)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import catboost
import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.answers import label_positions
from slipway_export.sources.boosting import (
    Answers,
    BoostedModel,
    Link,
    Objective,
    check_features,
    check_objective,
    check_outputs,
    classes,
    damaged,
    refuse_newer,
    value,
)
from slipway_export.sources.forest import Branch, Forest, Node, Tree

_VALUES = ("RMSE", "MAE", "Quantile", "Expectile", "LogLinQuantile", "LogCosh", "Huber", "MAPE", "Lq")
_RANKINGS = (
    "YetiRank",
    "YetiRankPairwise",
    "PairLogit",
    "PairLogitPairwise",
    "QueryRMSE",
    "QuerySoftMax",
    "QueryCrossEntropy",
    "LambdaMart",
    "StochasticRank",
)
_CLASSES: dict[str, Link] = {
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "Focal": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoid",
}
_OBJECTIVES = {
    **{name: Objective(name, "regression", "identity") for name in (*_VALUES, "Cox", "SurvivalAft")},
    **{name: Objective(name, "regression", "exp") for name in ("Poisson", "Tweedie")},
    **{name: Objective(name, "ranking", "identity") for name in _RANKINGS},
    **{name: Objective(name, "classification", link) for name, link in _CLASSES.items()},
}
_SEVERAL = "it gives several values per row; train a model for each"
_REASONS: dict[str, str] = dict.fromkeys(
    ("RMSEWithUncertainty", "MultiRMSE", "MultiLogloss", "MultiCrossEntropy"), _SEVERAL
)
_REMEDY = "write it with model.save_model('model.cbm')"
_LONGEST_S = 600  # of reading one file, however large


def read(card: ModelCard, content: bytes) -> BoostedModel:
    """Load a ``.cbm`` file. Raises :class:`ExportFailed`."""
    if not content.startswith(b"CBM1"):
        damaged(card, "CatBoost .cbm file", f"{_REMEDY} (pickles are not read)")
    described = _described(card, content)
    model = catboost.CatBoost()
    try:
        model.load_model(blob=content)
        metadata: dict[str, str] = dict(model.get_metadata())
        objective_name: str = json.loads(metadata["params"])["loss_function"]["type"]
    except (catboost.CatBoostError, ValueError, KeyError):
        damaged(card, "CatBoost .cbm file", _REMEDY)
    _refuse_newer(card, metadata.get("catboost_version_info", ""))
    reason = _REASONS.get(objective_name, "")
    objective = check_objective(card, _OBJECTIVES.get(objective_name), objective_name, reason)
    _refuse_other_features(card, model)
    names: list[str] = list(model.feature_names_ or ())
    check_features(card, len(names), [] if names == [str(at) for at in range(len(names))] else names)
    assert described is not None  # of numbers alone
    return _model(card, model, described, objective, float(metadata.get("binclass_probability_threshold", 0.5)))


def _model(
    card: ModelCard, model: Any, described: dict[str, Any], objective: Objective, threshold: float
) -> BoostedModel:
    forest = _forest(described, len(card.inputs))
    check_outputs(card, len(forest.base))
    labels: list[Any] = model.classes_.tolist() if card.task == "classification" else []
    positions = tuple(label_positions(card, labels)) if labels else ()

    def ask(rows: Array) -> Answers:
        if objective.task != "classification":
            kind = "Exponent" if objective.link == "exp" else "RawFormulaVal"
            return value(model.predict(rows, prediction_type=kind))
        chosen = model.predict(rows, prediction_type="Class").reshape(-1).tolist()
        probabilities = model.predict(rows, prediction_type="Probability")
        return classes(np.array([labels.index(label) for label in chosen]), probabilities, positions)

    return BoostedModel(card, ("catboost",), objective, forest, ask, positions, threshold)


def _refuse_newer(card: ModelCard, build: str) -> None:
    """By what the file says of the library that wrote it; a build of somebody's own says nothing."""
    written = re.search(r"(?:tags/v|release )(\d+)\.(\d+)\.?(\d*)", build)
    if written is not None:
        refuse_newer(card, "CatBoost", tuple(int(number or 0) for number in written.groups()), catboost.__version__)


def _refuse_other_features(card: ModelCard, model: Any) -> None:
    for kind, found in (
        ("categories", model.get_cat_feature_indices()),
        ("text", model.get_text_feature_indices()),
        ("embeddings", model.get_embedding_feature_indices()),
    ):
        if len(found):
            names = ", ".join(str(model.feature_names_[at]) for at in found)
            raise ExportFailed(
                card.name,
                f"the model takes {kind} ({names}), for which CatBoost has no ONNX form; encode them as numbers before "
                "training, or train with XGBoost or LightGBM",
            )


def _described(card: ModelCard, content: bytes) -> dict[str, Any] | None:
    """The trees as the library itself describes them; None for a model that takes more than numbers."""
    with TemporaryDirectory() as folder:
        source, trees = Path(folder) / "model.cbm", Path(folder) / "trees.json"
        source.write_bytes(content)
        command = [sys.executable, str(Path(__file__).with_name("catboost_child.py")), str(source), str(trees)]
        try:
            ended = subprocess.run(command, capture_output=True, check=False, timeout=_LONGEST_S)
            if ended.returncode != 0:
                damaged(card, "CatBoost .cbm file", _REMEDY)
            return json.loads(trees.read_text(encoding="utf-8")) if trees.exists() else None
        except (subprocess.TimeoutExpired, ValueError):
            damaged(card, "CatBoost .cbm file", _REMEDY)


def _forest(described: dict[str, Any], features: int) -> Forest:
    scale, base = described["scale_and_bias"]
    columns: dict[int, tuple[int, Literal[0, 1]]] = {
        feature["feature_index"]: (feature["flat_feature_index"], _missing_side(feature))
        for feature in described["features_info"]["float_features"]
    }
    grown: list[Tree] = []
    for tree in described.get("oblivious_trees", ()):
        grown += _of_levels(tree, columns, scale, len(base))
    for tree in described.get("trees", ()):
        grown += _of_branches(tree, columns, scale, len(base))
    return Forest(features, closed=True, base=tuple(base), trees=tuple(grown))


Columns = Mapping[int, tuple[int, Literal[0, 1]]]


def _missing_side(feature: Mapping[str, Any]) -> Literal[0, 1]:
    """NaN is above no border, unless it was trained as the largest number."""
    return 1 if feature["nan_value_treatment"] == "AsTrue" else 0


def _branch(split: Mapping[str, Any], columns: Columns, sides: tuple[int, int]) -> Branch:
    column, missing = columns[split["float_feature_index"]]
    return Branch(column, (float(np.float32(split["border"])),), sides, missing)


def _of_levels(tree: Mapping[str, Any], columns: Columns, scale: float, outputs: int) -> Iterator[Tree]:
    """A tree that asks the same question on a whole level: its leaves are numbered by the answers, the first lowest."""
    splits: list[Any] = tree["splits"]
    last = len(splits) - 1
    branches: list[Node] = []
    for level in range(len(splits)):
        for at in range(2**level, 2 ** (level + 1)):  # as in a heap: the root is 1, below n are 2n and 2n + 1
            branches.append(_branch(splits[last - level], columns, (2 * at - 1, 2 * at)))
    values = np.array(tree["leaf_values"], np.float64).reshape(-1, outputs) * scale
    yield from (Tree(output, [*branches, *values[:, output].tolist()]) for output in range(outputs))


def _of_branches(tree: Mapping[str, Any], columns: Columns, scale: float, outputs: int) -> Iterator[Tree]:
    """A tree that grew without levels."""
    found: list[Any] = [tree]
    shape: list[tuple[Any, tuple[int, int]]] = []
    for node in found:  # grows while it is read
        below = (len(found), len(found) + 1)
        shape.append((node, below))
        if "split" in node:
            found += [node["left"], node["right"]]
    for output in range(outputs):
        nodes: list[Node] = []
        for node, sides in shape:
            if "split" in node:
                nodes.append(_branch(node["split"], columns, sides))
            else:
                nodes.append(float(np.atleast_1d(node["value"])[output]) * scale)
        yield Tree(output, nodes)
