"""A run's report: one HTML file that needs nothing beside it, made of sections, tables and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from slipway_core.summary import Metrics, TrainingSummary
from slipway_training.evaluation import accuracy_interval

INK = "#1f2933"
MUTED = "#6b7785"
ACCENT = "#0b6e99"
# Okabe and Ito's palette: told apart by colour-blind readers too.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI. ``alt`` is what a reader without eyes for it is told; ``width`` is in CSS pixels."""

    uri: str
    caption: str
    alt: str
    width: int


@dataclass(frozen=True)
class Table:
    """The first column is text and so are ``words``, the others are numbers. ``marked`` is the row to stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: int | None = None
    words: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of the report: a title, sentences, tables, pictures. ``beside`` puts table and picture side by side."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    beside: bool = False


@contextmanager
def drawing() -> Generator[None]:
    """The report's look for every figure made inside."""
    with mpl.rc_context(_STYLE):
        yield


def picture(figure: Figure, caption: str, alt: str) -> Picture:
    """Render a figure without a display, sharp enough for screens of high density too."""
    buffer = io.BytesIO()
    # Without the software's name and version in it the same figure is the same bytes.
    figure.savefig(buffer, format="png", dpi=168, metadata={"Software": None})
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(uri, caption, alt, round(figure.get_size_inches()[0] * 96))


def confusion_picture(labels: Sequence[str], metrics: Metrics) -> Picture:
    """The confusion matrix of the held-out set, shaded by the share of each true class."""
    size = 2.9 + 0.22 * len(labels)
    figure = Figure(figsize=(size + 0.5, size), layout="constrained")
    axes = figure.add_subplot()
    shares = [[count / max(sum(row), 1) for count in row] for row in metrics.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for i, row in enumerate(metrics.confusion):
        for j, count in enumerate(row):
            colour = "white" if shares[i][j] > 0.55 else INK if count else "#b8c2cc"
            axes.text(j, i, str(count), ha="center", va="center", color=colour)
    ticks = range(len(labels))
    slanted: dict[str, Any] = {"rotation": 30, "ha": "right"} if max(map(len, labels)) > 10 else {}
    axes.set_xticks(ticks, labels, **slanted)
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    right = sum(metrics.confusion[i][i] for i in ticks)
    total = sum(map(sum, metrics.confusion))
    caption = f"Confusion matrix of the held-out set: {right} of {total} on the diagonal."
    return picture(figure, caption, caption)


def metrics_table(metrics: Metrics) -> Table:
    """Precision, recall, F1 and support of every class, and their means."""
    rows = [
        [label, f"{m.precision:.4f}", f"{m.recall:.4f}", f"{m.f1:.4f}", str(m.support)]
        for label, m in metrics.per_class.items()
    ]
    total = str(sum(m.support for m in metrics.per_class.values()))
    rows.append(["mean", f"{metrics.precision:.4f}", f"{metrics.recall:.4f}", f"{metrics.f1:.4f}", total])
    return Table(("class", "precision", "recall", "F1", "rows"), rows, marked=len(rows) - 1)


def evaluation_section(labels: Sequence[str], metrics: Metrics) -> Section:
    """Metrics per class beside the confusion matrix, with what the number of held-out rows allows to say."""
    total = sum(map(sum, metrics.confusion))
    low, high = accuracy_interval(metrics.accuracy, total)
    text = (
        f"Measured on {total} held-out rows, which took no part in fitting or choosing. From that many rows the "
        f"true accuracy can be told to lie between {low:.1%} and {high:.1%} (95% Wilson interval)."
    )
    tables, pictures = [metrics_table(metrics)], [confusion_picture(labels, metrics)]
    return Section("How well it does", [text], tables, pictures, beside=True)


def render(summary: TrainingSummary, subtitle: str, sections: Sequence[Section]) -> str:
    """The report as one HTML document. It holds no date and no duration: the same run gives the same report."""
    loader = PackageLoader("slipway_training", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    m = summary.metrics
    tiles = (
        ("accuracy", f"{m.accuracy:.2%}"),
        ("precision", f"{m.precision:.4f}"),
        ("recall", f"{m.recall:.4f}"),
        ("F1", f"{m.f1:.4f}"),
        ("rows trained on", f"{summary.rows_train:,}"),
        ("rows held out", f"{summary.rows_test:,}"),
    )
    facts = [
        ("Recipe", summary.recipe),
        ("Seed", str(summary.seed)),
        ("Data", summary.data),
        ("SHA-256 of the data", summary.data_sha256),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in summary.libraries.items())),
    ]
    return environment.get_template("report.html.j2").render(
        title=summary.model, subtitle=subtitle, tiles=tiles, sections=sections, facts=facts
    )
