"""A prediction that is not a number is an error, not a value."""

from typing import Any

import numpy as np
import pytest

from gapsmith.core.errors import CheckpointError
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.predictor import Predictor

METHANE = (
    np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    np.array([[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]]),
)


@pytest.mark.parametrize("part", ["mean", "std"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_an_error(monkeypatch: pytest.MonkeyPatch, part: str, value: float) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        found = predict_molecules(*arguments, **options)
        getattr(found, part)["gap"][0] = value
        return found

    loaded = Predictor.load()
    assert np.isfinite(loaded.predict([METHANE]).mean_ev).all()
    monkeypatch.setattr("gapsmith.surrogate.predictor.predict_molecules", broken)
    with pytest.raises(CheckpointError, match="predicts gap with 1 values that are not finite"):
        loaded.predict([METHANE])
