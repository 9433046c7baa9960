"""Trained models become versions in a Triton model repository: converted, compared with their source, published."""

from slipway_export.activate import activate
from slipway_export.exporting import Published, export, is_current
from slipway_export.live import live_versions
from slipway_export.progress import Progress

__all__ = ["Progress", "Published", "activate", "export", "is_current", "live_versions"]
