"""What boosted models of all libraries have in common: margins, what is made of them, and what must fit the card."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR, VALUE_TENSOR
from slipway_core.rows import FEATURES_TENSOR, is_one_tensor
from slipway_core.tensors import Array
from slipway_export.answers import check_width
from slipway_export.graph import Surgery
from slipway_export.sources.forest import DamagedTrees, Forest
from slipway_export.wording import one_line

# What an objective makes of the trees' sums. Of several sums "sigmoid" makes as many independent probabilities.
Link = Literal["identity", "exp", "sigmoid", "softmax", "softplus", "signed_square"]
Answers = dict[str, Array]

CLASSES: tuple[Link, ...] = ("sigmoid", "softmax")
VALUES: tuple[Link, ...] = ("identity", "exp", "sigmoid", "softplus", "signed_square")


@dataclass(frozen=True)
class Objective:
    """What a model was trained for, by the library's own name, and the task that it serves."""

    name: str
    task: Literal["classification", "regression", "ranking"]
    link: Link


@dataclass(frozen=True)
class BoostedModel:
    """A model's trees beside its library's own answers (``ask``), which are the contract's outputs.

    ``positions`` are the places of the model's classes in the card's labels. A binary model chooses its second class
    where the probability is above ``threshold``.
    """

    card: ModelCard
    libraries: tuple[str, ...]
    objective: Objective
    forest: Forest
    ask: Callable[[Array], Answers]
    positions: tuple[int, ...] = ()
    threshold: float = 0.5

    def predict(self, inputs: Mapping[str, Array]) -> Answers:
        try:
            return self.ask(np.ascontiguousarray(inputs[FEATURES_TENSOR], np.float32))
        except Exception as e:  # each library has an exception of its own
            told = library_reason(e)
            raise ExportFailed(self.card.name, f"{self.libraries[0]} does not take the samples ({told})") from None

    def to_onnx(self) -> Surgery:
        try:
            surgery = Surgery(self.forest.to_onnx(self.card.name))
        except DamagedTrees as e:
            raise ExportFailed(self.card.name, f"{self.card.source.path} is damaged: {e}; copy it again") from None
        margins = surgery.graph.output[0].name
        if self.card.task != "classification":
            surgery.rename(_linked(surgery, margins, self.objective.link), VALUE_TENSOR)
        elif len(self.forest.base) == 1:
            self._append_binary(surgery, _linked(surgery, margins, "sigmoid"))
        else:
            # The largest margin is the largest probability, and of two that are almost 1 still the larger one.
            order = surgery.constant("slipway_order", np.argsort(self.positions).astype(np.int64))
            ordered = surgery.append("Gather", [margins, order], axis=1)
            surgery.rename(_linked(surgery, ordered, self.objective.link), PROBABILITIES_TENSOR)
            chosen = surgery.append("ArgMax", [ordered], axis=1, keepdims=1)
            surgery.rename(chosen, LABEL_TENSOR)
        return surgery

    def _append_binary(self, surgery: Surgery, positive: str) -> None:
        negative = surgery.append("Sub", [surgery.constant("slipway_one", np.ones((1, 1), np.float32)), positive])
        pair = [negative, positive] if self.positions[1] == 1 else [positive, negative]
        surgery.rename(surgery.append("Concat", pair, axis=1), PROBABILITIES_TENSOR)
        threshold = surgery.constant("slipway_threshold", np.full((1, 1), self.threshold, np.float32))
        is_second = surgery.append("Greater", [positive, threshold])
        places = [surgery.constant(f"slipway_class_{at}", np.array([[self.positions[at]]])) for at in (1, 0)]
        surgery.rename(surgery.append("Where", [is_second, *places]), LABEL_TENSOR)


