"""How good weights are: errors of every head and honesty of their error bars, on several sets of molecules."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import sources
from gapsmith.surrogate.calibration import residuals
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.metrics import mae, uncertainty
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.quantities import FORCES
from gapsmith.training.files import sha256

SETS = {"dft_geometry": "qm9", "xtb_geometry": "qm9_gfn2", "xtb": "gfn2"}  # name of a set: source of its molecules
CHUNK = 500  # molecules between two reports of progress


@dataclass
class HeadResult:
    """One head on one set of molecules, in the unit that the head declares."""

    error: np.ndarray  # (known labels,)
    sigma: np.ndarray  # (known labels,) calibrated
    target: np.ndarray  # (known labels,)
    symbol: str  # of the unit
    unit: str  # the same as in names
    interval: float  # half a 90 % interval, in sigmas

    def numbers(self) -> dict[str, Any]:
        """Errors and calibration, with the unit in the names."""
        inside = np.abs(self.error) <= self.interval * self.sigma
        return {
            "labels": len(self.error),
            f"mae_{self.unit}": mae(self.error),
            f"bias_{self.unit}": float(self.error.mean()),
            **{name.replace("_ev", f"_{self.unit}"): x for name, x in uncertainty(self.error, self.sigma).items()},
            "conformal_coverage_90": float(inside.mean()),
            f"interval_width_{self.unit}": float(2 * self.interval * self.sigma.mean()),
        }


@dataclass
class SetResult:
    """All heads on one set."""

    molecules: int
    heads: dict[str, HeadResult]
    forces_mae_ev_per_angstrom: float | None
    out_of_distribution_share: float
    molecules_per_s: float

    def numbers(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "molecules": self.molecules,
            "molecules_per_s": self.molecules_per_s,
            "out_of_distribution_share": self.out_of_distribution_share,
            "heads": {name: head.numbers() for name, head in self.heads.items()},
        }
        if self.forces_mae_ev_per_angstrom is not None:
            found["heads"][FORCES] = {"mae_ev_per_angstrom": self.forces_mae_ev_per_angstrom}
        return found


@dataclass
class Evaluation:
    """What was found."""

    split: str
    provenance: dict[str, Any]
    sets: dict[str, SetResult] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.provenance, "sets": {name: found.numbers() for name, found in self.sets.items()}}


Progress = Callable[[str, int, int], None]  # set, molecules done, of how many


def evaluate(
    weights: Path,
    split: str = "test",
    limit: int | None = None,
    *,
    device: str = "cpu",
    labels: Mapping[str, Molecules] = MappingProxyType({}),
    on_progress: Progress = lambda name, done, of: None,
) -> Evaluation:
    """Measure weights.

    Args:
        weights: a network or a deep ensemble.
        split: of QM9; sets at other geometries are what is cached of that split.
        limit: molecules of a set, the first ones.
        device: where to compute.
        labels: DFT labels of campaigns by the title of their level of theory, each a set of its own.
        on_progress: told how far it is.

    Raises:
        CheckpointError: the weights cannot be used.
        DataError: QM9 is missing.
    """
    predictor = Predictor.load(weights, device=device)
    provenance = {
        "weights_sha256": sha256(weights),
        "split": split,
        "threads": torch.get_num_threads(),
        "device": device,
    }
    result = Evaluation(split, provenance)
    for name, source in SETS.items():
        molecules = sources.load(source, split, seen=predictor.sees_electronic)
        if molecules is not None and set(molecules.labelled()) & set(predictor.model.names):
            result.sets[name] = measure(predictor, molecules, limit, partial(on_progress, name))
    for level, labelled in labels.items():
        name = f"campaigns, {level}"
        seen = labelled.seen() if predictor.sees_electronic else labelled
        result.sets[name] = measure(predictor, seen, None, partial(on_progress, name))
    return result


def measure(
    predictor: Predictor, molecules: Molecules, limit: int | None, on_progress: Callable[[int, int], None]
) -> SetResult:
    """All heads of which the molecules have labels."""
    if limit is not None:
        molecules = molecules.take(np.arange(min(limit, len(molecules))))
    labelled = [name for name in predictor.model.names if name in molecules.labelled()]
    wanted = [name for name in labelled if name != FORCES]
    calibration, config = predictor.calibration, predictor.config
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {name: [] for name in wanted}
    distances, force_errors, seconds = [], [], 0.0
    for first in range(0, len(molecules), CHUNK):
        part = molecules.take(np.arange(first, min(first + CHUNK, len(molecules))))
        started = time.perf_counter()
        predicted = predict_molecules(predictor.models, part, device=predictor.device, wanted=wanted)
        seconds += time.perf_counter() - started
        distances.append(calibration.distances(predicted.latent))
        for name in wanted:
            error, sigma = residuals(predicted, part, name)
            unit = config.heads[name].known_unit.in_base
            target = _labels(part, name)
            found[name].append((error / unit, calibration.calibrated(sigma, name) / unit, target / unit))
        if FORCES in labelled:
            forces = predict_molecules(predictor.models, part, device=predictor.device, wanted=[FORCES]).mean[FORCES]
            force_errors.append(np.abs(forces - part.labels[FORCES]).ravel())
        on_progress(first + len(part), len(molecules))
    heads = {
        name: HeadResult(
            *_columns(chunks), config.heads[name].unit, config.heads[name].known_unit.suffix, calibration.interval[name]
        )
        for name, chunks in found.items()
    }
    return SetResult(
        molecules=len(molecules),
        heads=heads,
        forces_mae_ev_per_angstrom=float(np.concatenate(force_errors).mean()) if force_errors else None,
        out_of_distribution_share=float((np.concatenate(distances) > calibration.ood_threshold).mean()),
        molecules_per_s=len(molecules) / seconds,
    )


def _labels(part: Molecules, name: str) -> np.ndarray:
    values = part.labels[name]
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)


def _columns(chunks: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    error, sigma, target = (np.concatenate(column) for column in zip(*chunks, strict=True))
    return error, sigma, target


def table(found: Evaluation) -> list[str]:
    """One line a head, one block a set."""
    lines = []
    for name, one in found.sets.items():
        rate, share = f"{one.molecules_per_s:.0f} molecules/s", f"{one.out_of_distribution_share:.1%}"
        lines += ["", f"{name}: {one.molecules} molecules, {rate}, {share} out of distribution"]
        lines.append(
            f"{'head':<20}{'unit':<12}{'MAE':>9}{'NLL':>8}{'CRPS':>9}{'ENCE':>7}{'area':>7}{'rank':>7}{'90 %':>8}{'width':>9}"
        )
        for head, result in one.heads.items():
            x, unit = result.numbers(), result.unit
            lines.append(
                f"{head:<20}{result.symbol:<12}{x[f'mae_{unit}']:>9.4f}{x['nll']:>8.2f}{x[f'crps_{unit}']:>9.4f}{x['ence']:>7.3f}"
                f"{x['miscalibration_area']:>7.3f}{x['spearman_sigma_error']:>7.2f}{x['conformal_coverage_90']:>8.1%}"
                f"{x[f'interval_width_{unit}']:>9.3f}"
            )
        if one.forces_mae_ev_per_angstrom is not None:
            lines.append(f"{'gfn2_forces':<20}{'eV/angstrom':<12}{one.forces_mae_ev_per_angstrom:>6.4f}")
    return lines
