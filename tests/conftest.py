"""How the suite is spread over two processes."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and all that need the whole stack: it is trained and started once."""
    for item in items:
        fixtures: tuple[str, ...] = getattr(item, "fixturenames", ())
        group = "stack" if "stack" in fixtures else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
