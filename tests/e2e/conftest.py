"""One whole stack for all end-to-end tests: trained, exported and served from an empty folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``slipway up`` from an empty folder, with the example cards, on free ports."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
