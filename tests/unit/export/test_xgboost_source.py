"""XGBoost models through the gate: every objective, what predict leaves out, and what cannot be converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from slipway_core.errors import ExportFailed
from slipway_export.sources import open_source
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
SMALL = {"max_depth": 3, "eta": 0.3, "nthread": 1}


def trained(objective: str, label: np.ndarray | None = None, rounds: int = 5, **options: Any) -> xgboost.Booster:
    data = xgboost.DMatrix(X, label=values(X) if label is None else label)
    if objective.startswith("rank:"):
        data.set_group([100, 200])
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", values(X))
        data.set_float_info("label_upper_bound", values(X) + 1)
    return xgboost.train({"objective": objective, **SMALL, **options}, data, rounds)


def saved(booster: Any, form: str = "ubj") -> bytes:
    return bytes(booster.save_raw(form))


def card_of(folder: Path, booster: Any, samples: np.ndarray = X, **changes: Any) -> Any:
    return trees_card(folder, "xgboost", saved(booster), samples, **changes)


def answered(booster: xgboost.Booster, x: np.ndarray) -> np.ndarray:
    return booster.predict(xgboost.DMatrix(x, feature_types=booster.feature_types))


@pytest.mark.parametrize(
    "objective",
    [
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:pseudohubererror",
        "reg:absoluteerror",
        "reg:quantileerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
        "survival:cox",
        "survival:aft",
    ],
)
def test_a_regressor_gives_its_value_beside_missing_numbers(tmp_path: Path, objective: str) -> None:
    options = {"reg:quantileerror": {"quantile_alpha": 0.7}, "reg:pseudohubererror": {"base_score": 2.0}}
    booster = trained(objective, **options.get(objective, {}))
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], answered(booster, X), rtol=1e-5)
    assert len(np.unique(answered(booster, X))) > 5


def test_a_share_as_target_is_answered_between_0_and_1(tmp_path: Path) -> None:
    booster = trained("reg:logistic", np.clip(values(X) / 5, 0, 1))
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], answered(booster, X), rtol=1e-5)


@pytest.mark.parametrize("objective", ["rank:pairwise", "rank:ndcg", "rank:map"])
def test_a_ranker_gives_its_score(tmp_path: Path, objective: str) -> None:
    booster = trained(objective, numbers(X, 2))
    session = published(tmp_path, card_of(tmp_path, booster, task="ranking"))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], answered(booster, X), atol=1e-5)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_a_binary_classifier_gives_both_probabilities(tmp_path: Path, form: str) -> None:
    booster = trained("binary:logistic", numbers(X, 2), base_score=0.3)
    card = trees_card(tmp_path, "xgboost", saved(booster, form), X, **classification(2))
    found = published(tmp_path, card).run({"features": X})
    np.testing.assert_allclose(found["probabilities"][:, 1], answered(booster, X), atol=1e-6)
    np.testing.assert_array_equal(found["label"][:, 0], answered(booster, X) > 0.5)


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_a_multi_class_classifier_gives_labels_and_probabilities(tmp_path: Path, objective: str) -> None:
    booster = trained(objective, numbers(X, 3), num_class=3)
    found = published(tmp_path, card_of(tmp_path, booster, **classification(3))).run({"features": X})
    model = xgboost.XGBClassifier()
    model.load_model(bytearray(saved(booster)))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(found["label"][:, 0], model.predict_proba(X).argmax(axis=1))


@pytest.mark.parametrize("options", [{"booster": "dart", "rate_drop": 0.5}, {"num_parallel_tree": 3, "subsample": 0.6}])
def test_dropped_out_trees_and_random_forests_are_weighed_as_predict_weighs_them(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    booster = trained("reg:squarederror", **options)
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], answered(booster, X), rtol=1e-5)


def test_rounds_after_the_best_one_are_left_out_where_predict_leaves_them_out(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=len(X))
    model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=10, max_depth=3, num_parallel_tree=2)
    model.fit(X[:150], noise[:150], eval_set=[(X[150:], noise[150:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "stopped.ubj")
    content = (tmp_path / "stopped.ubj").read_bytes()
    stopped = published(tmp_path, trees_card(tmp_path, "xgboost", content, X)).run({"features": X})["value"][:, 0]
    np.testing.assert_allclose(stopped, model.predict(X), atol=1e-5)
    # A booster's own predict takes all rounds, and so does a booster's own file.
    whole = published(tmp_path, card_of(tmp_path, model.get_booster())).run({"features": X})["value"][:, 0]
    np.testing.assert_allclose(whole, answered(model.get_booster(), X), atol=1e-5)
    assert np.abs(whole - stopped).max() > 0.01


@pytest.mark.parametrize("one_hot_up_to", [1, 100])
def test_categories_are_told_apart_and_strange_codes_answered_as_the_library_does(
    tmp_path: Path, one_hot_up_to: int
) -> None:
    x = rows(600)
    codes = np.random.default_rng(2).integers(0, 70, len(x))
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, codes)
    kinds = ["q", "c", "q", "q"]
    data = xgboost.DMatrix(
        x, label=(codes % 3 == 0) + np.nan_to_num(x[:, 0]), feature_types=kinds, enable_categorical=True
    )
    booster = xgboost.train({**SMALL, "max_depth": 5, "max_cat_to_onehot": one_hot_up_to}, data, 8)
    strange = np.repeat(x[:1], 300, axis=0)
    strange[:, 1] = np.concatenate([np.arange(-5, 95, 0.5), [np.nan, -0.0, -1e-30, 1e9, 1e30, -1e30, 2**24], x[:93, 1]])
    samples = np.concatenate([x, strange])
    session = published(tmp_path, card_of(tmp_path, booster, samples))
    np.testing.assert_allclose(session.run({"features": samples})["value"][:, 0], answered(booster, samples), atol=1e-5)
    at_cuts = rows_at_cuts(graph(tmp_path), x)
    np.testing.assert_allclose(session.run({"features": at_cuts})["value"][:, 0], answered(booster, at_cuts), atol=1e-5)


def test_numbers_that_lie_on_a_threshold_or_beside_it_fall_to_the_same_side(tmp_path: Path) -> None:
    booster = trained("reg:squarederror", rounds=20)
    session = published(tmp_path, card_of(tmp_path, booster))
    at_cuts = rows_at_cuts(graph(tmp_path), X)
    np.testing.assert_allclose(session.run({"features": at_cuts})["value"][:, 0], answered(booster, at_cuts), rtol=1e-5)


def test_a_model_that_learned_nothing_answers_what_it_begins_with(tmp_path: Path) -> None:
    booster = trained("reg:squarederror", rounds=1, gamma=1e9)
    session = published(tmp_path, card_of(tmp_path, booster))
    np.testing.assert_allclose(session.run({"features": X})["value"][:, 0], answered(booster, X), rtol=1e-5)


REGRESSOR = trained("reg:squarederror")
REMEDY = "write it with booster.save_model('model.ubj') or '.json', with the XGBoost that trained it"
DAMAGED = f"model.bin is no XGBoost model, or damaged or cut off; {REMEDY}"


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_told_in_one_line(tmp_path: Path, form: str, share: float) -> None:
    content = saved(REGRESSOR, form)
    assert refused(tmp_path, trees_card(tmp_path, "xgboost", content[: int(len(content) * share)], X)) == DAMAGED


@pytest.mark.parametrize("content", [b"{}", b"{", b"[1]", b'{"version": [1, 0, 0]}', b'{"version": 3}', b"[" * 9999])
def test_json_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    told = refused(tmp_path, trees_card(tmp_path, "xgboost", content, X))
    assert told.removesuffix(" (pickles are not read)") == DAMAGED


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    told = refused(tmp_path, trees_card(tmp_path, "xgboost", b"\x80\x04cos\nsystem\n.", X))
    assert told == f"{DAMAGED} (pickles are not read)"


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    told = refused(tmp_path, trees_card(tmp_path, "xgboost", b"", X))
    assert told == "model.bin is empty; train or copy the model again"


def test_the_obsolete_binary_format_is_refused_with_the_way_out_of_it(tmp_path: Path) -> None:
    header = bytes(136) + b"\x0e\0\0\0\0\0\0\0reg:squarederror\x06\0\0\0\0\0\0\0gbtree" + bytes(200)
    for content in (b"binf" + header, header):
        assert refused(tmp_path, trees_card(tmp_path, "xgboost", content, X)) == (
            "model.bin has XGBoost's obsolete binary format; load it with the XGBoost that wrote it (before 3.1) and "
            "save it with booster.save_model('model.ubj')"
        )


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_a_file_of_a_newer_library_is_refused(tmp_path: Path, form: str) -> None:
    content = saved(REGRESSOR, form)
    if form == "json":
        content = json.dumps({**json.loads(content), "version": [99, 1, 0]}).encode()
    else:
        content = content[:-7] + b"i\x63i\x01i\x00}"
    assert refused(tmp_path, trees_card(tmp_path, "xgboost", content, X)) == (
        f"model.bin was written by XGBoost 99.1.0, here is {xgboost.__version__}, which may misread it; "
        "install xgboost>=99.1.0"
    )


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("left_children", 5000), ("right_children", 0), ("parents", -99), ("split_indices", 77), ("split_type", 1)],
)
def test_trees_that_lead_nowhere_are_refused_before_the_library_follows_them(
    tmp_path: Path, key: str, wrong: int
) -> None:
    table = json.loads(saved(REGRESSOR, "json"))
    table["learner"]["gradient_booster"]["model"]["trees"][1][key][0] = wrong
    assert refused(tmp_path, trees_card(tmp_path, "xgboost", json.dumps(table).encode(), X)) == DAMAGED


def test_a_wrong_byte_anywhere_is_told_or_harmless_and_never_ends_the_process(tmp_path: Path) -> None:
    content, random = saved(REGRESSOR), np.random.default_rng(0)
    told = 0
    for at in range(3, len(content), 61):
        card = trees_card(tmp_path, "xgboost", content[:at] + random.bytes(1) + content[at + 1 :], X)
        try:
            open_source(card, card.source.file.read_bytes()).predict({"features": X})
        except ExportFailed as e:
            told += "\n" not in str(e)
    assert told > 20


@pytest.mark.filterwarnings("ignore:[\\s\\S]*are not used")
def test_a_linear_booster_is_refused(tmp_path: Path) -> None:
    told = refused(tmp_path, card_of(tmp_path, trained("reg:squarederror", booster="gblinear")))
    assert told == "the model is linear (booster 'gblinear') and has no trees; train 'gbtree'"


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw"])
def test_a_classifier_without_probabilities_is_refused_with_a_way_out(tmp_path: Path, objective: str) -> None:
    booster = trained(objective, numbers(X, 2))
    assert refused(tmp_path, card_of(tmp_path, booster, **classification(2))) == (
        f"the model's objective is '{objective}': it gives no probabilities; train with 'binary:logistic'"
    )


def test_several_quantiles_are_refused(tmp_path: Path) -> None:
    booster = trained("reg:quantileerror", quantile_alpha=[0.2, 0.8])
    assert refused(tmp_path, card_of(tmp_path, booster)) == (
        "the model gives 2 values per row, a card for regression has one"
    )


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("one_output_per_tree", "the model gives 2 values per row, a card for regression has one"),
        ("multi_output_tree", "the model's leaves hold several values; train with 'one_output_per_tree'"),
    ],
)
def test_several_values_per_row_are_refused(tmp_path: Path, strategy: str, told: str) -> None:
    booster = trained("reg:squarederror", np.stack([values(X), -values(X)], axis=1), multi_strategy=strategy)
    assert refused(tmp_path, card_of(tmp_path, booster)) == told


def test_a_regressor_for_a_classification_card_and_the_other_way_round_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR, **classification(2))) == (
        "the card's task is 'classification', the model was trained for regression ('reg:squarederror')"
    )
    classifier = trained("binary:logistic", numbers(X, 2))
    assert refused(tmp_path, card_of(tmp_path, classifier)) == (
        "the card's task is 'regression', the model was trained for classification ('binary:logistic')"
    )
    assert refused(tmp_path, card_of(tmp_path, trained("rank:ndcg", numbers(X, 2)))) == (
        "the card's task is 'regression', the model was trained for ranking ('rank:ndcg')"
    )


def test_labels_that_do_not_fit_the_model_are_refused_with_both_numbers(tmp_path: Path) -> None:
    told = "the model gives {} classes, the card's output.labels names {}; make them equal"
    binary = trained("binary:logistic", numbers(X, 2))
    assert refused(tmp_path, card_of(tmp_path, binary, **classification(3))) == told.format(2, 3)
    three = trained("multi:softprob", numbers(X, 3), num_class=3)
    assert refused(tmp_path, card_of(tmp_path, three, **classification(2))) == told.format(3, 2)


def test_features_that_differ_from_training_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR, X[:, :3])) == (
        "the model was trained on 4 features, the card has 3: f0, f1, f2"
    )
    named = trained("reg:squarederror")
    named.feature_names = ["f1", "f0", "f2", "f3"]
    assert refused(tmp_path, card_of(tmp_path, named)) == (
        "the model was trained on the features f1, f0, f2, f3, the card has f0, f1, f2, f3; "
        "give the card's inputs the same names in the same order"
    )
    named.feature_names = ["f0", "f1", "f2", "f3"]
    published(tmp_path, card_of(tmp_path, named))


def test_samples_that_the_library_does_not_take_are_told(tmp_path: Path) -> None:
    infinite = X.copy()
    infinite[3, 1] = np.inf
    assert refused(tmp_path, card_of(tmp_path, REGRESSOR, infinite)).startswith(
        "xgboost does not take the samples (Check failed: valid: Input data contains `inf`"
    )
