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
from gapsmith.surrogate import electronic, sources
from gapsmith.surrogate.calibration import in_rows, labelled, residuals
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.metrics import mae, uncertainty
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.quantities import FORCES
from gapsmith.training.files import sha256

SETS = {  # name of a set: source of its molecules
    "dft_geometry": "qm9",
    "xtb_geometry": "qm9_gfn2",
    "xtb": "gfn2",
    "outside_qm9": "outside_qm9",
}
LARGE = 0.5  # an error that a chemist should have been warned of, in the head's unit
CHUNK = 500  # molecules between two reports of progress


@dataclass
class HeadResult:
    """One head on one set of molecules, in the unit that the head declares."""

    error: np.ndarray  # (known labels,)
    sigma: np.ndarray  # (known labels,) calibrated
    target: np.ndarray  # (known labels,)
    half: np.ndarray  # (known labels,) half a 90 % interval
    unlike: np.ndarray  # (known labels,) bool: flagged as unlike the training data
    symbol: str  # of the unit
    unit: str  # the same as in names

    def numbers(self) -> dict[str, Any]:
        """Errors and calibration, with the unit in the names."""
        inside = np.abs(self.error) <= self.half
        large = np.abs(self.error) > LARGE
        return {
            "labels": len(self.error),
            f"mae_{self.unit}": mae(self.error),
            f"bias_{self.unit}": float(self.error.mean()),
            **{name.replace("_ev", f"_{self.unit}"): x for name, x in uncertainty(self.error, self.sigma).items()},
            "conformal_coverage_90": float(inside.mean()),
            f"interval_width_{self.unit}": float(2 * self.half.mean()),
            f"errors_above_{LARGE}_{self.unit}": int(large.sum()),
            f"errors_above_{LARGE}_{self.unit}_flagged_or_inside": int((large & (self.unlike | inside)).sum()),
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
    more: Sequence[str] = (),
    labels: Mapping[str, Molecules] = MappingProxyType({}),
    on_progress: Progress = lambda name, done, of: None,
) -> Evaluation:
    """Measure weights.

    Args:
        weights: a network or a deep ensemble.
        split: of QM9; sets at other geometries are what is cached of that split.
        limit: molecules of a set, the first ones.
        device: where to compute.
        more: other sources, of which the same split is measured, too.
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
    if predictor.sees_electronic:
        electronic.prepare("qm9", split, limit, on_progress=partial(on_progress, "GFN2-xTB"))
    for name, source in {**SETS, **{name: name for name in more}}.items():
        molecules = sources.load(source, split, seen=predictor.sees_electronic)
        if molecules is not None and set(molecules.labelled()) & set(predictor.model.names):
            result.sets[name] = measure(predictor, molecules, limit, partial(on_progress, name))
    for level, found in labels.items():
        name = f"campaigns, {level}"
        seen = found.seen() if predictor.sees_electronic else found
        result.sets[name] = measure(predictor, seen, None, partial(on_progress, name))
    return result


def measure(
    predictor: Predictor, molecules: Molecules, limit: int | None, on_progress: Callable[[int, int], None]
) -> SetResult:
    """All heads of which the molecules have labels."""
    if limit is not None:
        molecules = molecules.take(np.arange(min(limit, len(molecules))))
    wanted = [name for name in predictor.model.names if name in molecules.labelled() and name != FORCES]
    calibration, config = predictor.calibration, predictor.config
    found: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in wanted}
    strange, force_errors, seconds = [], [], 0.0
    for first in range(0, len(molecules), CHUNK):
        part = molecules.take(np.arange(first, min(first + CHUNK, len(molecules))))
        started = time.perf_counter()
        predicted = predict_molecules(predictor.models, part, device=predictor.device, wanted=wanted)
        seconds += time.perf_counter() - started
        strange.append(unlike := calibration.unlike(predicted))
        for name in wanted:
            (error, sigma), unit = residuals(predicted, part, name), config.heads[name].known_unit.in_base
            known, rows = labelled(part, name), in_rows(unlike, part, name)
            target, half = part.labels[name].astype(np.float64)[known], calibration.half(predicted, name, rows)[known]
            columns = (error, calibration.calibrated(sigma, name), target, half)
            found[name].append((*(column / unit for column in columns), rows[known]))
        if FORCES in predictor.model.names and FORCES in molecules.labelled():
            forces = predict_molecules(predictor.models, part, device=predictor.device, wanted=[FORCES]).mean[FORCES]
            force_errors.append(np.abs(forces - part.labels[FORCES]).ravel())
        on_progress(first + len(part), len(molecules))
    heads = {}
    for name, chunks in found.items():
        error, sigma, target, half, flagged = (np.concatenate(column) for column in zip(*chunks, strict=True))
        declared = config.heads[name]
        heads[name] = HeadResult(error, sigma, target, half, flagged, declared.unit, declared.known_unit.suffix)
    return SetResult(
        molecules=len(molecules),
        heads=heads,
        forces_mae_ev_per_angstrom=float(np.concatenate(force_errors).mean()) if force_errors else None,
        out_of_distribution_share=float(np.concatenate(strange).mean()),
        molecules_per_s=len(molecules) / seconds,
    )


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
        if (gap := one.heads.get("gap")) is not None:
            numbers = gap.numbers()
            large = f"errors_above_{LARGE}_{gap.unit}"
            share = f"{numbers[f'{large}_flagged_or_inside']} of {numbers[large]}"
            lines.append(f"gap errors above {LARGE} {gap.symbol} that are flagged or inside their interval: {share}")
        if one.forces_mae_ev_per_angstrom is not None:
            lines.append(f"{'gfn2_forces':<20}{'eV/angstrom':<12}{one.forces_mae_ev_per_angstrom:>6.4f}")
    return lines
