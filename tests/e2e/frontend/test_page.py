"""The page in a real headless Chromium: a person fills in a flower, uploads a digit, and reads what comes back."""

from __future__ import annotations

import re
import shlex
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from struct import pack

import pytest
from playwright.sync_api import Browser, Page, expect

from slipway_client import FakeModel, FakeTransport
from slipway_core.card import ModelCard
from support.frontend import fake_triton, frontend


def png(width: int, height: int, gray: int) -> bytes:
    """A real gray PNG of one shade."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + bytes([gray]) * width) * height
    header = pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def upload(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def url(triton: FakeTransport) -> Iterator[str]:
    with frontend(triton) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, opened; it must load nothing from elsewhere and report no fault of its own."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(url)
    expect(page.locator("#state")).to_have_attribute("data-ready", "true")
    yield page
    context.close()
    assert faults == []
    assert [address for address in elsewhere if not address.startswith((url, "blob:", "data:"))] == []


def choose(page: Page, model: str) -> None:
    page.get_by_role("button", name=model).click()
    expect(page.get_by_role("heading", name=model, exact=True)).to_be_visible()


def run(curl: str, folder: Path) -> str:
    """What the line on the page prints when it is pasted into a shell."""
    done = subprocess.run(shlex.split(curl), cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def test_a_flower_is_filled_in_and_named(page: Page, tmp_path: Path) -> None:
    choose(page, "iris")
    page.get_by_label("petal_length").fill("6.1")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text("virginica")
    expect(page.locator(".bars .chosen")).to_contain_text("96.0 %")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text("setosa")
    expect(page.locator(".bars tr")).to_have_count(3)
    expect(page.locator(".meta")).to_contain_text(re.compile(r"version 1 · \d+ ms · request [0-9a-f]{32}"))
    assert '"label":"setosa"' in run(page.locator("#curl").inner_text(), tmp_path)


def test_units_and_examples_come_from_the_card(page: Page) -> None:
    choose(page, "iris")
    expect(page.locator(".with-unit span")).to_have_text(["cm"] * 4)
    expect(page.get_by_label("sepal_width")).to_have_value("3.5")


def test_digits_are_uploaded_shown_and_read(page: Page, tmp_path: Path) -> None:
    choose(page, "digits")
    images = [png(8, 8, 200), png(640, 480, 90)]
    page.set_input_files("input[type=file]", [upload(f"it's {at}.png", image) for at, image in enumerate(images)])
    expect(page.locator(".thumbs img")).to_have_count(2)
    expect(page.locator(".thumbs img.tiny")).to_have_count(1)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".answer .file")).to_have_text(["it's 0.png", "it's 1.png"])
    expect(page.locator(".answer .label")).to_have_text([str(len(image) % 10) for image in images])
    expect(page.locator(".answer .picture img")).to_have_count(2)
    for at, image in enumerate(images):
        (tmp_path / f"it's {at}.png").write_bytes(image)
    assert run(page.locator("#curl").inner_text(), tmp_path).count('"label"') > 2


def test_a_file_that_is_no_image_is_told_readably(page: Page) -> None:
    choose(page, "digits")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose at least one image file first.")
    page.set_input_files("input[type=file]", [upload("notes.png", b"some text")])
    expect(page.locator(".picture.unreadable")).to_have_count(1)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("notes.png: not an image that can be decoded")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"request [0-9a-f]{32}"))


def test_a_missing_value_is_told_readably(page: Page) -> None:
    choose(page, "iris")
    page.get_by_label("sepal_width").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("row 0: feature 'sepal_width' is missing")


def test_a_triton_that_goes_away_is_told_readably(page: Page, triton: FakeTransport) -> None:
    choose(page, "iris")
    triton.down = True
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("Triton is not reachable")
    page.reload()
    expect(page.locator("#state")).to_have_text("not ready")
    expect(page.get_by_role("alert")).to_contain_text("Triton is not reachable")


def test_names_of_a_model_can_never_become_markup(page: Page, triton: FakeTransport) -> None:
    evil = "<img src=x onerror=alert(1)>"
    card = ModelCard.from_mapping(
        {
            "name": "evil",
            "task": "regression",
            "description": evil,
            "source": {"kind": "sklearn", "path": "x"},
            "inputs": [
                {"name": evil, "unit": evil, "datatype": "BYTES", "example": evil},
                {"name": "sunny", "datatype": "BOOL", "example": True},
                {"name": "rooms", "datatype": "INT32", "example": 3, "optional": True, "description": "how many"},
            ],
            "output": {"unit": evil},
        }
    )
    triton.models["evil"] = FakeModel.of_card(card, lambda tensors: {"value": tensors["rooms"] * 1.5})
    page.reload()
    choose(page, "evil")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text(f"4.5 {evil}")
    expect(page.locator("main img")).to_have_count(0)


def test_a_version_can_be_chosen(page: Page, triton: FakeTransport) -> None:
    triton.models["iris"] = replace(triton.models["iris"], versions=("1", "2"))
    page.reload()
    choose(page, "iris")
    page.get_by_label("Version").select_option("1")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".meta")).to_contain_text("version 1 ·")
    assert "predict?version=1" in page.locator("#curl").inner_text()


def test_the_theme_follows_the_system_and_is_kept_when_changed(page: Page) -> None:
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="switch between light and dark").click()
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


def test_a_narrow_screen_needs_no_sideways_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    choose(page, "iris")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text("setosa")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_documentation_of_the_routes_works_offline(page: Page) -> None:
    page.get_by_role("link", name="API").click()
    expect(page.locator(".opblock-summary-path").first).to_contain_text("/v1/models/{model}/predict")
