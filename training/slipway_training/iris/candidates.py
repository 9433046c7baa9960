"""The six classifiers, how they are compared, and which one is taken."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from slipway_core.tensors import Array
from slipway_training.progress import Progress

FOLDS = 5


@dataclass(frozen=True)
class Family:
    """One kind of classifier and the settings that are tried for it."""

    name: str
    classifier: Any
    grid: Mapping[str, Sequence[Any]]
    scalers: tuple[Any, ...] = (StandardScaler(), MinMaxScaler())

    def pipeline(self) -> Pipeline:
        """The classifier behind what fills gaps and scales, not fitted yet."""
        # A feature without any value in one of the folds must not vanish there.
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        return Pipeline([("impute", imputer), ("scale", self.scalers[0]), ("model", self.classifier)])


@dataclass(frozen=True)
class Candidate:
    """A family's best settings. ``accuracy``, ``error`` (its standard error) and ``log_loss`` are over the folds."""

    name: str
    pipeline: Pipeline
    parameters: dict[str, Any]
    tried: int
    fold_accuracies: tuple[float, ...]
    accuracy: float
    error: float
    log_loss: float


@dataclass(frozen=True)
class Choice:
    """All candidates, the taken one, the one with the best mean, and the mean from which on one counts as equal."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    best: Candidate
    threshold: float

    @property
    def reason(self) -> str:
        """Why this one, in a sentence for the report."""
        if self.chosen is self.best:
            return (
                f"{self.chosen.name} has the best cross-validated accuracy, {self.best.accuracy:.4f}, and none "
                "that is simpler comes within its standard error."
            )
        return (
            f"{self.best.name} has the best cross-validated accuracy, {self.best.accuracy:.4f} with a standard error "
            f"of {self.best.error:.4f}; {self.chosen.name} reaches {self.chosen.accuracy:.4f}, which is within that "
            "noise, and is the simplest that does."
        )


def families(seed: int) -> tuple[Family, ...]:
    """The simplest and best calibrated first, which is also the order in which a tie is decided."""
    inner_folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # A single sigmoid on top of one SVM: what SVC(probability=True) did before scikit-learn deprecated it.
    calibration: dict[str, Any] = {"ensemble": False, "cv": inner_folds}
    svm = CalibratedClassifierCV(SVC(random_state=seed), **calibration)
    svm_grid = {"model__estimator__kernel": ["linear", "rbf"], "model__estimator__C": [0.1, 1.0, 10.0]}
    # Weighting neighbours by distance is left out: 1 / distance has no answer at a training row, and what is made
    # of that differs between scikit-learn and ONNX.
    neighbours = KNeighborsClassifier(weights="uniform", algorithm="brute", n_jobs=1)
    forest = RandomForestClassifier(n_estimators=50, random_state=seed, n_jobs=1)
    # A tree only asks which side of a border a value lies on: both scalers give the same tree.
    either = (StandardScaler(),)
    network = MLPClassifier(solver="lbfgs", max_iter=500, random_state=seed)
    return (
        Family("Logistic regression", LogisticRegression(max_iter=1000), {"model__C": [0.1, 1.0, 10.0, 100.0]}),
        Family("Support vector machine", svm, svm_grid),
        Family("k nearest neighbours", neighbours, {"model__n_neighbors": [15, 11, 7, 5, 3]}),
        Family(
            "Decision tree",
            DecisionTreeClassifier(random_state=seed),
            {"model__max_depth": [2, 3, 4, None], "model__min_samples_leaf": [5, 3, 1]},
            either,
        ),
        Family("Random forest", forest, {"model__max_depth": [3, None], "model__min_samples_leaf": [3, 1]}, either),
        Family("Neural network", network, {"model__hidden_layer_sizes": [(8,), (16,)], "model__alpha": [1.0, 0.1]}),
    )


def compare(inputs: Array, targets: Array, seed: int, progress: Progress) -> tuple[Candidate, ...]:
    """Search each family's grid, with both scalers, over the same stratified folds; refit each one's best."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    candidates: list[Candidate] = []
    tried = families(seed)
    progress.begin("comparing classifiers", len(tried))
    # How many threads add up a sum decides its last digits; one gives the same model on every machine.
    with threadpool_limits(limits=1):
        for family in tried:
            candidates.append(_searched(family, folds, inputs, targets))
            progress.step(f"{family.name}: {candidates[-1].accuracy:.4f}")
    progress.end()
    return tuple(candidates)


def choose(candidates: Sequence[Candidate]) -> Choice:
    """The first candidate whose mean accuracy is within one standard error of the best mean.

    Five folds of a hundred rows cannot tell closer ones apart; the simpler one is also the better calibrated.
    """
    best = max(candidates, key=lambda candidate: (candidate.accuracy, -candidate.log_loss))
    threshold = best.accuracy - best.error
    chosen = next(candidate for candidate in candidates if candidate.accuracy >= threshold)
    return Choice(tuple(candidates), chosen, best, threshold)


def _searched(family: Family, folds: StratifiedKFold, inputs: Array, targets: Array) -> Candidate:
    options: dict[str, Any] = {
        "scoring": {"accuracy": "accuracy", "log_loss": "neg_log_loss"},
        "refit": _best_index,
        "cv": folds,
        "n_jobs": 1,
        "error_score": "raise",
    }
    search: Any = GridSearchCV(family.pipeline(), {"scale": list(family.scalers), **family.grid}, **options)
    with warnings.catch_warnings():
        # A setting that does not converge within its bound is judged by its score like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(inputs, targets)
    results, at = search.cv_results_, search.best_index_
    accuracies = [float(results[f"split{fold}_test_accuracy"][at]) for fold in range(FOLDS)]
    return Candidate(
        name=family.name,
        pipeline=search.best_estimator_,
        parameters=_plain(search.best_params_),
        tried=len(results["params"]),
        fold_accuracies=tuple(accuracies),
        accuracy=float(np.mean(accuracies)),
        error=float(np.std(accuracies, ddof=1) / np.sqrt(FOLDS)),
        log_loss=-float(results["mean_test_log_loss"][at]),
    )


def _best_index(results: Mapping[str, Any]) -> int:
    """The most accurate settings; of equal ones the smaller log loss, and of those the first."""
    accuracy, log_loss = results["mean_test_accuracy"], -results["mean_test_log_loss"]
    return min(range(len(accuracy)), key=lambda at: (-round(accuracy[at], 9), round(log_loss[at], 9), at))


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Grid settings as JSON values under their short names; a scaler is its class's name."""
    plain: dict[str, Any] = {}
    for name, value in sorted(parameters.items()):
        short = "scaler" if name == "scale" else name.rpartition("__")[2]
        plain[short] = type(value).__name__ if name == "scale" else list(value) if isinstance(value, tuple) else value
    return plain
