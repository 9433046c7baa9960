"""Boosted models of three libraries on real data, and one of each behind a real Triton.

The one stated skip: those on real data run where SLIPWAY_TEST_DATA names the folder of it.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

from slipway_client import Client
from slipway_core.predictions import Classification
from slipway_export import export
from support.export_trees import (
    classification,
    graph,
    numbers,
    published,
    rows,
    rows_at_cuts,
    trees_card,
)
from support.triton import RunningTriton

DATA = os.environ.get("SLIPWAY_TEST_DATA")
on_real_data = pytest.mark.skipif(not DATA, reason="SLIPWAY_TEST_DATA names no folder of real data")
Answer = Callable[[np.ndarray], np.ndarray]
THREADS = 2


@dataclass
class Table:
    """Numbers, with NaN for what is missing; ``categories`` are columns of codes."""

    x: np.ndarray
    target: np.ndarray
    categories: tuple[int, ...] = ()

    def numerical(self) -> Table:
        """Without the categories, which CatBoost cannot bring to ONNX."""
        return Table(np.delete(self.x, self.categories, axis=1), self.target)


@pytest.fixture(scope="module")
def housing() -> Table:
    """Median house values in $100,000 by census block, with 207 unknown numbers of bedrooms."""
    with gzip.open(Path(str(DATA)) / "housing" / "california_housing.csv.gz", "rt", newline="") as file:
        blocks = list(csv.DictReader(file))
    return table(blocks, "median_house_value", scale=1e5, coded=("ocean_proximity",))


@pytest.fixture(scope="module")
def churn() -> Table:
    """Customers and whether they left; eleven have paid nothing yet."""
    with (Path(str(DATA)) / "telco" / "Telco-Customer-Churn.csv").open(newline="", encoding="utf-8") as file:
        customers = [{**row, "Churn": float(row["Churn"] == "Yes")} for row in csv.DictReader(file)]
    plain = ("tenure", "MonthlyCharges", "TotalCharges", "SeniorCitizen", "Churn", "customerID")
    coded = tuple(key for key in customers[0] if key not in plain)
    return table([{**row, "customerID": 0} for row in customers], "Churn", coded=coded)


def table(records: list[dict[str, Any]], target: str, scale: float = 1, coded: tuple[str, ...] = ()) -> Table:
    columns = [key for key in records[0] if key != target]
    codes = {key: sorted({record[key] for record in records}) for key in coded}

    def number(record: dict[str, Any], key: str) -> float:
        if key in codes:
            return codes[key].index(record[key])
        return float(record[key]) if str(record[key]).strip() else np.nan

    x = np.array([[number(record, key) for key in columns] for record in records], np.float32)
    assert np.isnan(x).any()
    found = np.array([float(record[target]) for record in records]) / scale
    order = np.random.default_rng(0).permutation(len(x))
    return Table(x[order], found[order], tuple(columns.index(key) for key in coded))


def queries(data: Table) -> tuple[Table, np.ndarray]:
    """Some blocks in the order of their latitude, whose whole degrees are the queries, and the sizes of these."""
    order = np.argsort(data.x[:4000, 1], kind="stable")
    degrees = np.floor(data.x[order, 1])
    relevance = np.digitize(data.target, [1, 2, 3, 4])[order]
    return Table(data.x[order], relevance, data.categories), np.unique(degrees, return_counts=True)[1]


def xgboosted(data: Table, objective: str, sizes: np.ndarray | None = None) -> tuple[bytes, Answer]:
    kinds = ["c" if at in data.categories else "q" for at in range(data.x.shape[1])]

    def matrix(x: np.ndarray, **given: Any) -> xgboost.DMatrix:
        return xgboost.DMatrix(x, feature_types=kinds, enable_categorical=True, **given)

    train = matrix(data.x, label=data.target, group=sizes)
    booster = xgboost.train({"objective": objective, "nthread": THREADS, "max_cat_to_onehot": 3}, train, 60)
    return bytes(booster.save_raw("ubj")), lambda x: booster.predict(matrix(x))


def light(data: Table, objective: str, sizes: np.ndarray | None = None) -> tuple[bytes, Answer]:
    train = lightgbm.Dataset(data.x, data.target, group=sizes, categorical_feature=list(data.categories))
    booster = lightgbm.train({"objective": objective, "num_threads": THREADS, "verbose": -1}, train, 60)
    return booster.model_to_string().encode(), lambda x: np.asarray(booster.predict(x))


def cat(data: Table, objective: str, sizes: np.ndarray | None = None) -> tuple[bytes, Answer]:
    group = None if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
    settings = {"iterations": 60, "thread_count": THREADS, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoost({"loss_function": objective, **settings})
    model.fit(catboost.Pool(data.x, data.target, group_id=group))
    if objective == "Logloss":
        return serialized(model), lambda x: model.predict(x, prediction_type="Probability")[:, 1]
    return serialized(model), model.predict


def serialized(model: catboost.CatBoost) -> bytes:
    with TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.cbm")
        return Path(folder, "model.cbm").read_bytes()


TRAINED = {"xgboost": xgboosted, "lightgbm": light, "catboost": cat}
KINDS = [
    ("xgboost", "reg:squarederror", "binary:logistic", "rank:ndcg"),
    ("lightgbm", "regression", "binary", "lambdarank"),
    ("catboost", "RMSE", "Logloss", "YetiRank"),
]


def for_kind(kind: str, data: Table) -> Table:
    return data.numerical() if kind == "catboost" else data


@on_real_data
@pytest.mark.parametrize(("kind", "objective"), [(kind, regression) for kind, regression, _, _ in KINDS])
def test_house_values_are_those_of_the_library(tmp_path: Path, housing: Table, kind: str, objective: str) -> None:
    data = for_kind(kind, housing)
    content, answer = TRAINED[kind](data, objective)
    session = published(tmp_path, trees_card(tmp_path, kind, content, data.x))
    for given in (data.x, rows_at_cuts(graph(tmp_path), data.x)):
        np.testing.assert_allclose(session.run({"features": given})["value"][:, 0], answer(given), atol=1e-5)
    spread = float(np.std(data.target))
    assert np.sqrt(np.mean((answer(data.x) - data.target) ** 2)) < 0.5 * spread


@on_real_data
@pytest.mark.parametrize(("kind", "objective"), [(kind, binary) for kind, _, binary, _ in KINDS])
def test_chances_that_customers_leave_are_those_of_the_library(
    tmp_path: Path, churn: Table, kind: str, objective: str
) -> None:
    data = for_kind(kind, churn)
    content, answer = TRAINED[kind](data, objective)
    card = trees_card(tmp_path, kind, content, data.x, task="classification", output={"labels": ["stays", "leaves"]})
    session = published(tmp_path, card)
    for given in (data.x, rows_at_cuts(graph(tmp_path), data.x)):
        found = session.run({"features": given})
        np.testing.assert_allclose(found["probabilities"][:, 1], answer(given), atol=1e-5)
        np.testing.assert_array_equal(found["label"][:, 0], answer(given) > 0.5)
    assert np.mean((answer(data.x) > 0.5) == data.target) > 0.79


@on_real_data
@pytest.mark.parametrize(("kind", "objective"), [(kind, ranking) for kind, _, _, ranking in KINDS])
def test_blocks_are_ranked_as_the_library_ranks_them(tmp_path: Path, housing: Table, kind: str, objective: str) -> None:
    data, sizes = queries(for_kind(kind, housing))
    content, answer = TRAINED[kind](data, objective, sizes)
    session = published(tmp_path, trees_card(tmp_path, kind, content, data.x, task="ranking"))
    for given in (data.x, rows_at_cuts(graph(tmp_path), data.x)):
        found, expected = session.run({"features": given})["value"][:, 0], answer(given)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.corrcoef(answer(data.x), data.target)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("kind", "objective"),
    [("xgboost", "multi:softprob"), ("lightgbm", "multiclass"), ("catboost", "MultiClass")],
)
def test_a_real_triton_answers_as_the_library_does(
    tmp_path: Path, triton: RunningTriton, kind: str, objective: str
) -> None:
    x = rows(200)
    x[:, 3] = np.random.default_rng(5).integers(0, 40, len(x))
    target = numbers(x, 3)
    target[x[:, 3] % 3 == 0] = 2
    data = Table(x, target, () if kind == "catboost" else (3,))
    content, expected = several_classes(kind, data, objective)
    name = f"trees_{kind}"
    card = trees_card(tmp_path, kind, content, x, name=name, **classification(3))
    assert export(card, repository=triton.repository, activate_on=triton.grpc).live
    records = [
        {
            feature.name: None if np.isnan(value) else float(value)
            for feature, value in zip(card.inputs, row, strict=True)
        }
        for row in x[:16]
    ]
    with Client(triton.grpc) as client:
        for start in range(0, len(x), 16):
            tensors = client.infer(name, {"features": x[start : start + 16]}).tensors
            np.testing.assert_allclose(tensors["probabilities"], expected[start : start + 16], atol=1e-6)
            np.testing.assert_array_equal(tensors["label"][:, 0], expected[start : start + 16].argmax(axis=1))
        named = [p for p in client.predict(name, records).predictions if isinstance(p, Classification)]
        client.unload(name)
    assert [prediction.label for prediction in named] == [f"class {at}" for at in expected[:16].argmax(axis=1)]


def several_classes(kind: str, data: Table, objective: str) -> tuple[bytes, np.ndarray]:
    """A model of three classes and its own probabilities."""
    if kind == "catboost":
        model = catboost.CatBoostClassifier(iterations=8, verbose=0, allow_writing_files=False, loss_function=objective)
        model.fit(data.x, data.target)
        return serialized(model), model.predict_proba(data.x)
    if kind == "lightgbm":
        train = lightgbm.Dataset(data.x, data.target, categorical_feature=[3])
        booster = lightgbm.train({"objective": objective, "num_class": 3, "verbose": -1}, train, 8)
        return booster.model_to_string().encode(), np.asarray(booster.predict(data.x))
    matrix = xgboost.DMatrix(data.x, data.target, feature_types=["q", "q", "q", "c"], enable_categorical=True)
    boosted = xgboost.train({"objective": objective, "num_class": 3}, matrix, 8)
    return bytes(boosted.save_raw("ubj")), boosted.predict(matrix)
