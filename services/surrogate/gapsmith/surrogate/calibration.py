"""After training: a scale for the standard deviation and a distance in latent space."""

from typing import Any

import numpy as np
import torch

from gapsmith.surrogate import data
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.network import GapNetwork

REFERENCE = 4000  # training molecules that span the latent space
VALIDATION = 4000  # validation molecules that set the scale, to one or two percent
OOD_QUANTILE = 0.99  # of the validation split's distances


def scale_of(error: np.ndarray, sigma: np.ndarray) -> float:
    """The factor on sigma that maximises the Gaussian likelihood of the errors: the root mean square of z."""
    return float(np.sqrt(np.mean((error / sigma) ** 2)))


def whitening(latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and matrix (d, d) after which the latents have unit covariance, tiny directions floored."""
    mean = latent.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(latent.astype(np.float64), rowvar=False))
    return mean, vectors / np.sqrt(np.maximum(values, 1e-4 * values.max()))


def distances(model: GapNetwork, latent: np.ndarray) -> np.ndarray:
    """(molecules,) Mahalanobis distance to the training data over its root mean square there, about one inside."""
    white = (latent - model.latent_mean.cpu().numpy()) @ model.latent_whitening.cpu().numpy()
    return np.asarray(np.sqrt((white**2).mean(1)))


def calibrate(model: GapNetwork, labels: data.Molecules | None = None) -> dict[str, Any]:
    """Fit the scale on a part of QM9's validation split and on labels, the latent distance on the training split; in place.

    Returns:
        What goes into the model's card.
    """
    device = str(next(model.parameters()).device)
    model.sigma_scale.fill_(1.0)
    training = data.base_split("train")
    reference = training.take(np.arange(min(REFERENCE, len(training))))
    mean, matrix = whitening(predict_molecules(model, reference, device=device).latent)
    model.latent_mean.copy_(torch.from_numpy(mean))
    model.latent_whitening.copy_(torch.from_numpy(matrix))
    validation = data.base_split("validation")
    validation = validation.take(np.arange(min(VALIDATION, len(validation))))
    predicted = predict_molecules(model, validation, device=device)
    error, sigma = predicted.gap_ev - validation.targets[:, 1], predicted.gap_std_ev
    card: dict[str, Any] = {"sigma_scale_validation": scale_of(error, sigma)}
    if labels is not None and len(labels) > 0:
        own = predict_molecules(model, labels, device=device)
        own_error = own.gap_ev - labels.targets[:, 1]
        card["sigma_scale_labels"] = scale_of(own_error, own.gap_std_ev)
        error, sigma = np.concatenate([error, own_error]), np.concatenate([sigma, own.gap_std_ev])
    model.sigma_scale.fill_(scale_of(error, sigma))
    model.ood_threshold.fill_(float(np.quantile(distances(model, predicted.latent), OOD_QUANTILE)))
    return {**card, "sigma_scale": float(model.sigma_scale), "ood_threshold": float(model.ood_threshold)}
