"""slipway: from a trained model to a served, verified, measured endpoint on NVIDIA Triton.

Applications import :class:`Client` (or :class:`AsyncClient`) from here; people type ``slipway``.
"""

from slipway_client import AsyncClient, Client
from slipway_core.errors import SlipwayError

__all__ = ["AsyncClient", "Client", "SlipwayError"]
