"""The HTTP gateway: predictions by feature name, images, the Open Inference Protocol, health and a page."""

from slipway_frontend.app import create_app
from slipway_frontend.server import run
from slipway_frontend.settings import Settings

__all__ = ["Settings", "create_app", "run"]
