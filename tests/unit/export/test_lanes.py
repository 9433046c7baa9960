"""The decoder's two lanes: in order, in turns, and no further than somebody waits."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from slipway_core.images import ImageSpec
from slipway_export.image_model.decoding import Preparation, opened
from slipway_export.image_model.lanes import Lanes, Outcome

HOW = Preparation.from_json(ImageSpec(height=2, width=2, channels=1).model_dump_json())
TURN = len(os.sched_getaffinity(0))


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(HOW)
    yield lanes
    lanes.close()


def image(value: int, *, cut_off: bool = False) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 64), value, np.uint8)).save(stream, "BMP")
    return opened(stream.getvalue()[: 2000 if cut_off else None], HOW)


def values(outcome: Outcome) -> list[int]:
    assert isinstance(outcome, list)
    return [int(pixels[0, 0, 0]) for pixels in outcome]


def in_turns(lanes: Lanes, images: list[Image.Image], given_up: Callable[[], bool] = lambda: False) -> Outcome:
    return asyncio.run(lanes.in_turns(images, given_up))


def test_images_come_back_in_order_on_both_lanes(lanes: Lanes) -> None:
    numbers = list(range(3 * TURN + 1))
    assert values(in_turns(lanes, [image(number) for number in numbers])) == numbers
    requests = [[image(number)] for number in numbers]
    assert [values(outcome) for outcome in lanes.at_once(requests)] == [[number] for number in numbers]


def test_a_refused_image_is_counted_within_its_request_whatever_the_turn(lanes: Lanes) -> None:
    images = [*(image(1) for _ in range(2 * TURN)), image(1, cut_off=True)]
    assert in_turns(lanes, images) == f"image {2 * TURN}: the file is cut off"
    fine, refused = lanes.at_once([[image(1)], [image(2), image(3, cut_off=True)]])
    assert (values(fine), refused) == ([1], "image 1: the file is cut off")


def test_nothing_more_is_decoded_for_a_caller_who_has_gone(lanes: Lanes) -> None:
    answers = iter([False, True])
    broken = image(1, cut_off=True)  # in the second turn: it would be refused if it were decoded
    assert in_turns(lanes, [*(image(1) for _ in range(TURN)), broken], lambda: next(answers)) == (
        "the request was cancelled"
    )


def test_a_request_with_many_images_takes_turns_with_another(lanes: Lanes) -> None:
    done: list[str] = []

    async def ask(name: str, count: int) -> None:
        await lanes.in_turns([image(1) for _ in range(count)], lambda: False)
        done.append(name)

    async def both() -> None:
        await asyncio.gather(ask("many", 40 * TURN), ask("one", 1))

    asyncio.run(both())
    assert done == ["one", "many"]
