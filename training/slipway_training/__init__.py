"""Recipes: data in, a trained and evaluated model out, as files that export reads.

``train`` runs one of ``RECIPES`` for a card. Importing this package loads none of the numerical libraries.
"""

from slipway_training.progress import ConsoleProgress, Progress, SilentProgress
from slipway_training.recipes import RECIPES, Job, Recipe, Trained, train

__all__ = [
    "RECIPES",
    "ConsoleProgress",
    "Job",
    "Progress",
    "Recipe",
    "SilentProgress",
    "Trained",
    "train",
]
