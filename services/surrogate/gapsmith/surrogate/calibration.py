"""After training: recalibrated standard deviations, conformal intervals, and which molecules are unlike the training data.

A molecule is unlike the training data if it is far from them in latent space, or if the network differs much from its
contrast. Such molecules have conformal intervals of their own (Mondrian: Vovk, Gammerman and Shafer, Algorithmic Learning in
a Random World, 2005).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import sources
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity

REFERENCE = 4000  # training molecules that span the latent space
VALIDATION = 4000  # validation molecules of a source: one half sets the scale, to a few percent, one the intervals
OOD_QUANTILE = 0.97  # of the validation split's distances and differences
LEAST_STRATUM = 30  # errors of a source in a stratum for which the stratum's interval holds
LEAST_LARGE = 500  # errors of a source that is large enough for one half of it to set the scale
NEWTON_STEPS = 50
PRIOR = 10.0
SPLITS: Final = ("train", "validation")
LEVEL: Final = 0.9  # of the intervals


@dataclass(frozen=True)
class Calibration:
    """What turns an ensemble's raw output into error bars and flags."""

    sigma_scale: dict[str, float]  # by head: calibrated standard deviation = scale * raw ** power, base unit
    sigma_power: dict[str, float]  # by head
    interval: dict[str, tuple[float, float]]  # by head: half a 90 % interval in calibrated standard deviations, where a
    # molecule is like and where it is unlike the training data
    latent_mean: np.ndarray  # (latent,) float64
    latent_whitening: np.ndarray  # (latent, latent) float64
    ood_threshold: float  # of the distance
    difference_threshold: float  # of the gap from the contrast's, eV

    @classmethod
    def of(cls, model: SurrogateNetwork) -> "Calibration":
        """What a network carries with it."""
        return cls(
            dict(zip(model.names, model.sigma_scale.tolist(), strict=True)),
            dict(zip(model.names, model.sigma_power.tolist(), strict=True)),
            {name: (like, unlike) for name, (like, unlike) in zip(model.names, model.interval.tolist(), strict=True)},
            model.latent_mean.cpu().numpy(),
            model.latent_whitening.cpu().numpy(),
            float(model.ood_threshold),
            float(model.difference_threshold),
        )

    @torch.no_grad()
    def store(self, model: SurrogateNetwork) -> None:
        """Let a network carry it."""
        model.sigma_scale.copy_(torch.tensor([self.sigma_scale[name] for name in model.names], dtype=torch.float64))
        model.sigma_power.copy_(torch.tensor([self.sigma_power[name] for name in model.names], dtype=torch.float64))
        model.interval.copy_(torch.tensor([self.interval[name] for name in model.names], dtype=torch.float64))
        model.latent_mean.copy_(torch.from_numpy(self.latent_mean))
        model.latent_whitening.copy_(torch.from_numpy(self.latent_whitening))
        model.ood_threshold.fill_(self.ood_threshold)
        model.difference_threshold.fill_(self.difference_threshold)

    def std(self, predicted: Predicted, name: str) -> np.ndarray:
        """Calibrated standard deviations of a head, base unit."""
        return self.calibrated(predicted.std[name], name)

    def calibrated(self, sigma: np.ndarray, name: str) -> np.ndarray:
        """Calibrated standard deviations out of raw ones of a head, base unit."""
        return np.asarray(self.sigma_scale[name] * sigma ** self.sigma_power[name])

    def distances(self, latent: np.ndarray) -> np.ndarray:
        """(molecules,) Mahalanobis distance to the training data over its root mean square there, about one inside."""
        white = (latent - self.latent_mean) @ self.latent_whitening
        return np.asarray(np.sqrt((white**2).mean(1)))

    def unlike(self, predicted: Predicted) -> np.ndarray:
        """(molecules,) bool: unlike the training data; all of which nothing is known are."""
        far = ~(self.distances(predicted.latent) <= self.ood_threshold)
        return np.asarray(far | (predicted.difference > self.difference_threshold))

    def half(self, predicted: Predicted, name: str, unlike: np.ndarray) -> np.ndarray:
        """Half the 90 % intervals of a head, base unit; ``unlike`` in the rows of the head."""
        return self.std(predicted, name) * np.where(unlike, *reversed(self.interval[name]))


class Recalibration(NamedTuple):
    """Calibrated standard deviation = scale * raw ** power."""

    scale: float
    power: float

    def __call__(self, sigma: np.ndarray) -> np.ndarray:
        """Calibrated out of raw."""
        return np.asarray(self.scale * sigma**self.power)


