"""One real embedded Triton for all integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.triton import RunningTriton, publish_doubler, start_triton


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """An embedded Triton on free ports. It serves ``doubler``; publish into its ``repository`` and load by name."""
    repository = tmp_path_factory.mktemp("repository")
    publish_doubler(repository)
    with start_triton(repository) as running:
        yield running
