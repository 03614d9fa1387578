"""Predictions of a network for many molecules, batched by atoms."""

from dataclasses import dataclass

import numpy as np
import torch

from gapsmith.surrogate.data import Molecules
from gapsmith.surrogate.network import GapNetwork

ATOMS_PER_BATCH = 1500


@dataclass(frozen=True)
class Predicted:
    """What the ensemble says, in the order of the molecules."""

    homo_ev: np.ndarray  # (molecules,) float64
    gap_ev: np.ndarray  # (molecules,) float64, mean over the members
    gap_std_ev: np.ndarray  # (molecules,) float64, members' spread and noise together, recalibrated
    latent: np.ndarray  # (molecules, latent) float32


@torch.no_grad()
def predict_molecules(model: GapNetwork, molecules: Molecules, *, device: str = "cpu") -> Predicted:
    """Predict all molecules, largest together with largest."""
    training = model.training
    model.eval()
    order = np.argsort(molecules.sizes, kind="stable")
    homo, gap, std = (np.zeros(len(molecules)) for _ in range(3))
    latent = np.zeros((len(molecules), model.config.latent), dtype=np.float32)
    start = 0
    while start < len(order):
        filled = np.cumsum(molecules.sizes[order[start:]])
        chosen = order[start : start + max(1, int(np.searchsorted(filled, ATOMS_PER_BATCH, side="right")))]
        start += len(chosen)
        batch = molecules.take(chosen).batch(np.ones((len(chosen), 1), np.float32), device)
        output = model(batch.numbers, batch.coordinates, batch.molecule, len(batch))
        variance = output.log_variance.double().exp().mean(1) + output.gap_ev.double().var(1, unbiased=False)
        homo[chosen] = output.homo_ev.double().mean(1).cpu().numpy()
        gap[chosen] = output.gap_ev.double().mean(1).cpu().numpy()
        std[chosen] = (variance.sqrt() * model.sigma_scale).cpu().numpy()
        latent[chosen] = output.latent.cpu().numpy()
    model.train(training)
    return Predicted(homo, gap, std, latent)