def recalibration(error: np.ndarray, sigma: np.ndarray) -> Recalibration:
    """The scale and the power that maximise the Gaussian likelihood of the errors.

    A power away from one says that an ensemble exaggerates, or plays down, how much its errors differ between molecules. A
    prior that is worth ``PRIOR`` errors keeps it near one where there are few. The negative log likelihood is convex in
    log scale and power, so Newton's method finds the one minimum.
    """
    x = np.log(sigma)
    centre, spread = float(x.mean()), float(x.std())
    if spread < 1e-6:  # all alike: only the scale can be known
        return Recalibration(float(np.sqrt(np.mean((error / sigma) ** 2))), 1.0)
    basis = np.stack([np.ones_like(x), (x - centre) / spread])  # (2, errors)
    squared = np.maximum(error**2, 1e-12 * np.mean(sigma**2))  # no error at all has no best scale
    found = np.array([0.5 * np.log(np.mean(squared)), 0.0])
    prior = np.array([0.0, PRIOR / spread**2])
    for _ in range(NEWTON_STEPS):
        weighted = squared * np.exp(-2 * (found @ basis))  # squared z
        gradient = basis @ (1 - weighted) + prior * (found - spread)
        step = np.linalg.solve(2 * (basis * weighted) @ basis.T + np.diag(prior + 1e-9), gradient)
        found = found - step * min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
    power = float(found[1] / spread)
    return Recalibration(float(np.exp(found[0] - power * centre)), power)


class Errors(NamedTuple):
    """Errors of a head whose labels are known, base unit."""

    error: np.ndarray
    sigma: np.ndarray  # uncalibrated
    unlike: np.ndarray  # bool: of molecules unlike the training data


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
    known = labelled(molecules, name)
    if not known.any():
        return np.zeros(0), np.zeros(0)
    target = molecules.labels[name].astype(np.float64)
    return (predicted.mean[name] - target)[known], predicted.std[name][known]


def labelled(molecules: Molecules, name: str) -> np.ndarray:
    """(molecules,) or (atoms,) bool: where a head's label is known."""
    if name not in molecules.labels:
        return np.zeros(len(molecules), bool)
    return np.asarray(np.isfinite(molecules.labels[name]))


def in_rows(of_molecules: np.ndarray, molecules: Molecules, name: str) -> np.ndarray:
    """What is known of molecules, for each row of a head: molecules or atoms."""
    return of_molecules if quantity(name).kind == "graph" else np.repeat(of_molecules, molecules.sizes)


def fit(
    models: Sequence[SurrogateNetwork],
    labels: Molecules | None = None,
    *,
    device: str = "cpu",
    most: int = VALIDATION,
    splits: tuple[str, str] = SPLITS,
) -> tuple[Calibration, dict[str, Any]]:
    """Fit on validation data of the first network's sources and on labels; the latent distance on training data.

    Args:
        models: an ensemble.
        labels: of a campaign, to count in for the gap.
        device: where the networks are.
        most: molecules of each set at most.
        splits: of the sources, to train on and to fit on.

    Returns:
        The calibration, and what goes into the model's card.
    """
    config, names = models[0].config, [name for name in models[0].names if name != FORCES]
    training = sources.main(config, splits[0])
    reference = training.take(np.arange(min(REFERENCE, most, len(training))))
    mean, matrix = whitening(predict_molecules(models, reference, device=device, wanted=("gap",)).latent)
    sets: list[tuple[list[str], Molecules, Predicted]] = []
    for source in config.sources:
        own = [name for name in names if source in config.heads[name].sources]
        if not own or (molecules := sources.load_if_there(source, splits[1], seen=config.trunk.electronic)) is None:
            continue
        molecules = molecules.take(np.arange(min(most, len(molecules))))
        sets.append((own, molecules, predict_molecules(models, molecules, device=device, wanted=own)))
    limits = _limits(mean, matrix, [predicted for _, _, predicted in sets])
    found: dict[str, list[Errors]] = {name: [] for name in names}
    for own, molecules, predicted in sets:
        unlike = limits.unlike(predicted)
        for name in own:
            rows = in_rows(unlike, molecules, name)[labelled(molecules, name)]
            found[name].append(Errors(*residuals(predicted, molecules, name), rows))
    card: dict[str, Any] = {}
    known = {name: pairs for name, pairs in found.items() if sum(len(one.error) for one in pairs)}
    curves = {name: recalibration(*_joined(_for_scale(pairs))[:2]) for name, pairs in known.items()}
    if labels is not None and "gap" in labels.labelled():
        predicted = predict_molecules(models, labels, device=device)
        own_error, own_sigma = residuals(predicted, labels, "gap")
        if "gap" in curves:
            card["rms_z_of_labels_before"] = float(np.sqrt(np.mean((own_error / curves["gap"](own_sigma)) ** 2)))
        error, sigma, _ = _joined(_for_scale(found["gap"]))
        curves["gap"] = recalibration(np.concatenate([error, own_error]), np.concatenate([sigma, own_sigma]))
        card["rms_z_of_labels"] = float(np.sqrt(np.mean((own_error / curves["gap"](own_sigma)) ** 2)))
    intervals = {name: stratified(_for_intervals(pairs), curves[name]) for name, pairs in known.items()}
    before = Calibration.of(models[0])  # stays of heads whose data are not there any more
    calibration = replace(
        limits,
        sigma_scale={name: curves[name].scale if name in curves else one for name, one in before.sigma_scale.items()},
        sigma_power={name: curves[name].power if name in curves else one for name, one in before.sigma_power.items()},
        interval={name: intervals.get(name, one) for name, one in before.interval.items()},
    )
    return calibration, {
        **card,
        "sigma_scale": {name: curve.scale for name, curve in curves.items()},
        "sigma_power": {name: curve.power for name, curve in curves.items()},
        "interval_90": {name: list(interval) for name, interval in intervals.items()},
        "ood_threshold": limits.ood_threshold,
        "difference_threshold_ev": limits.difference_threshold,
    }


