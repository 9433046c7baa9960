"""CatBoost models through the gate: every objective and shape of tree, and what cannot be converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from support.export_trees import (
    classification,
    graph,
    numbers,
    published,
    refused,
    rows,
    rows_at_cuts,
    trees_card,
    values,
)

X = rows()
SMALL = {"iterations": 6, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def trained(objective: str, label: Any = None, x: Any = X, pool: Any = None, **options: Any) -> catboost.CatBoost:
    model = catboost.CatBoost({"loss_function": objective, **SMALL, **options})
    queries = np.arange(len(x)) // 50 if any(word in objective for word in ("Rank", "Query", "Pair", "Mart")) else None
    return model.fit(pool or catboost.Pool(x, values(x) if label is None else label, group_id=queries))


def saved(model: catboost.CatBoost, folder: Path) -> bytes:
    model.save_model(str(folder / "saved.cbm"))
    return (folder / "saved.cbm").read_bytes()


def card_of(folder: Path, model: catboost.CatBoost, samples: np.ndarray = X, **changes: Any) -> Any:
    return trees_card(folder, "catboost", saved(model, folder), samples, **changes)


def assert_equal_values(folder: Path, model: Any, kind: str = "RawFormulaVal", **changes: Any) -> None:
    """On the samples, on every border, and on both neighbours of each."""
    session = published(folder, card_of(folder, model, **changes))
    for given in (X, rows_at_cuts(graph(folder), X)):
        found = session.run({"features": given})["value"][:, 0]
        np.testing.assert_allclose(found, model.predict(given, prediction_type=kind), rtol=1e-5, atol=1e-6)
    assert len(np.unique(model.predict(X))) > 5


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        ("RMSE", "RawFormulaVal"),
        ("MAE", "RawFormulaVal"),
        ("Quantile:alpha=0.7", "RawFormulaVal"),
        ("Huber:delta=1", "RawFormulaVal"),
        ("Poisson", "Exponent"),
        ("Tweedie:variance_power=1.5", "Exponent"),
        ("Cox", "RawFormulaVal"),
    ],
)
def test_a_regressor_gives_its_value_beside_missing_numbers(tmp_path: Path, objective: str, kind: str) -> None:
    model = trained(objective)
    assert_equal_values(tmp_path, model, kind)
    # What the library's own regressor answers when it is asked for nothing else.
    model.save_model(str(tmp_path / "saved.cbm"))
    theirs = catboost.CatBoostRegressor().load_model(str(tmp_path / "saved.cbm"))
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X, prediction_type=kind))


@pytest.mark.parametrize("objective", ["YetiRank", "QueryRMSE", "PairLogit", "QuerySoftMax"])
def test_a_ranker_gives_its_score(tmp_path: Path, objective: str) -> None:
    assert_equal_values(tmp_path, trained(objective, numbers(X, 3)), task="ranking")


@pytest.mark.parametrize(
    "options",
    [
        {"grow_policy": "Lossguide"},
        {"grow_policy": "Depthwise"},
        {"nan_mode": "Max"},
        {"depth": 1},
        {"depth": 8},
        {"iterations": 1, "l2_leaf_reg": 1e-3},
    ],
    ids=str,
)
def test_every_shape_of_tree_and_side_of_missing_numbers_is_converted(tmp_path: Path, options: dict[str, Any]) -> None:
    model = trained("RMSE", **{"learning_rate": 0.5, **options})
    session = published(tmp_path, card_of(tmp_path, model))
    for given in (X, rows_at_cuts(graph(tmp_path), X)):
        found = session.run({"features": given})["value"][:, 0]
        np.testing.assert_allclose(found, model.predict(given), rtol=1e-5, atol=1e-6)


def test_missing_numbers_are_answered_where_training_had_none(tmp_path: Path) -> None:
    model = trained("RMSE", x=np.nan_to_num(X))
    session = published(tmp_path, card_of(tmp_path, model))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], model.predict(X), rtol=1e-5)


@pytest.mark.parametrize("labels", [[0, 1], ["yes", "no"], [False, True], [0.0, 1.0]], ids=str)
@pytest.mark.parametrize("threshold", [None, 0.6])
def test_a_binary_classifier_gives_its_classes_in_the_cards_order(
    tmp_path: Path, labels: list[Any], threshold: float | None
) -> None:
    names = np.array(labels)[numbers(X, 2)]
    model = catboost.CatBoostClassifier(**SMALL).fit(X, names)
    if threshold is not None:
        model.set_probability_threshold(threshold)
    shown = labels if isinstance(labels[0], str) else ["class 0", "class 1"]
    card = card_of(tmp_path, model, task="classification", output={"labels": shown})
    found = published(tmp_path, card).run({"features": X})
    order = [model.classes_.tolist().index(label) for label in labels]
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X)[:, order], atol=1e-6)
    chosen = np.array(labels)[found["label"][:, 0]]
    np.testing.assert_array_equal(chosen.astype(str), np.asarray(model.predict(X)).astype(str))
    assert 10 < (found["label"] == 1).sum() < 290


@pytest.mark.parametrize("objective", ["MultiClass", "MultiClassOneVsAll"])
def test_a_multi_class_classifier_gives_its_classes_in_the_cards_order(tmp_path: Path, objective: str) -> None:
    labels = ["low", "middle", "high"]
    model = trained(objective, np.array(labels)[numbers(X, 3)])
    card = card_of(tmp_path, model, task="classification", output={"labels": labels})
    found = published(tmp_path, card).run({"features": X})
    order = [model.classes_.tolist().index(label) for label in labels]
    expected = model.predict(X, prediction_type="Probability")[:, order]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    chosen = np.array(labels)[found["label"][:, 0]]
    np.testing.assert_array_equal(chosen, model.predict(X, prediction_type="Class")[:, 0])


def test_a_probability_as_target_is_a_class_of_its_chance(tmp_path: Path) -> None:
    model = trained("CrossEntropy", np.clip(values(X) / 5, 0, 1))
    found = published(tmp_path, card_of(tmp_path, model, **classification(2))).run({"features": X})
    expected = model.predict(X, prediction_type="Probability")
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)


def test_training_that_stopped_early_saves_its_best_rounds_and_those_answer(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=len(X))
    model = catboost.CatBoostRegressor(**{**SMALL, "iterations": 60, "early_stopping_rounds": 10})
    model.fit(X[:150], noise[:150], eval_set=(X[150:], noise[150:]))
    session = published(tmp_path, card_of(tmp_path, model))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], model.predict(X), atol=1e-6)


DAMAGED = "model.bin is no CatBoost .cbm file, or damaged or cut off; write it with model.save_model('model.cbm')"


@pytest.mark.parametrize("share", [0.002, 0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_told_in_one_line(tmp_path: Path, share: float) -> None:
    content = saved(trained("RMSE"), tmp_path)
    card = trees_card(tmp_path, "catboost", content[: int(len(content) * share)], X)
    assert refused(tmp_path, card) == DAMAGED


@pytest.mark.parametrize("levels", [b"\x83\0\0\0", b"\x03\0\0\x70"])
def test_a_tree_of_more_levels_than_there_are_is_told_and_does_not_end_the_process(
    tmp_path: Path, levels: bytes
) -> None:
    of_six_trees = b"\x03\0\0\0" * 6
    content = saved(trained("RMSE"), tmp_path)
    assert content.count(of_six_trees) == 1
    wrong = content.replace(of_six_trees, levels + of_six_trees[4:])
    assert refused(tmp_path, trees_card(tmp_path, "catboost", wrong, X)) == DAMAGED


@pytest.mark.parametrize("content", [b"\x80\x04cos\nsystem\n.", b'{"oblivious_trees": []}', b"CBM0" + bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    told = refused(tmp_path, trees_card(tmp_path, "catboost", content, X))
    assert told == f"{DAMAGED} (pickles are not read)"


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    told = refused(tmp_path, trees_card(tmp_path, "catboost", b"", X))
    assert told == "model.bin is empty; train or copy the model again"


def test_a_file_of_a_newer_library_is_refused(tmp_path: Path) -> None:
    ours = f"v{catboost.__version__}".encode()
    content = saved(trained("RMSE"), tmp_path).replace(ours, b"v9.9." + b"9" * (len(ours) - 5))
    newer = "9.9." + "9" * (len(ours) - 5)
    assert refused(tmp_path, trees_card(tmp_path, "catboost", content, X)) == (
        f"model.bin was written by CatBoost {newer}, here is {catboost.__version__}, which may misread it; "
        f"install catboost>={newer}"
    )


def test_categories_are_refused_with_a_way_out(tmp_path: Path) -> None:
    table = [[float(row[0]), f"c{at % 3}"] for at, row in enumerate(np.nan_to_num(X))]
    pool = catboost.Pool(table, values(X), cat_features=[1], feature_names=["f0", "f1"])
    assert refused(tmp_path, card_of(tmp_path, trained("RMSE", pool=pool), X[:, :2])) == (
        "the model takes categories (f1), for which CatBoost has no ONNX form; encode them as numbers before training, "
        "or train with XGBoost or LightGBM"
    )


@pytest.mark.parametrize("objective", ["RMSEWithUncertainty", "MultiRMSE"])
def test_several_values_per_row_are_refused(tmp_path: Path, objective: str) -> None:
    label = np.stack([values(X), -values(X)], axis=1) if objective == "MultiRMSE" else None
    assert refused(tmp_path, card_of(tmp_path, trained(objective, label))) == (
        f"the model's objective is '{objective}': it gives several values per row; train a model for each"
    )


class Squared:
    """An objective of a user's own."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


