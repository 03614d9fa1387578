"""A network measured on molecules with labels."""

import numpy as np

from gapsmith.core.units import base_unit
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.calibration import Calibration, residuals
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import quantity


def evaluated(model: SurrogateNetwork, molecules: Molecules, device: str) -> dict[str, float]:
    """``summary`` of what a network says of molecules."""
    known = [name for name in molecules.labelled() if name in model.names]
    return summary(predict_molecules([model], molecules, device=device, wanted=known), Calibration.of(model), molecules)


def summary(predicted: Predicted, calibration: Calibration, molecules: Molecules) -> dict[str, float]:
    """Errors in base units and NLL of every head; quantities that no molecule has are left out."""
    out = {}
    for name in predicted.std:
        error, sigma = residuals(predicted, molecules, name)
        if len(error) == 0:
            continue
        suffix = base_unit(quantity(name).dimension).suffix
        out[f"{name}_mae_{suffix}"] = float(np.abs(error).mean())
        sigma = calibration.calibrated(sigma, name)
        out[f"{name}_rmse_{suffix}"] = float(np.sqrt((error**2).mean()))
        out[f"{name}_nll"] = float((0.5 * np.log(2 * np.pi * sigma**2) + 0.5 * (error / sigma) ** 2).mean())
    return out