def calibrate(
    model: SurrogateNetwork,
    labels: Molecules | None = None,
    most: int = VALIDATION,
    splits: tuple[str, str] = SPLITS,
) -> dict[str, Any]:
    """Fit one network's calibration and let it carry it; returns what goes into its card."""
    device = str(next(model.parameters()).device)
    calibration, card = fit([model], labels, device=device, most=most, splits=splits)
    calibration.store(model)
    return card


def _limits(mean: np.ndarray, matrix: np.ndarray, validation: Sequence[Predicted]) -> Calibration:
    """Thresholds that few molecules of the validation split exceed, in a calibration that has nothing else yet."""
    inf = float("inf")
    empty = Calibration({}, {}, {}, mean, matrix, inf, inf)
    if not validation:
        return empty
    distances = np.concatenate([empty.distances(predicted.latent) for predicted in validation])
    differences = np.concatenate([predicted.difference for predicted in validation])
    return replace(
        empty,
        ood_threshold=float(np.quantile(distances, OOD_QUANTILE)),
        difference_threshold=float(np.quantile(differences, OOD_QUANTILE)) if differences.any() else inf,
    )


def stratified(sources: Sequence[Errors], curve: Recalibration) -> tuple[float, float]:
    """Half a 90 % interval in calibrated sigmas, of molecules like and unlike the training data.

    Each holds for every source that has enough errors in that stratum. If none has, it is that of all errors together, and
    that of molecules unlike the training data is not less than the other.
    """

    def half(unlike: bool) -> float | None:
        parts = [Errors(*(array[one.unlike == unlike] for array in one)) for one in sources]
        enough = [one for one in parts if len(one.error) >= LEAST_STRATUM]
        return max((conformal_quantile(one.error, curve(one.sigma)) for one in enough), default=None)

    everything = _joined(sources)
    of_all = conformal_quantile(everything.error, curve(everything.sigma))
    like, unlike = half(False), half(True)
    like = of_all if like is None else like
    return like, max(like, of_all) if unlike is None else unlike


def _for_scale(sources: Sequence[Errors]) -> list[Errors]:
    """Half of every large source, or of every source if none is large."""
    return [_every_second(one, 0) for one in _large(sources) or sources]


def _for_intervals(sources: Sequence[Errors]) -> list[Errors]:
    """What did not set the scale."""
    halves = _large(sources) or sources
    return [_every_second(one, 1) if any(one is other for other in halves) else one for one in sources]


def _large(sources: Sequence[Errors]) -> list[Errors]:
    return [one for one in sources if len(one.error) >= LEAST_LARGE]


def _every_second(one: Errors, first: int) -> Errors:
    return Errors(*(array[first::2] for array in one))


def _joined(sources: Sequence[Errors]) -> Errors:
    return Errors(*(np.concatenate(arrays) for arrays in zip(*sources, strict=True)))


def as_tensors(calibration: Calibration) -> Mapping[str, torch.Tensor]:
    """For a checkpoint of its own, as deep ensembles have."""
    names = list(calibration.sigma_scale)
    return {
        "sigma_scale": torch.tensor([calibration.sigma_scale[name] for name in names], dtype=torch.float64),
        "sigma_power": torch.tensor([calibration.sigma_power[name] for name in names], dtype=torch.float64),
        "interval": torch.tensor([calibration.interval[name] for name in names], dtype=torch.float64),
        "latent_mean": torch.from_numpy(calibration.latent_mean),
        "latent_whitening": torch.from_numpy(calibration.latent_whitening),
        "ood_threshold": torch.tensor(calibration.ood_threshold, dtype=torch.float64),
        "difference_threshold": torch.tensor(calibration.difference_threshold, dtype=torch.float64),
    }


def from_tensors(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> Calibration:
    """Inverse of ``as_tensors``; ``names`` are the heads in the network's order."""
    return Calibration(
        dict(zip(names, tensors["sigma_scale"].tolist(), strict=True)),
        dict(zip(names, tensors["sigma_power"].tolist(), strict=True)),
        {name: (like, unlike) for name, (like, unlike) in zip(names, tensors["interval"].tolist(), strict=True)},
        tensors["latent_mean"].numpy(),
        tensors["latent_whitening"].numpy(),
        float(tensors["ood_threshold"]),
        float(tensors["difference_threshold"]),
    )
