"""Running a Triton on a model repository: the one from a wheel, one on PATH, or Docker's; watched until it stops.

``start`` gives a ``Server`` whose models all answer; ``check_machine`` says whether this machine could run one, and
``require_free_ports`` whether its ports can be had.
"""

from slipway_serving.checks import Check
from slipway_serving.machine import check_machine
from slipway_serving.options import ServeOptions
from slipway_serving.server import Server, require_free_ports, start

__all__ = ["Check", "ServeOptions", "Server", "check_machine", "require_free_ports", "start"]
