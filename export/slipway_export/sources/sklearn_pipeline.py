"""scikit-learn estimators and pipelines, saved with skops."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import skl2onnx
import skops.io
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, UntrustedSource
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR, VALUE_TENSOR
from slipway_core.rows import FEATURES_TENSOR, is_one_tensor
from slipway_core.tensors import Array
from slipway_export.answers import label_positions
from slipway_export.graph import ML_DOMAIN, Surgery
from slipway_export.unpacking import refuse_bomb
from slipway_export.wording import one_line

# A forest of thousands of trees has a few megabytes of schema; its arrays lie beside it.
MOST_SCHEMA_BYTES = 128 * 2**20
MOST_BYTES = 8 * 2**30

_METRICS = ("Euclidean", "Manhattan", "Minkowski")

# What fitted estimators hold beyond the types that skops trusts by itself: scikit-learn's own classes for arrays of
# tree nodes, neighbour indices, optimiser state and calibration, and the scoring functions of feature selection.
# skops leaves trees and indices out because a crafted one can be made to read out of bounds: that can end this
# process, which does nothing but the export, and runs no code of the file's.
TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        *(f"sklearn.metrics._dist_metrics.{metric}Distance{bits}" for metric in _METRICS for bits in ("", 32, 64)),
        *(f"sklearn.neighbors._ball_tree.BallTree{bits}" for bits in ("", 32, 64)),
        *(f"sklearn.neighbors._kd_tree.KDTree{bits}" for bits in ("", 32, 64)),
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
# Old enough for every ONNX Runtime of the last years, new enough for every converter.
TARGET_OPSET = {"": 18, ML_DOMAIN: 3}


class SklearnPipeline:
    """A classifier with probabilities, or a regressor, over one FP32 tensor of features.

    Requests bring FP32. Like a user of the pipeline, the reference computes on these numbers in double precision.
    """

    libraries = ("scikit-learn", "skops", "skl2onnx")

    def __init__(self, card: ModelCard, estimator: Any) -> None:
        self._card, self._estimator = card, estimator
        _require_fitted(card, estimator)
        self._final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
        self._check_task()
        self._check_features()
        self._positions = label_positions(card, estimator.classes_.tolist()) if card.task == "classification" else []

    @classmethod
    def read(cls, card: ModelCard, content: bytes) -> SklearnPipeline:
        """Load a skops file. Raises :class:`UntrustedSource` before anything of it is built."""
        path = str(card.source.path)
        refuse_bomb(card, card.source.file, io.BytesIO(content), MOST_SCHEMA_BYTES, "schema.json")
        refuse_bomb(card, card.source.file, io.BytesIO(content), MOST_BYTES)
        try:
            unknown = skops.io.get_untrusted_types(data=content)
            refused = sorted(set(unknown) - TRUSTED)
            if refused:
                raise UntrustedSource(card.name, path, refused)
            return cls(card, skops.io.loads(content, trusted=unknown))
        except ExportFailed:
            raise
        except (zipfile.BadZipFile, KeyError):
            raise ExportFailed(
                card.name, f"{path} is no skops file, or cut off; write it with skops.io.dump (pickles are not read)"
            ) from None
        except (ImportError, TypeError, ValueError) as e:
            raise ExportFailed(card.name, f"{path} cannot be loaded by this scikit-learn ({one_line(e)})") from None

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return self._predicted(inputs[FEATURES_TENSOR].astype(np.float64))
        except ValueError as e:  # NaN in the samples of a model without an imputer, and the like
            optional = [feature.name for feature in self._card.inputs if feature.optional]
            without = f", or not without its optional features ({', '.join(optional)})" if optional else ""
            raise ExportFailed(
                self._card.name, f"scikit-learn's model does not take the samples{without}: {one_line(e)}"
            ) from None

    def _predicted(self, rows: Array) -> dict[str, Array]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pipeline fitted on a table says that an array has no column names
            if self._card.task != "classification":
                return {VALUE_TENSOR: np.asarray(self._estimator.predict(rows), np.float32).reshape(-1, 1)}
            classes = self._estimator.classes_.tolist()
            chosen = [self._positions[classes.index(label)] for label in self._estimator.predict(rows).tolist()]
            probabilities = np.asarray(self._estimator.predict_proba(rows), np.float32)
        return {
            LABEL_TENSOR: np.array(chosen, np.int64).reshape(-1, 1),
            PROBABILITIES_TENSOR: probabilities[:, np.argsort(self._positions)],
        }

    def to_onnx(self) -> Surgery:
        try:
            model = self._converted(_in_double_precision(self._estimator))
        except Exception as e:  # the converters raise what they like
            raise ExportFailed(self._card.name, f"scikit-learn's model cannot become ONNX: {one_line(e)}") from None
        surgery = Surgery(model)
        if self._card.task != "classification":
            surgery.rename(surgery.append_column(surgery.graph.output[0].name), VALUE_TENSOR)
            return surgery
        label, probabilities = (output.name for output in surgery.graph.output)
        self._answer(surgery, label, probabilities)
        return surgery

    def _converted(self, estimator: Any) -> Any:
        kind: Any = [(FEATURES_TENSOR, FloatTensorType([None, len(self._card.inputs)]))]
        options = {"zipmap": False} if self._card.task == "classification" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skl2onnx.to_onnx(
                estimator, initial_types=kind, options=options, target_opset=TARGET_OPSET, name=self._card.name
            )

    def _answer(self, surgery: Surgery, label: str, probabilities: str) -> None:
        """Labels as positions in the card's list, ``[n, 1]``; probabilities in the card's order."""
        classes = self._estimator.classes_.tolist()
        if classes != self._positions:
            keys = "keys_strings" if isinstance(classes[0], str) else "keys_int64s"
            surgery.require_ml_opset(2)
            mapping = {keys: classes, "values_int64s": self._positions}
            label = surgery.append("LabelEncoder", [label], domain=ML_DOMAIN, **mapping)
        surgery.rename(surgery.append_column(label), LABEL_TENSOR)
        if self._positions != sorted(self._positions):
            order = surgery.constant("slipway_order", np.argsort(self._positions).astype(np.int64))
            probabilities = surgery.append("Gather", [probabilities, order], axis=1)
        surgery.rename(probabilities, PROBABILITIES_TENSOR)

    def _check_task(self) -> None:
        name, final = self._card.name, type(self._final).__name__
        fits = is_classifier if self._card.task == "classification" else is_regressor
        if not fits(self._final):
            raise ExportFailed(name, f"the card's task is {self._card.task!r}, the file holds a {final}")
        if self._card.task == "classification" and not hasattr(self._estimator, "predict_proba"):
            raise ExportFailed(
                name, f"{final} gives no probabilities; train it inside sklearn.calibration.CalibratedClassifierCV"
            )

    def _check_features(self) -> None:
        if not is_one_tensor(self._card.inputs):
            raise ExportFailed(self._card.name, "a scikit-learn model takes FP32 features only; mend the card's inputs")
        ours = [feature.name for feature in self._card.inputs]
        theirs = getattr(self._estimator, "n_features_in_", len(ours))
        if theirs != len(ours):
            raise ExportFailed(
                self._card.name,
                f"the model was trained on {theirs} features, the card has {len(ours)}: {', '.join(ours)}",
            )
        names = [str(name) for name in getattr(self._estimator, "feature_names_in_", ours)]
        if names != ours:
            raise ExportFailed(
                self._card.name,
                f"the model was trained on the features {', '.join(names)}, the card has {', '.join(ours)}; "
                "give the card's inputs the same names in the same order",
            )


read = SklearnPipeline.read


def _in_double_precision(estimator: Any) -> Any:
    """The same pipeline with its scaling steps computed in double precision, as scikit-learn computes them.

    A tree compares against thresholds half-way between training values. Scaled in single precision, a value that
    lies on a threshold falls to either side by rounding, and a forest's probabilities jump. Leading imputers stay
    in single precision: ONNX Runtime has them for nothing else, and they pass numbers through unchanged.
    """
    if not isinstance(estimator, Pipeline):
        return estimator
    steps = list(estimator.steps)
    first = next((at for at, (_, step) in enumerate(steps) if not isinstance(step, SimpleImputer)), len(steps))
    if first >= len(steps) - 1:
        return estimator
    double: Any = np.float64
    widen = ("slipway_widen", CastTransformer(dtype=double))
    narrow = ("slipway_narrow", CastTransformer(dtype=np.float32))
    return Pipeline([*steps[:first], widen, *steps[first:-1], narrow, steps[-1]])


def _require_fitted(card: ModelCard, estimator: Any) -> None:
    """Raise :class:`ExportFailed` for a file that holds no estimator, or one that was never trained."""
    path = card.source.path
    if not isinstance(estimator, BaseEstimator):
        raise ExportFailed(card.name, f"{path} holds a {type(estimator).__name__}, not a scikit-learn estimator")
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ExportFailed(
            card.name, f"the {type(estimator).__name__} in {path} was never fitted; fit it before saving"
        ) from None
