"""A process of its own that opens a ``.cbm`` file first: a damaged one can end the process inside the library.

Run as ``python catboost_child.py model.cbm trees.json``. It writes the library's own description of the trees, and has
the model answer once. Of a model that takes more than numbers there is no such description, and none is written.
"""

from __future__ import annotations

import sys
from typing import Any

import catboost
import numpy as np


def main(source: str, described: str) -> None:
    model = catboost.CatBoost()
    model.load_model(source)
    others: tuple[Any, ...] = (
        model.get_cat_feature_indices(),
        model.get_text_feature_indices(),
        model.get_embedding_feature_indices(),
    )
    if any(len(indices) for indices in others):
        return
    model.save_model(described, format="json")
    model.predict(np.zeros((1, len(model.feature_names_ or ())), np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
