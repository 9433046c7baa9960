"""Query parameters."""

from __future__ import annotations

from difflib import get_close_matches

from starlette.requests import Request

from slipway_core.errors import InvalidInput


def refuse_unknown(request: Request, *known: str) -> None:
    """Raise :class:`InvalidInput` for a query parameter that the route would ignore."""
    if not request.scope["query_string"]:
        return
    for name in request.query_params:
        if name not in known:
            close = get_close_matches(name[:60], known, n=1, cutoff=0.5)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise InvalidInput(f"unknown query parameter {name[:60]!r}; {meant}this route takes {', '.join(known)}")
