"""scikit-learn models through the gate: the six families of the iris recipe, and what cannot be converted."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from slipway_core.errors import ExportFailed, SourceNotFound, UntrustedSource
from slipway_core.layout import ModelDirectory
from slipway_export import export
from slipway_export.runtime import Session
from support.export import FEATURES, SPECIES, iris_card, iris_pipeline

X, Y = load_iris(return_X_y=True)


def converted(folder: Path, model: str = "iris") -> Session:
    """The newest published graph, as Triton would load it."""
    directory = ModelDirectory(folder / "repository", model)
    return Session(model, (directory.version(directory.versions()[-1]) / "model.onnx").read_bytes())


def published(folder: Path, estimator: Any, **changes: Any) -> Session:
    export(iris_card(folder, estimator, **changes), repository=folder / "repository")
    return converted(folder)


@pytest.mark.parametrize(
    ("scaler", "model"),
    [
        (StandardScaler, LogisticRegression(max_iter=500)),
        (MinMaxScaler, CalibratedClassifierCV(SVC(random_state=0), ensemble=False)),
        (StandardScaler, KNeighborsClassifier(5)),
        (MinMaxScaler, DecisionTreeClassifier(random_state=0)),
        (StandardScaler, RandomForestClassifier(40, random_state=0)),
        (MinMaxScaler, RandomForestClassifier(40, random_state=0)),
        (MinMaxScaler, MLPClassifier((8,), max_iter=300, random_state=0)),
        (StandardScaler, GradientBoostingClassifier(n_estimators=5, random_state=0)),
    ],
    ids=lambda given: getattr(given, "__name__", type(given).__name__),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_family_passes_the_gate_on_all_of_iris(tmp_path: Path, scaler: Any, model: Any) -> None:
    pipeline = iris_pipeline(SimpleImputer(strategy="median"), scaler(), model)
    answers = published(tmp_path, pipeline).run({"features": X.astype(np.float32)})
    assert answers["label"].shape == (150, 1)
    assert answers["label"].dtype == np.int64
    assert answers["probabilities"].dtype == np.float32
    np.testing.assert_array_equal(answers["label"][:, 0], pipeline.predict(X.astype(np.float32).astype(np.float64)))


def test_values_that_lie_on_a_forests_thresholds_fall_to_the_same_side(tmp_path: Path) -> None:
    # Half-way between two measurements, where each tree cuts: the case that single precision gets wrong.
    between = (np.sort(np.unique(X[:, 2]))[:-1] + np.diff(np.sort(np.unique(X[:, 2]))) / 2).astype(np.float32)
    rows = np.repeat(X[:1].astype(np.float32), len(between), axis=0)
    rows[:, 2] = between
    pipeline = iris_pipeline(StandardScaler(), RandomForestClassifier(60, random_state=0))
    answers = published(tmp_path, pipeline).run({"features": rows})
    np.testing.assert_allclose(
        answers["probabilities"], pipeline.predict_proba(rows.astype(np.float64)), atol=1e-5, rtol=0
    )


def test_missing_values_are_filled_as_in_training(tmp_path: Path) -> None:
    rows = X.astype(np.float32)
    rows[::7, 2] = np.nan
    pipeline = iris_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
    answers = published(tmp_path, pipeline).run({"features": rows})
    np.testing.assert_allclose(answers["probabilities"], pipeline.predict_proba(rows.astype(np.float64)), atol=1e-5)


def test_a_regressor_gives_its_value(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=5, random_state=0)).fit(X, X[:, 0])
    answers = published(tmp_path, model, task="regression", output={"unit": "cm"}).run(
        {"features": X.astype(np.float32)}
    )
    assert answers["value"].shape == (150, 1)
    np.testing.assert_allclose(answers["value"][:, 0], model.predict(X), rtol=1e-4)


def test_classes_by_name_become_positions_in_the_cards_labels(tmp_path: Path) -> None:
    names = np.array(SPECIES)[Y]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, names)
    labels = ["virginica", "setosa", "versicolor"]
    answers = published(tmp_path, model, output={"labels": labels}).run({"features": X.astype(np.float32)})
    assert [labels[at] for at in answers["label"][:, 0]] == model.predict(X).tolist()
    np.testing.assert_array_equal(answers["probabilities"].argmax(axis=1), answers["label"][:, 0])


def test_other_numbers_than_positions_become_positions(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=500).fit(X, Y + 1)
    answers = published(tmp_path, model, output={"labels": ["1", "2", "3"]}).run({"features": X.astype(np.float32)})
    np.testing.assert_array_equal(answers["label"][:, 0] + 1, model.predict(X))


def refused(folder: Path, estimator: Any = None, **changes: Any) -> str:
    with pytest.raises(ExportFailed) as caught:
        export(iris_card(folder, estimator, **changes), repository=folder / "repository")
    assert not (folder / "repository" / "iris").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_that_do_not_fit_the_model_are_refused_with_both_numbers(tmp_path: Path) -> None:
    assert refused(tmp_path, output={"labels": ["a", "b"]}) == (
        "cannot export 'iris': the model gives 3 classes, the card's output.labels names 2; make them equal"
    )


def test_classes_of_other_names_are_refused_with_both(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=500).fit(X, np.array(SPECIES)[Y])
    assert "the model's classes are setosa, versicolor, virginica, the card's output.labels are a, b, c" in refused(
        tmp_path, model, output={"labels": ["a", "b", "c"]}
    )


def test_another_number_of_features_is_refused_with_both(tmp_path: Path) -> None:
    assert "trained on 4 features, the card has 2: a, b" in refused(tmp_path, inputs=[{"name": "a"}, {"name": "b"}])


def test_features_in_another_order_than_in_training_are_refused(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=500).fit(X, Y)
    model.feature_names_in_ = np.array(list(reversed(FEATURES)), dtype=object)  # as a fit on a DataFrame leaves it
    assert "trained on the features petal_width, petal_length" in refused(tmp_path, model)


def test_a_regressor_for_a_classification_card_is_refused(tmp_path: Path) -> None:
    assert "the card's task is 'classification', the file holds a LinearRegression" in refused(
        tmp_path, LinearRegression().fit(X, Y)
    )


def test_a_classifier_without_probabilities_is_refused_with_a_way_out(tmp_path: Path) -> None:
    assert "RidgeClassifier gives no probabilities; train it inside" in refused(tmp_path, RidgeClassifier().fit(X, Y))


def test_code_in_the_file_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(os.getcwd), LogisticRegression(max_iter=500))
    pipeline.steps[-1][1].fit(X, Y)
    with pytest.raises(UntrustedSource) as caught:
        export(iris_card(tmp_path, pipeline), repository=tmp_path / "repository")
    assert "holds types that are not trusted: " in str(caught.value)
    assert "getcwd" in str(caught.value)


def test_a_schema_that_unpacks_to_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    card = iris_card(tmp_path)
    zipped = zipfile.ZipFile(card.source.path, "w", zipfile.ZIP_DEFLATED)
    with zipped as archive, archive.open("schema.json", "w") as member:
        for _ in range(300):
            member.write(b" " * 2**20)
    with pytest.raises(ExportFailed) as refused:
        export(card, repository=tmp_path / "repository")
    assert str(refused.value) == (
        f"cannot export 'iris': schema.json in {card.source.path} unpacks to 315 MB, more than the 134 MB allowed"
    )


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    card = iris_card(tmp_path)
    card.source.path.write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ExportFailed, match="is no skops file, or cut off; write it with skops"):
        export(card, repository=tmp_path / "repository")


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_was_cut_off_is_told_in_one_line(tmp_path: Path, share: float) -> None:
    card = iris_card(tmp_path)
    content = card.source.path.read_bytes()
    card.source.path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ExportFailed, match="is no skops file, or cut off") as caught:
        export(card, repository=tmp_path / "repository")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told_with_what_mends_it(tmp_path: Path) -> None:
    card = iris_card(tmp_path)
    card.source.path.unlink()
    with pytest.raises(SourceNotFound, match=r"model.skops does not exist; copy it there, or mend source\.path"):
        export(card, repository=tmp_path / "repository")


def test_skops_files_of_all_families_hold_trusted_types_alone(tmp_path: Path) -> None:
    from slipway_export.sources.sklearn_pipeline import TRUSTED

    neighbours, boosted = KNeighborsClassifier(algorithm="ball_tree"), HistGradientBoostingClassifier(max_iter=2)
    for model in (RandomForestClassifier(2), neighbours, boosted):
        content = skops.io.dumps(iris_pipeline(StandardScaler(), model))
        assert set(skops.io.get_untrusted_types(data=content)) <= TRUSTED


def test_a_file_without_an_estimator_is_refused(tmp_path: Path) -> None:
    assert "holds a dict, not a scikit-learn estimator" in refused(tmp_path, {"a": 1})


def test_an_estimator_that_was_never_fitted_is_refused(tmp_path: Path) -> None:
    assert "was never fitted; fit it before saving" in refused(tmp_path, LogisticRegression())
