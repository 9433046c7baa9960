"""How the suite is spread over two processes."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByFile(LoadScopeScheduling):
    """A file's tests stay in one process, and all that use the whole stack do: it is trained and started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        alone = file.startswith("tests/e2e/packaging/") or file == "tests/e2e/test_real_model.py"
        return "stack" if file.startswith("tests/e2e/") and not alone else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Use it whatever ``--dist`` says."""
    return ByFile(config, log)
