"""After training: factors on the standard deviations, conformal intervals, and a distance in latent space."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from gapsmith.surrogate import data, sources
from gapsmith.surrogate.data import Molecules
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, QUANTITIES

REFERENCE = 4000  # training molecules that span the latent space
VALIDATION = 4000  # validation molecules of a source: one half sets the scale, to a few percent, one the intervals
OOD_QUANTILE = 0.99  # of the validation split's distances
LEVEL: Final = 0.9  # of the intervals
GAUSSIAN: Final = 1.6448536269514722  # half a 90 % interval of a Gaussian, in standard deviations


@dataclass(frozen=True)
class Calibration:
    """What turns an ensemble's raw output into error bars and flags."""

    sigma_scale: dict[str, float]  # by head: factor on the standard deviation
    interval: dict[str, float]  # by head: half a 90 % interval in calibrated standard deviations
    latent_mean: np.ndarray  # (latent,) float64
    latent_whitening: np.ndarray  # (latent, latent) float64
    ood_threshold: float

    @classmethod
    def of(cls, model: SurrogateNetwork) -> "Calibration":
        """What a network carries with it."""
        return cls(
            dict(zip(model.names, model.sigma_scale.tolist(), strict=True)),
            dict(zip(model.names, model.interval.tolist(), strict=True)),
            model.latent_mean.cpu().numpy(),
            model.latent_whitening.cpu().numpy(),
            float(model.ood_threshold),
        )

    @torch.no_grad()
    def store(self, model: SurrogateNetwork) -> None:
        """Let a network carry it."""
        model.sigma_scale.copy_(torch.tensor([self.sigma_scale[name] for name in model.names], dtype=torch.float64))
        model.interval.copy_(torch.tensor([self.interval[name] for name in model.names], dtype=torch.float64))
        model.latent_mean.copy_(torch.from_numpy(self.latent_mean))
        model.latent_whitening.copy_(torch.from_numpy(self.latent_whitening))
        model.ood_threshold.fill_(self.ood_threshold)

    def std(self, predicted: Predicted, name: str) -> np.ndarray:
        """Calibrated standard deviations of a head, base unit."""
        return predicted.std[name] * self.sigma_scale[name]

    def distances(self, latent: np.ndarray) -> np.ndarray:
        """(molecules,) Mahalanobis distance to the training data over its root mean square there, about one inside."""
        white = (latent - self.latent_mean) @ self.latent_whitening
        return np.asarray(np.sqrt((white**2).mean(1)))


def scale_of(error: np.ndarray, sigma: np.ndarray) -> float:
    """The factor on sigma that maximises the Gaussian likelihood of the errors: the root mean square of z."""
    return float(np.sqrt(np.mean((error / sigma) ** 2)))


def conformal_quantile(error: np.ndarray, sigma: np.ndarray, level: float = LEVEL) -> float:
    """Half an interval in sigmas that holds a new error with at least ``level`` probability, whatever the distribution.

    Split conformal prediction with normalised residuals (Lei et al., JASA 2018; Papadopoulos et al., ECML 2002). Libraries
    do this too, but bring pandas or scikit-learn along to where models are trained, for one order statistic; the number
    must go into the checkpoint in any case.
    """
    score = np.sort(np.abs(error) / sigma)
    rank = math.ceil((len(score) + 1) * level)
    return float(score[rank - 1]) if rank <= len(score) else float("inf")


