"""LightGBM models through the gate: every objective, its own ideas of missing numbers, and what cannot be converted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightgbm
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
SMALL = {"num_leaves": 8, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1}


def trained(objective: Any, label: np.ndarray | None = None, x: np.ndarray = X, **options: Any) -> lightgbm.Booster:
    ranked = objective in ("lambdarank", "rank_xendcg")
    columns = {key: options.pop(key) for key in ("categorical_feature", "feature_name") if key in options}
    data = lightgbm.Dataset(
        x, values(x) if label is None else label, group=[100, len(x) - 100] if ranked else None, **columns
    )
    return lightgbm.train({"objective": objective, **SMALL, **options}, data, 6)


def card_of(folder: Path, booster: Any, samples: np.ndarray = X, **changes: Any) -> Any:
    text = booster if isinstance(booster, str) else booster.model_to_string()
    return trees_card(folder, "lightgbm", text.encode(), samples, **changes)


def assert_equal_values(folder: Path, booster: lightgbm.Booster, x: np.ndarray = X, **changes: Any) -> None:
    """On the samples, on every threshold, and on both neighbours of each."""
    session = published(folder, card_of(folder, booster, x, **changes))
    for given in (x, rows_at_cuts(graph(folder), x)):
        found = session.run({"features": given})["value"][:, 0]
        np.testing.assert_allclose(found, booster.predict(given), rtol=1e-5, atol=1e-6)
    assert len(np.unique(booster.predict(x))) > 5


@pytest.mark.parametrize(
    "objective",
    [
        "regression",
        "regression_l1",
        "huber",
        "fair",
        "quantile",
        "mape",
        "poisson",
        "gamma",
        "tweedie",
    ],
)
def test_a_regressor_gives_its_value_beside_missing_numbers(tmp_path: Path, objective: str) -> None:
    assert_equal_values(tmp_path, trained(objective))


@pytest.mark.parametrize("objective", ["cross_entropy", "cross_entropy_lambda"])
def test_a_share_as_target_is_answered_as_the_library_does(tmp_path: Path, objective: str) -> None:
    assert_equal_values(tmp_path, trained(objective, np.clip(values(X) / 5, 0, 1)))


@pytest.mark.parametrize(
    "options",
    [
        {"reg_sqrt": True},
        {"boosting": "dart", "drop_rate": 0.5},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"zero_as_missing": True},
        {"use_missing": False},
    ],
    ids=str,
)
def test_every_way_of_boosting_and_of_missing_numbers_is_converted(tmp_path: Path, options: dict[str, Any]) -> None:
    x = X.copy()
    x[::3, 0], x[1::3, 2] = 0, 1e-36
    assert_equal_values(tmp_path, trained("regression", values(x), x, **options), x)


def test_zeros_are_missing_on_either_side_of_a_threshold(tmp_path: Path) -> None:
    # Each feature is cut above, below and at 0, and learns another answer for it.
    x = np.random.default_rng(3).choice([-2, -1, 0, 1, 2, np.nan], (600, 4)).astype(np.float32)
    label = (x[:, 0] == 0) * 3 + (x[:, 1] >= 0) * 2 + (x[:, 2] > 1) + np.nan_to_num(x[:, 3])
    booster = trained("regression", label, x, zero_as_missing=True, min_data_in_bin=1)
    tiny = np.repeat(x[:1], 8, axis=0)
    tiny[:, 0] = [1e-35, -1e-35, 1.1e-35, -1.1e-35, 0, -0.0, 9e-36, np.nan]
    assert_equal_values(tmp_path, booster, np.concatenate([x, tiny]))


def test_an_objective_of_the_users_own_gives_the_sum_of_the_trees(tmp_path: Path) -> None:
    def squared(predicted: np.ndarray, data: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return predicted - data.get_label(), np.ones_like(predicted)

    assert_equal_values(tmp_path, trained(squared))


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_a_ranker_gives_its_score(tmp_path: Path, objective: str) -> None:
    assert_equal_values(tmp_path, trained(objective, numbers(X, 3)), task="ranking")


def test_any_value_may_rank(tmp_path: Path) -> None:
    assert_equal_values(tmp_path, trained("regression"), task="ranking")


@pytest.mark.parametrize("sigmoid", [1.0, 0.7])
def test_a_binary_classifier_gives_both_probabilities(tmp_path: Path, sigmoid: float) -> None:
    booster = trained("binary", numbers(X, 2), sigmoid=sigmoid)
    found = published(tmp_path, card_of(tmp_path, booster, **classification(2))).run({"features": X})
    np.testing.assert_allclose(found["probabilities"][:, 1], booster.predict(X), atol=1e-6)
    np.testing.assert_array_equal(found["label"][:, 0], np.asarray(booster.predict(X)) > 0.5)
    assert found["label"].shape == (len(X), 1)


@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_a_multi_class_classifier_gives_labels_and_probabilities(tmp_path: Path, objective: str) -> None:
    booster = trained(objective, numbers(X, 3), num_class=3)
    found = published(tmp_path, card_of(tmp_path, booster, **classification(3))).run({"features": X})
    expected = np.asarray(booster.predict(X))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["label"][:, 0], expected.argmax(axis=1))


@pytest.mark.parametrize("one_hot_up_to", [1, 100])
def test_categories_are_told_apart_and_strange_codes_answered_as_the_library_does(
    tmp_path: Path, one_hot_up_to: int
) -> None:
    x = rows(600)
    codes = np.random.default_rng(2).integers(0, 70, len(x))
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, codes)
    booster = trained(
        "regression",
        (codes % 3 == 0) * 2 + np.nan_to_num(x[:, 0]),
        x,
        categorical_feature=[1],
        max_cat_to_onehot=one_hot_up_to,
        min_data_per_group=1,
        cat_smooth=0,
    )
    assert re.search(r"num_cat=[1-9]", booster.model_to_string())
    strange = np.repeat(x[:1], 300, axis=0)
    strange[:, 1] = np.concatenate([np.arange(-5, 95, 0.5), [np.nan, -0.0, -1e-30, 1e9, 1e30, -1e30, 2**24], x[:93, 1]])
    assert_equal_values(tmp_path, booster, np.concatenate([x, strange]))


def test_training_that_stopped_early_saves_its_best_rounds_and_those_answer(tmp_path: Path) -> None:
    noisy = values(X) + np.random.default_rng(1).normal(size=len(X))
    data = lightgbm.Dataset(X[:150], noisy[:150])
    booster = lightgbm.train(
        {"objective": "regression", **SMALL},
        data,
        60,
        [lightgbm.Dataset(X[150:], noisy[150:], reference=data)],
        callbacks=[lightgbm.early_stopping(10, verbose=False)],
        keep_training_booster=True,
    )
    assert 0 < booster.best_iteration < booster.current_iteration()
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], booster.predict(X), atol=1e-6)


def test_a_model_that_learned_nothing_answers_what_it_begins_with(tmp_path: Path) -> None:
    booster = trained("regression", min_gain_to_split=1e9)
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], booster.predict(X), rtol=1e-5)


REGRESSOR = trained("regression").model_to_string()
DAMAGED = (
    "model.bin is no LightGBM text model, or damaged or cut off; write it with booster.save_model('model.txt') "
    "(pickles are not read)"
)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9, 0.98])
def test_a_file_that_was_cut_off_is_told_before_the_library_ends_the_process(tmp_path: Path, share: float) -> None:
    # LightGBM reads trees in threads of its own; an error there ends Python.
    content = REGRESSOR.partition("end of parameters")[0]
    assert refused(tmp_path, card_of(tmp_path, content[: int(len(content) * share)])) == DAMAGED


@pytest.mark.parametrize(
    ("what", "becomes"),
    [
        ("Tree=2", "Tree=7"),
        ("tree_sizes=", "tree_sizes=1"),
        ("end of trees", "end of them"),
        ("num_leaves=8", "num_leaves=9"),
        ("num_leaves=8", "num_leaves=x"),
        ("split_feature=", "split_feature=a "),
        ("leaf_weight=", "leaf_weight=1 "),
        ("version=v4", "version=5"),
        ("num_tree_per_iteration=1", "number=1"),
        ("threshold=", "threshold=nothing"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, what: str, becomes: str) -> None:
    assert what in REGRESSOR
    damaged = with_sizes(REGRESSOR.replace(what, becomes, 1), "tree_sizes=1" not in becomes)
    assert refused(tmp_path, card_of(tmp_path, damaged)) == DAMAGED


def with_sizes(text: str, mend: bool = True) -> str:
    """The text with its trees' lengths as they are, so that nothing but the damage itself is wrong."""
    trees = [part + "\n\n\n" for part in text.partition("Tree=")[2].partition("end of trees")[0].split("\n\n\n")[:-1]]
    sizes = " ".join(str(len(part) + (5 if at == 0 else 0)) for at, part in enumerate(trees))
    return re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", text, count=1) if mend else text


