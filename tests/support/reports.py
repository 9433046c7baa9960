"""Reads a training report as a browser would, as far as tests need it."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


class Report(HTMLParser):
    """The report's words, its pictures and whatever it would fetch from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words, self.alts, self.fetched = "", [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.alts.append(given["alt"])
            head, _, content = (given["src"] or "").partition(",")
            assert head == "data:image/png;base64"
            assert base64.b64decode(content).startswith(PNG)
        elif "src" in given or "href" in given:
            self.fetched.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data
