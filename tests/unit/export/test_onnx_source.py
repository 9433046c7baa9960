"""ONNX files from elsewhere: what is taken as it is, and what is refused with both sides named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from slipway_core.errors import ExportFailed
from slipway_export import export
from slipway_export.runtime import Session
from support.export import FEATURES, SPECIES, card, linear_model, onnx_card, pixels_card, save_samples

WEIGHTS = np.random.default_rng(3).normal(size=(2, 3))


def published(folder: Path, model: onnx.ModelProto | None = None, **changes: Any) -> Session:
    described = onnx_card(folder, model, **changes)
    export(described, repository=folder / "repository")
    return Session(described.name, (folder / "repository" / described.name / "1" / "model.onnx").read_bytes())


def refused(folder: Path, model: onnx.ModelProto | bytes | None = None, **changes: Any) -> str:
    with pytest.raises(ExportFailed) as caught:
        export(onnx_card(folder, model, **changes), repository=folder / "repository")
    assert not (folder / "repository").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_logits_become_a_label_and_probabilities_under_the_contracts_names(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    answers = published(tmp_path, linear_model(WEIGHTS)).run({"features": rows})
    logits = rows @ WEIGHTS
    np.testing.assert_array_equal(answers["label"][:, 0], logits.argmax(axis=1))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=1e-5)


def test_a_model_that_uses_the_contracts_names_inside_is_not_confused(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    model.graph.node[0].output[0] = model.graph.output[0].name = "label"
    model.graph.node[0].input[1] = model.graph.initializer[0].name = "features"
    rows = np.ones((2, 2), np.float32)
    answers = published(tmp_path, model).run({"features": rows})
    np.testing.assert_array_equal(answers["label"][:, 0], (rows @ WEIGHTS).argmax(axis=1))


def test_a_value_is_a_column(tmp_path: Path) -> None:
    changes = {"task": "regression", "output": {}, "source": {"output": "value"}}
    answers = published(tmp_path, linear_model(WEIGHTS[:, :1]), **changes).run(
        {"features": np.ones((4, 2), np.float32)}
    )
    np.testing.assert_allclose(answers["value"], np.full((4, 1), WEIGHTS[:, 0].sum()), rtol=1e-5)


def test_a_converters_own_label_and_probabilities_are_taken(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=500).fit(x, y)
    model = skl2onnx.to_onnx(classifier, x[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    described = iris_described(tmp_path, model)
    export(described, repository=tmp_path / "repository")
    session = Session("iris", (tmp_path / "repository" / "iris" / "1" / "model.onnx").read_bytes())
    answers = session.run({"features": x.astype(np.float32)})
    np.testing.assert_array_equal(answers["label"][:, 0], classifier.predict(x))


def test_a_zipmap_is_refused_with_the_option_that_avoids_it(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=500).fit(x, y)
    model = skl2onnx.to_onnx(classifier, x[:1].astype(np.float32), target_opset=17)
    with pytest.raises(ExportFailed, match=r"is no tensor \(a ZipMap\?\); convert it with options={'zipmap': False}"):
        export(iris_described(tmp_path, model), repository=tmp_path / "repository")


def test_an_image_is_prepared_inside_the_graph_as_numpy_does_it(tmp_path: Path) -> None:
    image = {"height": 8, "width": 8, "channels": 1, "mean": [0.485], "std": [0.229]}
    record = export(pixels_card(tmp_path, image=image), repository=tmp_path / "repository").parity
    probabilities = next(output for output in record.outputs if output.output == "probabilities")
    assert probabilities.difference < 1e-6


def test_inputs_that_differ_from_the_cards_are_refused_with_both(tmp_path: Path) -> None:
    inputs = [{"name": name} for name in "abc"]
    assert "the graph takes x FP32[2], the card makes features FP32[3]" in refused(tmp_path, inputs=inputs)
    inputs = [{"name": "a", "datatype": "FP64"}, {"name": "b"}]
    assert "the graph takes x FP32[2], the card makes a FP64[1], b FP32[1]" in refused(tmp_path, inputs=inputs)


def test_another_type_of_input_is_refused_with_both(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert "the graph takes x FP64[2], the card makes features FP32[2]" in refused(tmp_path, model)


def test_labels_that_do_not_fit_the_graph_are_refused_with_both_numbers(tmp_path: Path) -> None:
    message = refused(tmp_path, output={"labels": ["x", "y"]})
    assert message == (
        "cannot export 'linear': the model gives 3 classes, the card's output.labels names 2; make them equal"
    )


def test_a_width_that_the_graph_does_not_declare_is_found_by_running_it(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    model.graph.output[0].type.tensor_type.shape.dim[1].Clear()
    assert "gives 3 classes, the card's output.labels names 2" in refused(
        tmp_path, model, output={"labels": ["x", "y"]}
    )


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    assert "the graph's input 'x' takes batches of exactly 1; export it with a dynamic batch axis" in refused(
        tmp_path, linear_model(WEIGHTS, batch=1)
    )


def test_a_batch_that_was_baked_into_the_graph_is_found_by_running_it(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 3]), "shape"))
    model.graph.node[0].output[0] = "product"
    model.graph.node.append(helper.make_node("Reshape", ["product", "shape"], ["y"]))
    assert "ONNX Runtime cannot run the graph on a batch of 2" in refused(tmp_path, model)


def test_a_graph_too_new_for_triton_is_refused_with_the_newest_it_reads(tmp_path: Path) -> None:
    assert "uses opset 23 of ai.onnx, Triton's ONNX Runtime reads at most 21" in refused(
        tmp_path, linear_model(WEIGHTS, opset=23)
    )


def test_a_container_format_too_new_for_triton_is_written_in_the_newest_it_reads(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    model.ir_version = 11
    published(tmp_path, model)
    assert onnx.load(str(tmp_path / "repository" / "linear" / "1" / "model.onnx")).ir_version == 10


@pytest.mark.parametrize("content", [b"not a model", b"\x08\x08", b"\x00\xff" * 40])
def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    assert "model.onnx is no ONNX model, or damaged or cut off; copy it again" in refused(tmp_path, content)


def test_a_file_that_was_cut_off_is_told_in_one_line(tmp_path: Path) -> None:
    content = linear_model(np.zeros((2, 3000))[:, :3]).SerializeToString()
    assert "is no ONNX model, or damaged or cut off" in refused(tmp_path, content[:-20])


def test_an_empty_file_is_told_in_one_line(tmp_path: Path) -> None:
    assert "model.onnx is empty; train or copy the model again" in refused(tmp_path, b"")


def test_weights_in_other_files_are_refused_with_the_way_to_join_them(tmp_path: Path) -> None:
    model = linear_model(WEIGHTS)
    onnx.external_data_helper.convert_model_to_external_data(model, size_threshold=0)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert "keeps its weights in other files; make it one: onnx.save(onnx.load(" in refused(tmp_path, model)


def test_columns_of_several_types_reach_the_graph_by_their_names(tmp_path: Path) -> None:
    size, rooms, price = (
        helper.make_tensor_value_info(name, kind, ["n", 1])
        for name, kind in (("size", TensorProto.FLOAT), ("rooms", TensorProto.INT64), ("y", TensorProto.FLOAT))
    )
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["rooms"], ["rooms_float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["rooms_float", "size"], ["y"]),
        ],
        "g",
        [size, rooms],
        [price],
    )
    (tmp_path / "m.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    np.savez(tmp_path / "s.npz", rooms=np.arange(5), size=np.linspace(0, 1, 5))
    described = card(
        {
            "name": "price",
            "task": "regression",
            "source": {"kind": "onnx", "path": str(tmp_path / "m.onnx"), "samples": str(tmp_path / "s.npz")},
            "inputs": [{"name": "rooms", "datatype": "INT64"}, {"name": "size"}],
        }
    )
    assert export(described, repository=tmp_path / "repository").parity.samples == 5


def iris_described(folder: Path, model: onnx.ModelProto) -> Any:
    x, _ = load_iris(return_X_y=True)
    (folder / "iris.onnx").write_bytes(model.SerializeToString())
    return card(
        {
            "name": "iris",
            "task": "classification",
            "source": {
                "kind": "onnx",
                "path": str(folder / "iris.onnx"),
                "samples": str(save_samples(folder / "samples.npz", x.astype(np.float32))),
            },
            "inputs": [{"name": name} for name in FEATURES],
            "output": {"labels": SPECIES},
        }
    )