def test_a_branch_by_category_without_categories_is_told_in_one_line(tmp_path: Path) -> None:
    damaged = with_sizes(re.sub(r"decision_type=\d+", "decision_type=1", REGRESSOR, count=1))
    assert refused(tmp_path, card_of(tmp_path, damaged)) == DAMAGED


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("7", DAMAGED),
        ("-9", DAMAGED),
        ("0", "model.bin is damaged: tree 0 has a branch to node 0, where none can be; copy it again"),
    ],
)
def test_trees_that_lead_nowhere_are_refused_before_the_library_follows_them(
    tmp_path: Path, wrong: str, told: str
) -> None:
    damaged = with_sizes(re.sub(r"left_child=\S+ ", f"left_child={wrong} ", REGRESSOR, count=1))
    assert refused(tmp_path, card_of(tmp_path, damaged)) == told


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"\x80\x04cos\nsystem\n.", b"tree\n\xff", b"tree\n"):
        assert refused(tmp_path, trees_card(tmp_path, "lightgbm", content, X)) == DAMAGED
    told = refused(tmp_path, trees_card(tmp_path, "lightgbm", b"", X))
    assert told == "model.bin is empty; train or copy the model again"


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR.replace("version=v4", "version=v9"))) == (
        f"model.bin has the format v9 of a newer LightGBM, here is {lightgbm.__version__}, which reads at most v4 and "
        "may misread it; upgrade lightgbm"
    )


