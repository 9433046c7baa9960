"""The pictures of iris: the measurements, the candidates, and where the models draw their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slipway_core.tensors import Array
from slipway_training.iris.candidates import Choice
from slipway_training.report import ACCENT, INK, MUTED, PALETTE, Picture, picture

_MESH = 160


@dataclass(frozen=True)
class Flowers:
    """Every row, held out or not, with the names to write beside the axes. ``inputs`` is NaN where missing."""

    inputs: Array
    targets: Array
    held_out: Array
    features: tuple[str, ...]
    axis_labels: tuple[str, ...]
    labels: tuple[str, ...]

    def of(self, label: int, feature: int) -> Array:
        """The present values of one feature in one class."""
        values = self.inputs[self.targets == label, feature]
        return values[~np.isnan(values)]


def scatter_matrix(flowers: Flowers) -> Picture:
    """Each feature against each, and on the diagonal its histogram per class."""
    n = len(flowers.features)
    figure = Figure(figsize=(10, 9.4), layout="constrained")
    grid = figure.subplots(n, n, sharex="col")
    for row, column in product(range(n), range(n)):
        axes: Axes = grid[row][column]
        for label in range(len(flowers.labels)):
            if row == column:
                bins = np.histogram_bin_edges(flowers.inputs[~np.isnan(flowers.inputs[:, row]), row], 16)
                axes.hist(flowers.of(label, row), bins=bins.tolist(), color=PALETTE[label], alpha=0.55)
            else:
                mine = flowers.inputs[flowers.targets == label]
                axes.scatter(mine[:, column], mine[:, row], s=10, color=PALETTE[label], alpha=0.75, linewidths=0)
        if row == column:
            axes.set_yticks([])
        if row == n - 1:
            axes.set_xlabel(flowers.axis_labels[column])
        if column == 0:
            axes.set_ylabel(flowers.axis_labels[row])
    _legend(figure, flowers.labels)
    caption = "Scatter matrix of all rows; on the diagonal each feature's histogram per class."
    return picture(figure, caption, caption)


def box_plots(flowers: Flowers) -> Picture:
    """Each feature's spread within each class."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for feature, axes in enumerate(figure.subplots(1, len(flowers.features))):
        groups = [flowers.of(label, feature) for label in range(len(flowers.labels))]
        parts = axes.boxplot(groups, widths=0.6, patch_artist=True, flierprops={"markersize": 3})
        for label, box in enumerate(parts["boxes"]):
            box.set(facecolor=PALETTE[label], alpha=0.6, edgecolor=INK)
        for median in parts["medians"]:
            median.set(color=INK, linewidth=1.5)
        axes.set_xticks(range(1, len(flowers.labels) + 1), flowers.labels, rotation=25, ha="right")
        axes.set_title(flowers.axis_labels[feature])
        axes.grid(axis="y")
    caption = "Box plots per class: quartiles, whiskers to 1.5 interquartile ranges, points beyond them."
    return picture(figure, caption, caption)


def correlation_heat_map(flowers: Flowers) -> Picture:
    """Pearson's correlation of each pair of features, over the rows that have both."""
    n = len(flowers.features)
    values = np.array([[_correlation(flowers.inputs[:, [i, j]]) for j in range(n)] for i in range(n)])
    figure = Figure(figsize=(5.8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    for i, j in product(range(n), range(n)):
        axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=_readable_on(values[i, j]))
    names = [name.replace("_", "\n") for name in flowers.features]
    axes.set_xticks(range(n), names)
    axes.set_yticks(range(n), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.85).outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    caption = "Correlation of the features over all rows, classes together."
    return picture(figure, caption, caption)


def comparison(choice: Choice) -> Picture:
    """Cross-validated accuracy of every candidate's best settings, fold by fold."""
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for at, candidate in enumerate(reversed(choice.candidates)):
        colour = ACCENT if candidate is choice.chosen else MUTED
        axes.scatter(candidate.fold_accuracies, [at] * len(candidate.fold_accuracies), s=14, color=colour, alpha=0.35)
        axes.errorbar(candidate.accuracy, at, xerr=candidate.error, fmt="o", color=colour, capsize=4, linewidth=2)
    axes.axvline(choice.threshold, color=INK, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(choice.candidates)), [candidate.name for candidate in reversed(choice.candidates)])
    axes.set_xlabel("accuracy over the folds")
    axes.grid(axis="x")
    caption = (
        "Mean and standard error of each candidate's best settings (pale: single folds, which may coincide). Right of "
        "the dashed line a candidate counts as equal to the best; blue is the chosen one."
    )
    return picture(figure, caption, caption)


