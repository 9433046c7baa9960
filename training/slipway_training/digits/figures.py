"""The pictures of digits: how learning went, what was learnt from, and what is still mistaken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from slipway_core.tensors import Array
from slipway_training.digits.fit import Fitted
from slipway_training.report import ACCENT, INK, MUTED, PALETTE, Picture, picture

_ACROSS = 8
_WRONG = PALETTE[5]


def learning_curves(fitted: Fitted) -> Picture:
    """Losses and validation accuracy over the epochs, with the epoch that was kept."""
    epochs = range(1, len(fitted.history) + 1)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [e.train_loss for e in fitted.history], color=MUTED, label="training (augmented, smoothed)")
    left.plot(epochs, [e.validation_loss for e in fitted.history], color=ACCENT, linewidth=2, label="validation")
    left.set(yscale="log", title="Loss", xlabel="epoch", ylabel="cross-entropy")
    right.plot(epochs, [100 * e.validation_accuracy for e in fitted.history], color=ACCENT, linewidth=2)
    right.set(title="Validation accuracy", xlabel="epoch", ylabel="%")
    # The first epochs would press the rest into a line at the top.
    right.set_ylim(top=100.5, bottom=min(80.0, 100 * fitted.history[-1].validation_accuracy))
    for axes in (left, right):
        axes.axvline(fitted.best_epoch, color=INK, linestyle="--", linewidth=1, label="kept")
        axes.grid()
    left.legend(frameon=True, facecolor="white", edgecolor="none", framealpha=0.95)
    caption = (
        f"Learning curves. The weights of epoch {fitted.best_epoch} were kept (dashed); training ended at epoch "
        f"{len(fitted.history)}. The training loss is higher because its images are distorted and its targets softened."
    )
    return picture(figure, caption, caption)


def image_rows(images: Array, titles: Sequence[str], wrong: Sequence[bool], caption: str) -> Picture:
    """Images ``[n, h, w]`` in rows of eight, each under its title; the wrong ones' titles stand out."""
    rows = -(-len(images) // _ACROSS)
    # A row without titles needs no room for them.
    heights = [1.75 if any(titles[row * _ACROSS : (row + 1) * _ACROSS]) else 1.3 for row in range(rows)]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    cells = figure.subplots(rows, _ACROSS, squeeze=False, height_ratios=heights).flat
    for axes in cells:
        axes.axis("off")
    for axes, image, title, is_wrong in zip(figure.axes[: len(images)], images, titles, wrong, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=9.5, fontweight="normal", color=_WRONG if is_wrong else INK)
    return picture(figure, caption, caption)


def mistakes(images: Array, targets: Array, probabilities: Array, labels: Sequence[str], most: int = 24) -> Picture:
    """The held-out images that were mistaken and, when they are few, the least certain of the others."""
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != targets
    certainty = probabilities.max(axis=1)
    # Mistakes first, the most certain of them on top; then what was right by the smallest margin.
    order = np.lexsort((np.where(wrong, -certainty, certainty), ~wrong))
    shown: list[int] = order[: min(max(int(wrong.sum()), 2 * _ACROSS), most)].tolist()
    titles = [
        f"{labels[targets[i]]} taken for {labels[predicted[i]]}\n{certainty[i]:.0%} sure"
        if wrong[i]
        else f"{labels[targets[i]]}, {certainty[i]:.0%} sure"
        for i in shown
    ]
    return image_rows(images[shown, :, :, 0], titles, wrong[shown].tolist(), _mistakes_caption(wrong, len(shown)))


def _mistakes_caption(wrong: Array, shown: int) -> str:
    count = int(wrong.sum())
    if count == 0:
        return f"None of the {len(wrong)} held-out images was misclassified; these are the least certain ones."
    some = "1 held-out image was" if count == 1 else f"{count} held-out images were"
    rest = " The rest are the least certain of those that were right." if shown > count else ""
    return f"{some} misclassified, of {len(wrong)}.{rest}"
