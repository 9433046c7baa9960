"""``python -m slipway`` is the command ``slipway``."""

from slipway.command import main

main()
