"""The page of a whole running stack: models that were trained, exported and served for real."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from support.stack import Stack


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://{stack.frontend}/")
    yield page
    context.close()


def test_a_filled_in_flower_is_a_setosa(page: Page) -> None:
    page.get_by_role("button", name="iris").click()
    for name, value in {"sepal_length": 5.0, "sepal_width": 3.4, "petal_length": 1.5, "petal_width": 0.2}.items():
        page.get_by_label(name).fill(str(value))
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text("setosa")


def test_an_uploaded_digit_is_read_as_the_command_line_read_it(page: Page, stack: Stack) -> None:
    expected = re.search(r"^digits/1 answers: (\d)$", stack.said, re.M)
    assert expected
    page.get_by_role("button", name="digits").click()
    page.set_input_files("input[type=file]", stack.folder / "artifacts" / "digits" / "sample.png")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".label")).to_have_text(expected.group(1))
    expect(page.locator(".bars .chosen")).to_contain_text("%")