def _linked(surgery: Surgery, margins: str, link: Link) -> str:
    match link:
        case "identity":
            return margins
        case "exp":
            return surgery.append("Exp", [margins])
        case "sigmoid":
            return surgery.append("Sigmoid", [margins])
        case "softmax":
            return surgery.append("Softmax", [margins], axis=1)
        case "softplus":
            return surgery.append("Softplus", [margins])
        case "signed_square":
            return surgery.append("Mul", [margins, surgery.append("Abs", [margins])])


def value(answered: Array) -> Answers:
    return {VALUE_TENSOR: np.asarray(answered, np.float32).reshape(-1, 1)}


def classes(chosen: Array, probabilities: Array, positions: Sequence[int]) -> Answers:
    """The contract's outputs of the model's own: classes by their numbers, and one probability of each."""
    ordered = np.asarray(probabilities)[:, np.argsort(positions)].astype(np.float32)
    label = np.asarray(positions, np.int64)[np.asarray(chosen, np.int64).reshape(-1)]
    return {LABEL_TENSOR: label.reshape(-1, 1), PROBABILITIES_TENSOR: ordered}


def binary(positive: Array, positions: Sequence[int] = (0, 1)) -> Answers:
    """The contract's outputs of the second class's probabilities ``[n]``."""
    exact = np.asarray(positive)
    return classes(exact > 0.5, np.stack([1 - exact, exact], axis=1), positions)


def check_objective(card: ModelCard, objective: Objective | None, name: str, why: str = "") -> Objective:
    """Raises :class:`ExportFailed` where nothing is known to answer like the objective, or the card's task differs.

    Any value may rank.
    """
    if objective is None:
        because = why or "nothing in ONNX is known to answer like it"
        raise ExportFailed(card.name, f"the model's objective is {name!r}: {because}")
    fits = objective.task == card.task or (card.task == "ranking" and objective.task == "regression")
    if not fits:
        raise ExportFailed(
            card.name, f"the card's task is {card.task!r}, the model was trained for {objective.task} ({name!r})"
        )
    return objective


def check_outputs(card: ModelCard, outputs: int) -> None:
    """Raises :class:`ExportFailed` when the number of sums is not that of the card's classes, or of its one value."""
    check_width(card, 2 if card.task == "classification" and outputs == 1 else outputs)


def check_features(card: ModelCard, count: int, names: Sequence[str]) -> None:
    """Raises :class:`ExportFailed` unless the card's inputs are those of training, by name where it knew names."""
    if not is_one_tensor(card.inputs):
        raise ExportFailed(card.name, "boosted trees take FP32 features only; mend the card's inputs")
    ours = [feature.name for feature in card.inputs]
    if count != len(ours):
        raise ExportFailed(
            card.name, f"the model was trained on {count} features, the card has {len(ours)}: {', '.join(ours)}"
        )
    if names and list(names) != ours:
        raise ExportFailed(
            card.name,
            f"the model was trained on the features {', '.join(names)}, the card has {', '.join(ours)}; "
            "give the card's inputs the same names in the same order",
        )


def refuse_newer(card: ModelCard, library: str, written: tuple[int, ...], installed: str) -> None:
    """Raises :class:`ExportFailed` for a file of a later version: it would be read without a word, and wrongly."""
    ours = tuple(int(number) for number in re.findall(r"\d+", installed)[:3])
    if written > ours:
        theirs = ".".join(map(str, written))
        raise ExportFailed(
            card.name,
            f"{card.source.path} was written by {library} {theirs}, here is {installed}, which may misread it; "
            f"install {library.lower()}>={theirs}",
        )


def damaged(card: ModelCard, what: str, remedy: str) -> NoReturn:
    raise ExportFailed(card.name, f"{card.source.path} is no {what}, or damaged or cut off; {remedy}")


def library_reason(error: Exception) -> str:
    """What a library complains of, without the place in its own code and the trace of it."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    first = re.sub(r"^(\[[\d:]+\] )?(\S+:\d+: )?", "", first)
    return one_line(Exception(first))
