"""The parts of the digits recipe: statistics of images, augmentation, reproducible fitting, the exported file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slipway_core.baseline import image_statistics
from slipway_training import SilentProgress
from slipway_training.digits.augment import Augmentation, augmented
from slipway_training.digits.fit import Images, Settings, fit, reproducible
from slipway_training.digits.pt2_file import BatchNotDynamic, logits_of, pt2_bytes
from slipway_training.evaluation import accuracy_interval, metrics_of
from support.training import Remembered


def test_image_statistics_are_shares_from_0_to_1() -> None:
    images = np.zeros((3, 8, 8, 1), dtype=np.uint8)
    images[1] = 255
    images[2, :4] = 255
    found = image_statistics(images)
    assert found["brightness"].tolist() == [0, 1, 0.5]
    assert found["contrast"].tolist() == [0, 0, 0.5]
    assert found["ink"].tolist() == [0, 1, 0.5]


@pytest.mark.parametrize(("black", "white"), [(-1.0, 1.0), (0.0, 1.0), (-0.4, 2.8)])
def test_augmented_images_stay_between_black_and_white_and_black_comes_in_at_the_edges(
    black: float, white: float
) -> None:
    images = torch.full((16, 1, 8, 8), white)
    how = Augmentation(smallest=0.5, largest=0.5, shift=0.0, rotation_deg=0.0, noise=0.0, gain=0.0)
    changed = augmented(images, how, torch.Generator().manual_seed(1), black, white)
    assert torch.allclose(changed[:, :, 0, :], torch.tensor(black))
    assert torch.allclose(changed[:, :, 3:5, 3:5], torch.tensor(white))
    noisy = augmented(images, Augmentation(noise=0.5), torch.Generator().manual_seed(1), black, white)
    assert noisy.min() >= black - 1e-6
    assert noisy.max() <= white + 1e-6


def some_images(count: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 10)


def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads() -> None:
    found: list[dict[str, Tensor]] = []
    before = torch.get_num_threads()
    try:
        for threads, seed in ((1, 3), (4, 3), (1, 4)):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            with reproducible(seed):
                fitted = fit(
                    some_images(100), some_images(20), (0.0, 1.0), Settings(most_epochs=1), seed, SilentProgress()
                )
            assert torch.get_num_threads() == threads
            assert not torch.are_deterministic_algorithms_enabled()
            found.append(fitted.net.state_dict())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not all(torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_it_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best_epoch() -> None:
    # The validation images bear other labels: whatever is learnt makes them worse.
    told = Remembered()
    how = Settings(most_epochs=40, patience=3)
    train = some_images(200)
    with reproducible(0):
        fitted = fit(train, Images(train.inputs, (train.targets + 1) % 10), (0.0, 1.0), how, 0, told)
    losses = [epoch.validation_loss for epoch in fitted.history]
    assert fitted.best_epoch == losses.index(min(losses)) + 1
    assert len(losses) == fitted.best_epoch + 3 < 40
    assert told.tasks == [("training", 40)]
    assert len(told.steps) == len(losses)


class Fixed(nn.Module):
    """A net whose author had two images in mind."""

    def forward(self, image: Tensor) -> Tensor:
        return image.reshape(2, 64)


def test_a_net_without_a_dynamic_batch_is_not_written() -> None:
    with pytest.raises(BatchNotDynamic, match="does not export with a dynamic batch"):
        pt2_bytes(Fixed().eval(), torch.rand(8, 1, 8, 8))


def test_the_exported_file_answers_like_the_net_at_any_batch() -> None:
    with reproducible(0):
        net = fit(some_images(40), some_images(20), (0.0, 1.0), Settings(most_epochs=1), 0, SilentProgress()).net
    program = pt2_bytes(net, torch.rand(5, 1, 8, 8))
    for size in (1, 3, 100):
        images = torch.rand(size, 1, 8, 8)
        with torch.no_grad():
            assert torch.allclose(logits_of(program, images), net(images), atol=1e-5)


def test_metrics_are_the_classes_plain_means_and_a_class_never_predicted_has_precision_0() -> None:
    metrics = metrics_of(("a", "b", "c"), np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]))
    assert metrics.accuracy == 0.5
    assert metrics.confusion == ((1, 1, 0), (0, 1, 0), (0, 1, 0))
    assert metrics.per_class["c"].model_dump() == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert metrics.recall == pytest.approx((0.5 + 1 + 0) / 3)
    assert metrics.precision == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_the_accuracy_interval_narrows_with_the_rows() -> None:
    assert accuracy_interval(1.0, 30) == pytest.approx((0.8865, 1.0), abs=1e-4)
    assert accuracy_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