def test_an_objective_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    model = catboost.CatBoost({**SMALL, "loss_function": Squared(), "eval_metric": "RMSE"}).fit(X, values(X))
    assert refused(tmp_path, card_of(tmp_path, model)) == (
        "the model's objective is 'PythonUserDefinedPerObject': nothing in ONNX is known to answer like it"
    )


def test_a_regressor_for_a_classification_card_and_the_other_way_round_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, trained("RMSE"), **classification(2))) == (
        "the card's task is 'classification', the model was trained for regression ('RMSE')"
    )
    assert refused(tmp_path, card_of(tmp_path, trained("Logloss", numbers(X, 2)))) == (
        "the card's task is 'regression', the model was trained for classification ('Logloss')"
    )


def test_labels_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    told = "the model gives {} classes, the card's output.labels names {}; make them equal"
    binary, three = trained("Logloss", numbers(X, 2)), trained("MultiClass", numbers(X, 3))
    assert refused(tmp_path, card_of(tmp_path, binary, **classification(3))) == told.format(2, 3)
    assert refused(tmp_path, card_of(tmp_path, three, **classification(2))) == told.format(3, 2)
    named = trained("MultiClass", np.array(["a", "b", "c"])[numbers(X, 3)])
    assert refused(tmp_path, card_of(tmp_path, named, task="classification", output={"labels": ["a", "b", "d"]})) == (
        "the model's classes are a, b, c, the card's output.labels are a, b, d; "
        "train on the labels themselves, or on their positions from 0"
    )


def test_features_that_differ_from_training_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, trained("RMSE"), X[:, :3])) == (
        "the model was trained on 4 features, the card has 3: f0, f1, f2"
    )
    pool = catboost.Pool(X, values(X), feature_names=["f1", "f0", "f2", "f3"])
    assert refused(tmp_path, card_of(tmp_path, trained("RMSE", pool=pool))) == (
        "the model was trained on the features f1, f0, f2, f3, the card has f0, f1, f2, f3; "
        "give the card's inputs the same names in the same order"
    )
