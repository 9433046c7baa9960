"""Fits the net: augmented batches, an average of its weights, and a stop when that no longer improves."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from slipway_training.digits.augment import Augmentation, augmented
from slipway_training.digits.net import DigitNet
from slipway_training.progress import Progress


@dataclass(frozen=True)
class Settings:
    """How long and how fast. ``patience`` is in epochs without a smaller validation loss."""

    most_epochs: int = 60
    patience: int = 12
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    averaging: float = 0.98
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Epoch:
    """What one pass gave: mean loss on augmented training batches; loss and accuracy of the averaged weights on the
    validation images as they are."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Images:
    """Normalised images ``[n, 1, h, w]`` and their targets ``[n]``."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Fitted:
    """``net`` holds the averaged weights of ``best_epoch``, which counts from 1, and is in evaluation mode."""

    net: nn.Module
    history: tuple[Epoch, ...]
    best_epoch: int


@contextmanager
def reproducible(seed: int) -> Generator[None]:
    """Inside, torch draws from ``seed``, uses deterministic algorithms and one thread; afterwards it is as before.

    One thread, because how many add up a sum decides its last digits: the same run on a machine with more cores
    would end elsewhere. The net is so small that a second one gains little.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


def fit(
    train: Images, validation: Images, tones: tuple[float, float], how: Settings, seed: int, progress: Progress
) -> Fitted:
    """Train a new net until its validation loss has not fallen for ``patience`` epochs, and take the best one.

    ``tones`` are the normalised values of black and white. Call it inside :func:`reproducible`.
    """
    lesson = _Lesson(train, tones, how, seed)
    history: list[Epoch] = []
    best, best_epoch = lesson.averaged, 0
    progress.begin("training", how.most_epochs)
    while len(history) < how.most_epochs and len(history) - best_epoch < how.patience:
        train_loss = lesson.one_epoch()
        history.append(Epoch(train_loss, *_validated(lesson.averaged, validation)))
        if best_epoch == 0 or history[-1].validation_loss < history[best_epoch - 1].validation_loss:
            best, best_epoch = copy.deepcopy(lesson.averaged), len(history)
        progress.step(f"validation loss {history[-1].validation_loss:.4f}, {history[-1].validation_accuracy:.2%}")
    progress.end(f"best after {best_epoch} epochs, stopped after {len(history)}")
    return Fitted(best.eval(), tuple(history), best_epoch)


class _Lesson:
    """A net, the running average of its weights, and what drives them."""

    def __init__(self, train: Images, tones: tuple[float, float], how: Settings, seed: int) -> None:
        self._train, self._tones, self._how = train, tones, how
        self._generator = torch.Generator().manual_seed(seed)
        self._net = DigitNet(classes=int(train.targets.max()) + 1)
        averaging = get_ema_multi_avg_fn(how.averaging)
        self._average = AveragedModel(self._net, multi_avg_fn=averaging, use_buffers=True)
        self._optimizer = torch.optim.AdamW(self._net.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)

    @property
    def averaged(self) -> nn.Module:
        """The net with the averaged weights."""
        return self._average.module

    def one_epoch(self) -> float:
        """One pass over the training images in a new order; the mean loss."""
        self._net.train()
        targets, total = self._train.targets, 0.0
        for rows in torch.randperm(len(targets), generator=self._generator).split(self._how.batch):
            inputs = self._train.inputs[rows]
            images = augmented(inputs, self._how.augmentation, self._generator, *self._tones)
            logits = self._net(images)
            loss = F.cross_entropy(logits, targets[rows], label_smoothing=self._how.label_smoothing)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._average.update_parameters(self._net)
            total += loss.item() * len(rows)
        return total / len(targets)


def _validated(net: nn.Module, validation: Images) -> tuple[float, float]:
    net.eval()
    with torch.no_grad():
        logits = net(validation.inputs)
    right = (logits.argmax(dim=1) == validation.targets).float().mean()
    return F.cross_entropy(logits, validation.targets).item(), right.item()
