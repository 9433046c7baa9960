"""The first requests of ``slipway up``, and the lines to paste."""

from __future__ import annotations

import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from slipway import show
from slipway_core.card import ModelCard
from slipway_core.errors import CannotServe, InferenceFailed
from slipway_core.rows import FEATURES_TENSOR, is_one_tensor

TIMEOUT_S = 30.0
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class FirstRequest:
    """One real request to one model, as a person would send it with curl."""

    model: str
    path: str
    body: bytes
    content_type: str
    curl: str

    def send(self, address: str) -> dict[str, Any]:
        """The frontend's answer.

        Raises :class:`InferenceFailed` with its error, or when it takes too long, and :class:`CannotServe` when there
        is no frontend.
        """
        request = urllib.request.Request(
            f"http://{address}{self.path}", data=self.body, headers={"Content-Type": self.content_type}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as e:
            raise InferenceFailed(self.model, f"the frontend answered {e.code}: {e.read().decode()}") from None
        except TimeoutError:
            raise InferenceFailed(self.model, f"no answer within {TIMEOUT_S:g} s") from None
        except OSError as e:
            raise CannotServe(f"the frontend does not answer ({e})", "see its lines above") from None


def greet(cards: Iterable[ModelCard], address: str) -> None:
    """Ask each model once; print the answers, what failed, and lines to paste for those that answered.

    Raises :class:`CannotServe` when no frontend is there.
    """
    requests: list[str] = []
    raw_requests: list[str] = []
    for card in cards:
        try:
            request = first_request(card, address)
            if request is None:
                show.note(f"{card.name}: not asked, its card names no example (or its samples are gone)")
                continue
            answer = request.send(address)
        except InferenceFailed as e:
            show.note(str(e))
            continue
        prediction = answer["predictions"][0]
        show.line(f"{card.name}/{answer['version']} answers: {prediction.get('label', prediction.get('value'))}")
        requests.append(request.curl)
        if raw := raw_curl(card, address):
            raw_requests.append(raw)
    if requests:
        show.line("\nTry these:")
    for paste in requests + raw_requests:
        show.line(f"  {paste}")


def first_request(card: ModelCard, address: str) -> FirstRequest | None:
    """A request made of the card's examples, or of a real sample image; None where there is no example.

    Raises :class:`InferenceFailed` for a sample that cannot be read.
    """
    if card.image is not None:
        return _image_request(card, address)
    if any(feature.example is None for feature in card.inputs):
        return None
    body = json.dumps({"rows": [{feature.name: feature.example for feature in card.inputs}]})
    path = f"/v1/models/{card.name}/predict"
    curl = f"curl -s http://{address}{path} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    return FirstRequest(card.name, path, body.encode(), "application/json", curl)


def _image_request(card: ModelCard, address: str) -> FirstRequest | None:
    try:
        picture = _sample_picture(card)
        content = picture.read_bytes() if picture else b""
    except (OSError, ValueError, LookupError, TypeError, BadZipFile) as e:
        raise InferenceFailed(card.name, f"no image can be taken from {card.source.samples} ({e})") from None
    if picture is None:
        return None
    path = f"/v1/models/{card.name}/classify"
    curl = f"curl -s http://{address}{path} -F file=@{shlex.quote(str(picture))}"
    return FirstRequest(card.name, path, content, "application/octet-stream", curl)


def _sample_picture(card: ModelCard) -> Path | None:
    """The first image of the samples: a file of their folder, or written as PNG beside their arrays."""
    samples = card.source.samples
    if samples is not None and samples.is_dir():
        return min((file for file in samples.iterdir() if file.suffix.lower() in _PICTURES), default=None)
    if samples is None or not samples.is_file():
        return None
    picture = samples.with_name("sample.png")
    if not picture.is_file() or picture.stat().st_mtime < samples.stat().st_mtime:
        import numpy as np
        from PIL import Image

        with np.load(samples, allow_pickle=False) as arrays:
            pixels = arrays["inputs"][0]
        Image.fromarray(pixels.squeeze()).save(picture)
    return picture


def raw_curl(card: ModelCard, address: str) -> str | None:
    """The Open Inference Protocol's way to ask a tabular model, for pasting."""
    examples = [feature.example for feature in card.inputs]
    if not is_one_tensor(card.inputs) or not examples or None in examples:
        return None
    tensor = {"name": FEATURES_TENSOR, "shape": [1, len(examples)], "datatype": "FP32", "data": examples}
    return f"curl -s http://{address}/v2/models/{card.name}/infer -d {shlex.quote(json.dumps({'inputs': [tensor]}))}"
