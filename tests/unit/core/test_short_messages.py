"""What somebody sent is shown in an error, and never at any length."""

from __future__ import annotations

import pytest

from slipway_core.card import Feature
from slipway_core.errors import InvalidValue, UnknownFeature
from slipway_core.rows import rows_to_tensors

FEATURES = (Feature(name="length"), Feature(name="width"))


def test_a_very_long_feature_name_is_shortened() -> None:
    with pytest.raises(UnknownFeature) as caught:
        rows_to_tensors(FEATURES, [{"x" * 100_000: 1, "length": 1, "width": 2}])
    assert str(caught.value) == f"row 0: unknown feature '{'x' * 56}...; the model's features are length, width"


def test_a_very_long_value_is_shortened() -> None:
    with pytest.raises(InvalidValue) as caught:
        rows_to_tensors(FEATURES, [{"length": "x" * 100_000, "width": 2}])
    assert str(caught.value) == f"row 0: feature 'length' must be a finite number, got '{'x' * 56}..."
