"""Gap, its standard deviation and whether the network knows such molecules, from a weights file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.surrogate.calibration import distances
from gapsmith.surrogate.data import from_geometries
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.network import GapNetwork
from gapsmith.surrogate.trainable import KIND, build
from gapsmith.training.checkpoint import load_weights, read_card

SHIPPED = Path(__file__).parent / "weights" / "surrogate-0.safetensors"

Geometry = tuple[np.ndarray, np.ndarray]  # (atoms,) atomic numbers, (atoms, 3) angstrom


@dataclass(frozen=True)
class Prediction:
    """Predictions in the order of the molecules."""

    mean_ev: np.ndarray  # (molecules,) float64, the gap
    std_ev: np.ndarray  # (molecules,) float64, calibrated on QM9's validation split
    homo_ev: np.ndarray  # (molecules,) float64
    distance: np.ndarray  # (molecules,) float64, from the training data in latent space, about one inside
    out_of_distribution: np.ndarray  # (molecules,) bool: farther than 99 % of the validation split

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.mean_ev)


class Predictor:
    """A network ready to predict."""

    def __init__(self, model: GapNetwork, *, device: str = "cpu") -> None:
        self.model = model.eval()
        self.device = device

    @classmethod
    def load(cls, weights: Path = SHIPPED, *, device: str = "cpu") -> "Predictor":
        """Load weights after checking their card; raises CheckpointError if anything about them is wrong."""
        card = read_card(weights, kind=KIND)
        try:
            model = build(card["config"])
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{weights}: its card describes no network of this version: {error}") from error
        load_weights(model, weights)
        return cls(model.to(device), device=device)

    def predict(self, geometries: Sequence[Geometry]) -> Prediction:
        """Predict the gap at GFN2-xTB or DFT geometries.

        Raises:
            InputError: elements the network does not know, coordinates that are not finite, atoms that coincide.
        """
        predicted = predict_molecules(self.model, from_geometries(geometries), device=self.device)
        distance = distances(self.model, predicted.latent)
        return Prediction(
            mean_ev=predicted.gap_ev,
            std_ev=predicted.gap_std_ev,
            homo_ev=predicted.homo_ev,
            distance=distance,
            out_of_distribution=distance > float(self.model.ood_threshold),
        )
