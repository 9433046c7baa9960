"""XGBoost models, saved as JSON or UBJSON."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import numpy as np
import xgboost

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.sources import ubjson
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
    refuse_newer,
    value,
)
from slipway_export.sources.xgboost_trees import forest, require_sound

_REGRESSION: dict[str, Link] = {
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:absoluteerror": "identity",
    "reg:quantileerror": "identity",
    "reg:expectileerror": "identity",
    "reg:linear": "identity",
    "reg:logistic": "sigmoid",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "count:poisson": "exp",
    "survival:cox": "exp",
    "survival:aft": "exp",
}
_OBJECTIVES = {
    **{name: Objective(name, "regression", link) for name, link in _REGRESSION.items()},
    **{name: Objective(name, "ranking", "identity") for name in ("rank:pairwise", "rank:ndcg", "rank:map")},
    "binary:logistic": Objective("binary:logistic", "classification", "sigmoid"),
    "multi:softprob": Objective("multi:softprob", "classification", "softmax"),
    "multi:softmax": Objective("multi:softmax", "classification", "softmax"),
}
_NO_PROBABILITIES = "it gives no probabilities; train with 'binary:logistic'"
_REASONS = {"binary:hinge": _NO_PROBABILITIES, "binary:logitraw": _NO_PROBABILITIES}
_BINARY = re.compile(rb"[^{\x80].{0,1000}(gbtree|gblinear|dart)", re.DOTALL)
_REMEDY = "write it with booster.save_model('model.ubj') or '.json', with the XGBoost that trained it"


def read(card: ModelCard, content: bytes) -> BoostedModel:
    """Load a JSON or UBJSON file. Raises :class:`ExportFailed`."""
    document = _document(card, content)
    booster = xgboost.Booster()
    try:
        refuse_newer(card, "XGBoost", tuple(int(number) for number in document["version"]), xgboost.__version__)
        require_sound(card, document)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells people to write old files anew
            # Always as JSON: a damaged UBJSON file can end the process inside the library.
            booster.load_model(bytearray(json.dumps(document).encode()))
        # What the library itself has read, in the form of its own version.
        learner = json.loads(booster.save_raw("json"))["learner"]
    except (xgboost.core.XGBoostError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        damaged(card, "XGBoost model", _REMEDY)
    return _model(card, booster, learner)


def _document(card: ModelCard, content: bytes) -> dict[str, Any]:
    path = card.source.path
    if content.startswith((b"binf", b"bs64")) or _BINARY.match(content):
        raise ExportFailed(
            card.name,
            f"{path} has XGBoost's obsolete binary format; load it with the XGBoost that wrote it (before 3.1) and "
            "save it with booster.save_model('model.ubj')",
        )
    if not content.startswith(b"{"):
        damaged(card, "XGBoost model", f"{_REMEDY} (pickles are not read)")
    try:
        return ubjson.decoded(content) if content[1:2] in (b"i", b"U", b"I", b"l", b"L") else json.loads(content)
    except (ValueError, RecursionError):
        damaged(card, "XGBoost model", _REMEDY)


def _model(card: ModelCard, booster: xgboost.Booster, learner: dict[str, Any]) -> BoostedModel:
    name = learner["objective"]["name"]
    objective = check_objective(card, _OBJECTIVES.get(name), name, _REASONS.get(name, ""))
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] == "gblinear":
        raise ExportFailed(card.name, "the model is linear (booster 'gblinear') and has no trees; train 'gbtree'")
    parameters = learner["learner_model_param"]
    check_features(card, int(parameters["num_feature"]), learner["feature_names"])
    outputs = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    check_outputs(card, outputs)
    rounds = _rounds(learner["attributes"])
    positions = tuple(range(len(card.output.labels)))

    def ask(rows: Array) -> Answers:
        data = xgboost.DMatrix(rows, feature_names=booster.feature_names, feature_types=booster.feature_types)
        answered = booster.predict(data, iteration_range=(0, rounds))
        if objective.task != "classification":
            return value(answered)
        if outputs == 1:
            return binary(answered)
        if objective.name == "multi:softprob":
            return classes(answered.argmax(axis=1), answered, positions)
        margins = booster.predict(data, output_margin=True, iteration_range=(0, rounds)).astype(np.float64)
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        return classes(answered, raised / raised.sum(axis=1, keepdims=True), positions)

    base = _base(parameters["base_score"], objective.link, outputs)
    trees = forest(gradient_booster, len(card.inputs), rounds, base)
    return BoostedModel(card, ("xgboost",), objective, trees, ask, positions)


def _rounds(attributes: dict[str, str]) -> int:
    """How many rounds answer by default; 0 is all.

    Early stopping keeps the later rounds in the file. ``XGBClassifier.predict`` and its kin leave them out, a
    ``Booster`` does not; a file says by which it was saved.
    """
    if "scikit_learn" not in attributes or "best_iteration" not in attributes:
        return 0
    return int(attributes["best_iteration"]) + 1


def _base(stored: str, link: Link, outputs: int) -> tuple[float, ...]:
    """What every sum begins with: the file has it as the objective's answer."""
    scores = np.asarray(json.loads(stored.replace("E", "e")), np.float32).reshape(-1).astype(np.float64)
    margins = np.broadcast_to(scores, outputs)
    with np.errstate(divide="ignore"):
        if link == "sigmoid":
            margins = np.log(margins / (1 - margins))
        elif link == "exp":
            margins = np.log(margins)
    return tuple(margins.tolist())
