"""config.pbtxt: what Triton is told about a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from slipway_core.card import ModelCard
from slipway_core.errors import RepositoryBroken
from slipway_core.served import served_model
from slipway_export.config import as_text, decoder_config, graph_config, read_config
from support.export import PIXELS, card

HERE = Path(__file__).parent
CARDS = HERE.parents[2] / "export" / "cards"
BASE = {
    "name": "m",
    "task": "classification",
    "source": {"kind": "onnx", "path": "m.onnx", "output": "logits"},
    "inputs": [{"name": "a"}, {"name": "b"}],
    "output": {"labels": ["x", "y"]},
}


@pytest.mark.parametrize(
    ("golden", "name", "config"),
    [
        ("iris", "iris", graph_config),
        ("digits", "digits", decoder_config),
        ("digits_net", "digits", graph_config),
    ],
)
def test_the_examples_configurations_are_byte_for_byte_the_golden_ones(golden: str, name: str, config) -> None:
    written = as_text(config(ModelCard.from_toml(CARDS / f"{name}.toml"), [1]))
    assert written == (HERE / "golden" / f"{golden}.pbtxt").read_text()


def test_the_text_is_read_back_as_the_same_configuration(tmp_path: Path) -> None:
    config = graph_config(card(BASE), [3, 4])
    (tmp_path / "config.pbtxt").write_text(as_text(config))
    assert read_config(tmp_path / "config.pbtxt") == config
    assert list(config.version_policy.specific.versions) == [3, 4]


def test_the_card_comes_back_from_the_parameters() -> None:
    config = graph_config(card(BASE, description="Zwei Größen"), [1])
    served = served_model("m", 64, {key: value.string_value for key, value in config.parameters.items()})
    assert (served.description, served.labels, served.role) == ("Zwei Größen", ("x", "y"), "model")
    assert "Größen" in as_text(config)


def test_batching_settings_are_written_and_zeros_left_out() -> None:
    batching = {"max_batch_size": 32, "queue_delay_us": 250, "preferred_batch_sizes": [8, 16], "max_queue_size": 100}
    set_ = graph_config(card(BASE, batching=batching), [1])
    assert set_.max_batch_size == 32
    assert list(set_.dynamic_batching.preferred_batch_size) == [8, 16]
    assert set_.dynamic_batching.max_queue_delay_microseconds == 250
    assert set_.dynamic_batching.default_queue_policy.max_queue_size == 100
    assert "dynamic_batching {\n}\n" in as_text(graph_config(card(BASE), [1]))


def test_without_dynamic_batching_there_is_no_such_block() -> None:
    assert not graph_config(card(BASE, batching={"dynamic": False}), [1]).HasField("dynamic_batching")


def test_images_wait_for_their_batch_at_the_decoder_and_not_again_at_the_net() -> None:
    image = card(
        {key: value for key, value in BASE.items() if key != "inputs"}, image=PIXELS, batching={"queue_delay_us": 300}
    )
    assert decoder_config(image, [1]).dynamic_batching.max_queue_delay_microseconds == 300
    assert graph_config(image, [1]).dynamic_batching.max_queue_delay_microseconds == 0


@pytest.mark.parametrize(
    ("kind", "triton"),
    [
        ("auto", ModelInstanceGroup.KIND_AUTO),
        ("cpu", ModelInstanceGroup.KIND_CPU),
        ("gpu", ModelInstanceGroup.KIND_GPU),
    ],
)
def test_instances_go_where_the_card_says(kind: str, triton: ModelInstanceGroup.Kind) -> None:
    config = graph_config(card(BASE, instances={"count": 3, "kind": kind, "intra_op_threads": 2}), [1])
    assert (config.instance_group[0].count, config.instance_group[0].kind) == (3, triton)
    assert config.parameters["intra_op_thread_count"].string_value == "2"


def test_zero_threads_leave_the_number_to_the_runtime() -> None:
    assert "intra_op_thread_count" not in graph_config(card(BASE, instances={"intra_op_threads": 0}), [1]).parameters


def test_the_net_is_warmed_up_and_the_decoder_does_not_call_a_net_that_may_load_later() -> None:
    image = card({key: value for key, value in BASE.items() if key != "inputs"}, image=PIXELS)
    (warmup,) = graph_config(image, [1]).model_warmup
    assert list(warmup.inputs["image"].dims) == [8, 8, 1]
    assert not decoder_config(image, [1]).model_warmup


def test_columns_of_several_types_are_a_tensor_each() -> None:
    config = graph_config(
        card(BASE, inputs=[{"name": "city", "datatype": "BYTES"}, {"name": "rooms", "datatype": "INT64"}]), [1]
    )
    assert text_format.MessageToString(config.input[0]) == 'name: "city"\ndata_type: TYPE_STRING\ndims: 1\n'
    features = json.loads(config.parameters["slipway.features"].string_value)
    assert [feature["name"] for feature in features] == ["city", "rooms"]


def test_a_regressor_gives_one_value_and_no_labels() -> None:
    config = graph_config(card(BASE, task="regression", output={"unit": "EUR"}), [1])
    assert [(output.name, list(output.dims), output.label_filename) for output in config.output] == [("value", [1], "")]


def test_a_configuration_that_cannot_be_parsed_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('name: "m"\nmax_batch_size: many\n')
    with pytest.raises(RepositoryBroken, match=r"config.pbtxt: is no model configuration \(2:17"):
        read_config(tmp_path / "config.pbtxt")


def test_the_golden_files_are_configurations() -> None:
    for file in (HERE / "golden").iterdir():
        assert text_format.Parse(file.read_text(), ModelConfig()).name == file.stem
