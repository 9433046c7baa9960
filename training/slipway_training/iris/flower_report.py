"""The report of iris: how well it does, why this model, where it draws the line, and the data."""

from __future__ import annotations

import numpy as np

from slipway_core.card import Feature, ModelCard
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training.iris import figures
from slipway_training.iris.candidates import Candidate, Choice
from slipway_training.iris.measurements import Measurements
from slipway_training.report import Section, Table, drawing, evaluation_section, render


def report_of(card: ModelCard, rows: Measurements, test: Array, summary: TrainingSummary, choice: Choice) -> str:
    """The report as HTML; ``test`` are the numbers of the held-out rows."""
    flowers = figures.Flowers(
        inputs=rows.inputs,
        targets=rows.targets,
        held_out=np.isin(np.arange(len(rows.targets)), test),
        features=tuple(feature.name for feature in card.inputs),
        axis_labels=tuple(_axis_label(feature) for feature in card.inputs),
        labels=card.output.labels,
    )
    with drawing():
        sections = [
            evaluation_section(card.output.labels, summary.metrics),
            _choice_section(choice),
            Section(
                "Where it draws the line",
                pictures=[figures.chosen_boundaries(flowers, choice), figures.all_boundaries(flowers, choice)],
            ),
            _data_section(flowers, rows),
        ]
    return render(summary, card.description or "Training report", sections)


def _choice_section(choice: Choice) -> Section:
    return Section(
        "Why this model",
        [choice.reason, f"Its settings: {_settings(choice.chosen)}."],
        [_candidates_table(choice)],
        [figures.comparison(choice)],
    )


def _data_section(flowers: figures.Flowers, rows: Measurements) -> Section:
    return Section(
        "The data",
        [f"{note[0].upper()}{note[1:]}." for note in rows.notes],
        [_features_table(flowers)],
        [figures.scatter_matrix(flowers), figures.box_plots(flowers), figures.correlation_heat_map(flowers)],
    )


def _axis_label(feature: Feature) -> str:
    return feature.name.replace("_", " ") + (f" ({feature.unit})" if feature.unit else "")


def _candidates_table(choice: Choice) -> Table:
    rows = [
        [c.name, f"{c.accuracy:.4f}", f"{c.error:.4f}", f"{c.log_loss:.4f}", str(c.tried), _settings(c)]
        for c in choice.candidates
    ]
    header = ("classifier", "CV accuracy", "std. error", "log loss", "settings tried", "best settings")
    return Table(header, rows, marked=choice.candidates.index(choice.chosen), words=[5])


def _settings(candidate: Candidate) -> str:
    return ", ".join(f"{name} = {value}" for name, value in candidate.parameters.items())


def _features_table(flowers: figures.Flowers) -> Table:
    rows: list[list[str]] = []
    for at, name in enumerate(flowers.axis_labels):
        column = flowers.inputs[:, at]
        present = column[~np.isnan(column)]
        numbers = (present.mean(), present.std(), present.min(), np.median(present), present.max())
        rows.append([name, *(f"{number:.2f}" for number in numbers), str(len(column) - len(present))])
    return Table(("feature", "mean", "std", "min", "median", "max", "missing"), rows)