def chosen_boundaries(flowers: Flowers, choice: Choice) -> Picture:
    """The chosen model's borders over the petals and over the sepals, with the held-out rows marked."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2), ("petal", "sepal"), strict=True):
        _boundaries(axes, flowers, choice.chosen.pipeline, part)
        axes.set_title(f"{part.capitalize()}s")
    _legend(figure, flowers.labels, held_out=True)
    caption = (
        f"Decision boundaries of {choice.chosen.name.lower()}. The two measurements that a panel does not show follow "
        "from the shown ones by a straight-line fit, so the whole model is seen on plausible flowers; a point may lie "
        "on a foreign ground because its own hidden measurements differ."
    )
    return picture(figure, caption, caption)


def all_boundaries(flowers: Flowers, choice: Choice) -> Picture:
    """Each candidate's borders over the petals."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    for axes, candidate in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, choice.candidates, strict=True):
        _boundaries(axes, flowers, candidate.pipeline, "petal")
        axes.set_title(candidate.name)
        axes.label_outer()
    _legend(figure, flowers.labels, held_out=True)
    caption = "The same plane of petal length and width for every candidate at its best settings."
    return picture(figure, caption, caption)


def _boundaries(axes: Axes, flowers: Flowers, pipeline: Any, part: str) -> None:
    x, y = (flowers.features.index(f"{part}_{side}") for side in ("length", "width"))
    known = flowers.inputs[~np.isnan(flowers.inputs).any(axis=1)]
    low, high = known[:, [x, y]].min(axis=0) - 0.4, known[:, [x, y]].max(axis=0) + 0.4
    across, up = np.meshgrid(np.linspace(low[0], high[0], _MESH), np.linspace(low[1], high[1], _MESH))
    plane = np.column_stack([across.ravel(), up.ravel()])
    fit, *_ = np.linalg.lstsq(_with_one(known[:, [x, y]]), known, rcond=None)
    mesh = (_with_one(plane) @ fit).astype(np.float32).astype(np.float64)
    mesh[:, [x, y]] = plane
    regions = pipeline.predict(mesh).reshape(across.shape)
    count = len(flowers.labels)
    axes.pcolormesh(across, up, regions, cmap=ListedColormap(PALETTE[:count]), vmin=-0.5, vmax=count - 0.5, alpha=0.22)
    for label in range(count):
        for held_out, edge in ((False, "none"), (True, INK)):
            rows = flowers.inputs[(flowers.targets == label) & (flowers.held_out == held_out)]
            axes.scatter(rows[:, x], rows[:, y], s=22, color=PALETTE[label], edgecolors=edge, linewidths=1)
    axes.set(xlabel=flowers.axis_labels[x], ylabel=flowers.axis_labels[y])


def _with_one(columns: Array) -> Array:
    return np.column_stack([columns, np.ones(len(columns))])


def _correlation(pair: Array) -> float:
    both = pair[~np.isnan(pair).any(axis=1)]
    if len(both) < 2 or (both.std(axis=0) == 0).any():
        return 0.0
    return float(np.corrcoef(both.T)[0, 1])


def _readable_on(value: float) -> str:
    return "white" if abs(value) > 0.6 else INK


def _legend(figure: Figure, labels: Sequence[str], held_out: bool = False) -> None:
    marks = [Line2D([], [], marker="o", linestyle="", color=PALETTE[i], label=name) for i, name in enumerate(labels)]
    if held_out:
        ring = Line2D([], [], marker="o", linestyle="", color="white", markeredgecolor=INK, label="held out")
        marks.append(ring)
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))