def whitening(latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and matrix (d, d) after which the latents have unit covariance, tiny directions floored."""
    mean = latent.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(latent.astype(np.float64), rowvar=False))
    return mean, vectors / np.sqrt(np.maximum(values, 1e-4 * max(values.max(), 1e-12)))


def residuals(predicted: Predicted, molecules: Molecules, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Errors and raw sigmas of a head where labels are known, base unit."""
    if QUANTITIES[name].level == "graph":
        target = molecules.target(name)
    elif molecules.charges is not None:
        target = molecules.charges.astype(np.float64)
    else:
        return np.zeros(0), np.zeros(0)
    known = np.isfinite(target)
    return (predicted.mean[name] - target)[known], predicted.std[name][known]


def fit(
    models: Sequence[SurrogateNetwork], labels: Molecules | None = None, *, device: str = "cpu", most: int = VALIDATION
) -> tuple[Calibration, dict[str, Any]]:
    """Fit on validation data of every source of the first network and on labels; the latent distance on QM9's training split.

    Args:
        models: an ensemble.
        labels: of a campaign, to count in for the gap.
        device: where the networks are.
        most: molecules of each set at most.

    Returns:
        The calibration, and what goes into the model's card.
    """
    config, names = models[0].config, [name for name in models[0].names if name != FORCES]
    training = data.base_split("train")
    reference = training.take(np.arange(min(REFERENCE, most, len(training))))
    mean, matrix = whitening(predict_molecules(models, reference, device=device, wanted=("gap",)).latent)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    latents = []
    for source in config.sources:
        own = [name for name in names if source in config.heads[name].sources]
        molecules = sources.load(source, "validation")
        if molecules is None or not own:
            continue
        molecules = molecules.take(np.arange(min(most, len(molecules))))
        predicted = predict_molecules(models, molecules, device=device, wanted=own)
        latents.append(predicted.latent)
        for name in own:
            found[name].append(residuals(predicted, molecules, name))
    card: dict[str, Any] = {}
    scales = {name: scale_of(*_even(pairs)) for name, pairs in found.items() if _rows(pairs)}
    if labels is not None and len(labels) > 0:
        predicted = predict_molecules(models, labels, device=device)
        card["sigma_scale_validation"], own_residuals = scales.get("gap"), residuals(predicted, labels, "gap")
        card["sigma_scale_labels"] = scale_of(*own_residuals)
        error, sigma = _even(found["gap"])
        scales["gap"] = scale_of(*(np.concatenate(pair) for pair in zip((error, sigma), own_residuals, strict=True)))
    intervals = {
        name: conformal_quantile(error, sigma * scales[name])
        for name, pairs in found.items()
        if _rows(pairs)
        for error, sigma in [_odd(pairs)]
    }
    calibration = Calibration(
        {name: scales.get(name, 1.0) for name in models[0].names},
        {name: intervals.get(name, GAUSSIAN) for name in models[0].names},
        mean,
        matrix,
        float("inf"),
    )
    threshold = float(np.quantile(calibration.distances(np.concatenate(latents)), OOD_QUANTILE)) if latents else np.inf
    calibration = Calibration(calibration.sigma_scale, calibration.interval, mean, matrix, threshold)
    return calibration, {**card, "sigma_scale": scales, "interval_90": intervals, "ood_threshold": threshold}


def calibrate(model: SurrogateNetwork, labels: Molecules | None = None, most: int = VALIDATION) -> dict[str, Any]:
    """Fit one network's calibration and let it carry it; returns what goes into its card."""
    calibration, card = fit([model], labels, device=str(next(model.parameters()).device), most=most)
    calibration.store(model)
    return card


def _rows(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    return sum(len(error) for error, _ in pairs)


def _even(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([e[::2] for e, _ in pairs]), np.concatenate([s[::2] for _, s in pairs])


def _odd(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([e[1::2] for e, _ in pairs]), np.concatenate([s[1::2] for _, s in pairs])


def as_tensors(calibration: Calibration) -> Mapping[str, torch.Tensor]:
    """For a checkpoint of its own, as deep ensembles have."""
    names = list(calibration.sigma_scale)
    return {
        "sigma_scale": torch.tensor([calibration.sigma_scale[name] for name in names], dtype=torch.float64),
        "interval": torch.tensor([calibration.interval[name] for name in names], dtype=torch.float64),
        "latent_mean": torch.from_numpy(calibration.latent_mean),
        "latent_whitening": torch.from_numpy(calibration.latent_whitening),
        "ood_threshold": torch.tensor(calibration.ood_threshold, dtype=torch.float64),
    }


def from_tensors(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> Calibration:
    """Inverse of ``as_tensors``; ``names`` are the heads in the network's order."""
    return Calibration(
        dict(zip(names, tensors["sigma_scale"].tolist(), strict=True)),
        dict(zip(names, tensors["interval"].tolist(), strict=True)),
        tensors["latent_mean"].numpy(),
        tensors["latent_whitening"].numpy(),
        float(tensors["ood_threshold"]),
    )