def test_an_objective_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR.replace("objective=regression", "objective=novel", 1))) == (
        "the model's objective is 'novel': nothing in ONNX is known to answer like it"
    )


def test_leaves_that_are_linear_models_are_refused(tmp_path: Path) -> None:
    booster = trained("regression", x=np.nan_to_num(X), linear_tree=True)
    assert refused(tmp_path, card_of(tmp_path, booster)) == (
        "the model's leaves are linear models; train without linear_tree"
    )


def test_a_regressor_for_a_classification_card_and_the_other_way_round_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR, **classification(2))) == (
        "the card's task is 'classification', the model was trained for regression ('regression')"
    )
    assert refused(tmp_path, card_of(tmp_path, trained("binary", numbers(X, 2)))) == (
        "the card's task is 'regression', the model was trained for classification ('binary')"
    )


def test_labels_that_do_not_fit_the_model_are_refused_with_both_numbers(tmp_path: Path) -> None:
    told = "the model gives {} classes, the card's output.labels names {}; make them equal"
    binary, three = trained("binary", numbers(X, 2)), trained("multiclass", numbers(X, 3), num_class=3)
    assert refused(tmp_path, card_of(tmp_path, binary, **classification(3))) == told.format(2, 3)
    assert refused(tmp_path, card_of(tmp_path, three, **classification(2))) == told.format(3, 2)


def test_features_that_differ_from_training_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR, X[:, :3])) == (
        "the model was trained on 4 features, the card has 3: f0, f1, f2"
    )
    named = trained("regression", feature_name=["f1", "f0", "f2", "f3"])
    assert refused(tmp_path, card_of(tmp_path, named)) == (
        "the model was trained on the features f1, f0, f2, f3, the card has f0, f1, f2, f3; "
        "give the card's inputs the same names in the same order"
    )


@pytest.mark.filterwarnings("ignore:Found whitespace")
def test_a_space_in_a_features_name_is_what_the_library_makes_of_it(tmp_path: Path) -> None:
    names = ["of it", "a b", "c", "d"]
    booster = trained("regression", feature_name=list(names))
    published(tmp_path, card_of(tmp_path, booster, inputs=[{"name": name, "optional": True} for name in names]))
