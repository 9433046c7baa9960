"""The CSV that iris is trained on: what is understood, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway_core.card import ModelCard
from slipway_core.errors import TrainingFailed
from slipway_core.summary import hash_file
from slipway_training import Job, SilentProgress, train
from slipway_training.iris.measurements import Measurements, load
from support.training import FEATURES, NAMES, card, iris_rows, write_csv


def loaded(path: Path | None, of: ModelCard | None = None) -> Measurements:
    return load(Job("iris", of or card("iris"), path, 0, SilentProgress()))


@pytest.fixture(scope="module")
def own() -> Measurements:
    return loaded(None)


def test_the_recipes_own_rows_are_scikit_learns_at_fp32(own: Measurements) -> None:
    assert own.inputs.shape == (150, 4)
    assert own.inputs.dtype == np.float64
    assert (own.inputs == own.inputs.astype(np.float32)).all()
    assert np.bincount(own.targets).tolist() == [50, 50, 50]
    assert own.notes == ()


@pytest.mark.parametrize(
    "header",
    [
        [*FEATURES, "species"],
        ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)", "target"],
        ["SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm", "Species"],
        ["Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width", "class"],
        ["SEPAL LENGTH [cm]", " sepal-width ", "petalLength", "petal_width_cm", "label"],
        ["\ufeffsepal.length", "sepal.width", "petal.length", "petal.width", "variety"],
    ],
)
def test_columns_are_known_by_many_spellings(header: list[str], own: Measurements, tmp_path: Path) -> None:
    table = loaded(write_csv(tmp_path / "iris.csv", header, iris_rows()))
    assert (table.inputs == own.inputs).all()
    assert (table.targets == own.targets).all()


@pytest.mark.parametrize("spelling", ["Iris-{}", "iris_{}", " {} ", "{}"])
def test_labels_are_known_with_and_without_the_genus(spelling: str, own: Measurements, tmp_path: Path) -> None:
    rows = [[*row[:4], spelling.format(row[4]).upper()] for row in iris_rows()]
    table = loaded(write_csv(tmp_path / "iris.csv", [*FEATURES, "species"], rows))
    assert (table.targets == own.targets).all()


@pytest.mark.parametrize("number", ["{}", "{}.0"])
def test_labels_may_be_their_numbers_counted_from_zero(number: str, own: Measurements, tmp_path: Path) -> None:
    rows = [[*row[:4], number.format(NAMES.index(row[4]))] for row in iris_rows()]
    table = loaded(write_csv(tmp_path / "iris.csv", [*FEATURES, "target"], rows))
    assert (table.targets == own.targets).all()


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_and_tabs_separate_cells_too(delimiter: str, own: Measurements, tmp_path: Path) -> None:
    table = loaded(write_csv(tmp_path / "iris.csv", [*FEATURES, "species"], iris_rows(), delimiter))
    assert (table.inputs == own.inputs).all()


def test_columns_stand_in_any_order_beside_others_and_names_win_over_codes(own: Measurements, tmp_path: Path) -> None:
    header = ["Id", "species", "target", *reversed(FEATURES)]
    rows = [[str(at), row[4], "0", *reversed(row[:4])] for at, row in enumerate(iris_rows())]
    table = loaded(write_csv(tmp_path / "iris.csv", header, rows))
    assert (table.inputs == own.inputs).all()
    assert (table.targets == own.targets).all()
    assert table.notes == ("column 'Id' is not used", "column 'target' is not used")


def test_inputs_and_targets_follow_the_cards_order(own: Measurements, tmp_path: Path) -> None:
    turned = card("iris", inputs=[{"name": name} for name in reversed(FEATURES)], output={"labels": NAMES[::-1]})
    for table in (
        loaded(None, turned),
        loaded(write_csv(tmp_path / "iris.csv", [*FEATURES, "species"], iris_rows()), turned),
    ):
        assert (table.inputs == own.inputs[:, ::-1]).all()
        assert (table.targets == 2 - own.targets).all()


def test_missing_values_become_nan_and_rows_without_a_label_are_left_out(own: Measurements, tmp_path: Path) -> None:
    rows = iris_rows()
    for at, gap in enumerate(["", "NA", "nan", "?", "null", " - "]):
        rows[at][at % 4] = gap
    rows[10][4] = rows[60][4] = ""
    path = write_csv(tmp_path / "iris.csv", [*FEATURES, "species"], [*rows, ["", "", "", "", ""]])
    table = loaded(path)
    assert len(table.targets) == 148
    assert np.isnan(table.inputs).sum(axis=0).tolist() == [2, 2, 1, 1]
    assert table.notes == (
        "2 rows without a label left out",
        "6 missing values are replaced by the feature's median over the training rows",
    )
    assert (table.source, table.sha256) == (str(path), hash_file(path))


LINE = "5.1,3.5,1.4,0.2,setosa\n"
HEADER = ",".join([*FEATURES, "species"]) + "\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "{} is empty; its first line names the columns " + HEADER.strip()),
        ("\n\n", "{} is empty; its first line names the columns " + HEADER.strip()),
        (HEADER, "{} has a header and no labelled rows"),
        (HEADER + "5.1,3.5,1.4,0.2,\n", "{} has a header and no labelled rows"),
        (
            LINE * 40,
            "the first line of {} holds values; put a line before it that names the columns " + HEADER.strip(),
        ),
        (
            HEADER.replace("petal_width", "petal_widht") + LINE,
            "{} has no column for petal_width; did you mean 'petal_widht'?",
        ),
        (
            "a,b,c\n1,2,3\n",
            "{} has no column for sepal_length (its columns are a, b, c)",
        ),
        (
            HEADER.replace(",species", ",kind") + LINE,
            "{} has no column for the label; call it one of species, class, label, variety, target "
            "(its columns are sepal_length, sepal_width, petal_length, petal_width, kind)",
        ),
        (
            "SepalLengthCm," + HEADER + "1," + LINE,
            "{} has two columns for sepal_length, 'SepalLengthCm' and 'sepal_length'; keep one",
        ),
        (HEADER.strip() + ",species\n" + LINE, "{} has two columns for the label, 'species' and 'species'; keep one"),
        (HEADER + LINE + "5.1,3.5,1.4,setosa\n", "line 3 of {} has 4 cells, its header has 5"),
        (
            HEADER + LINE + "\n5.1,3.5,wide,0.2,setosa\n",
            "line 4 of {}: petal_length must be a finite number (cm), got 'wide'",
        ),
        (HEADER + "inf,3.5,1.4,0.2,setosa\n", "line 2 of {}: sepal_length must be a finite number (cm), got 'inf'"),
        (HEADER + "1e39,3.5,1.4,0.2,setosa\n", "line 2 of {}: sepal_length must be a finite number (cm), got '1e39'"),
        (
            HEADER + f"{'x' * 50},3.5,1.4,0.2,setosa\n",
            "line 2 of {}: sepal_length must be a finite number (cm), got '" + "x" * 37 + "...'",
        ),
        (
            HEADER + LINE.replace("setosa", "Iris-setossa"),
            "line 2 of {}: unknown label 'Iris-setossa'; did you mean 'setosa'? "
            "(known are setosa, versicolor, virginica, or 0 to 2)",
        ),
        (
            HEADER + LINE.replace("setosa", "3"),
            "line 2 of {}: unknown label '3' (known are setosa, versicolor, virginica, or 0 to 2)",
        ),
        (
            HEADER + LINE * 20 + LINE.replace("setosa", "versicolor") * 20 + LINE.replace("setosa", "virginica"),
            "{} has 1 row of 'virginica'; at least 10 of each of setosa, versicolor, virginica are needed",
        ),
        (
            HEADER + LINE * 20,
            "{} has 0 rows of 'versicolor'; at least 10 of each of setosa, versicolor, virginica are needed",
        ),
        (
            HEADER + "".join(f"5.1,3.5,1.4,,{name}\n" * 20 for name in NAMES),
            "{} lacks petal_width in 60 of 60 rows; at least half of them must have it",
        ),
        (HEADER + LINE * 5001, "{} has more than 5,000 rows; give a sample of them"),
        (HEADER + '5.1,3.5,"1.4,0.2,setosa\n', "{} is no CSV file: unexpected end of data after line 1"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "{} is not UTF-8 text; give a CSV file saved as UTF-8"),
        (b"PK\x03\x04\x00\x00,\n", "{} is not text; give a CSV file saved as UTF-8"),
        (HEADER.encode("utf-16"), "{} is not UTF-8 text; give a CSV file saved as UTF-8"),
        (HEADER.encode() + b"5.1,3.5,1.4,0.2,s\xe9tosa\n", "{} is not UTF-8 text; give a CSV file saved as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(text: str | bytes, complaint: str, tmp_path: Path) -> None:
    path, out = tmp_path / "iris.csv", tmp_path / "artifacts" / "iris"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(TrainingFailed) as refused:
        train(card("iris"), out=out, data=path, progress=SilentProgress())
    assert str(refused.value) == "cannot train 'iris': " + complaint.format(path)
    assert not out.exists()


def test_a_file_that_is_not_there_a_folder_and_a_device_are_refused(tmp_path: Path) -> None:
    for path, complaint in (
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is a folder; give a CSV file"),
        (Path("/dev/zero"), "is not a regular file; give a CSV file"),
        (tmp_path / "no" / "such" / "folder" / "iris.csv", "does not exist"),
    ):
        with pytest.raises(TrainingFailed) as refused:
            train(card("iris"), out=tmp_path / "out", data=path, progress=SilentProgress())
        assert str(refused.value) == f"cannot train 'iris': {path} {complaint}"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    with path.open("wb") as stream:
        stream.truncate(1 << 34)
    with pytest.raises(TrainingFailed, match="is larger than 16 MiB; give a sample of it"):
        train(card("iris"), out=tmp_path / "out", data=path, progress=SilentProgress())
