"""The front half of an image model: files that export copies into ``<model>/<n>/`` and Triton's python backend runs.

``model.py``, ``lanes.py`` and ``decoding.py`` import numpy, Pillow and Triton's own module, and nothing of slipway.
"""

__all__: list[str] = []
