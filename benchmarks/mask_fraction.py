"""Exploration against exploitation: what a larger mask does to novelty, similarity to the lead, and spread of the gap."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.identity import Identity, identify, tanimoto, unpack_fingerprints
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError, InvalidMolecule
from gapsmith.core.xtb import relax
from gapsmith.data import qm9
from gapsmith.data.known import in_qm9
from gapsmith.generator.generator import Generator
from gapsmith.surrogate.predictor import Predictor

LEADS = 8
ATTEMPTS = 32  # for each fraction, leads in turn
HEAVY_ATOMS = 9
FRACTIONS = tuple(atoms / HEAVY_ATOMS for atoms in range(HEAVY_ATOMS + 1))  # an atom more each time
SEED = 0
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "mask-fraction.png"
GREEN, GREY = "#0b6e4f", "#7f8c9a"


def measure() -> dict[str, Any]:
    """Some molecules of QM9 that neither model learned from, grown again with every mask fraction; draws the picture too.

    Gaps are the surrogate's, at GFN2-xTB geometries; no property is wanted.
    """
    generator, predictor = Generator.load(), Predictor.load()
    leads = _leads()
    parents = [lead for lead, _ in leads]
    identities = [identity for _, identity in leads]
    own_gap = _gaps(predictor, parents)
    rows = []
    for fraction in FRACTIONS:
        sampled = generator.regrow(parents, ATTEMPTS, fraction, None, SEED)
        results = []
        for molecule, parent in zip(sampled.molecules, sampled.parents, strict=True):
            assert parent is not None
            try:
                results.append((molecule, parent, identify(to_rdkit(molecule))))
            except InvalidMolecule:
                continue
        gaps = _gaps(predictor, [molecule for molecule, _, _ in results])
        rows.append(
            {
                "mask_fraction": fraction,
                "valid": len(results) / sampled.attempts,
                **_statistics([(parent, identity) for _, parent, identity in results], identities),
                **_spread([parent for _, parent, _ in results], gaps, own_gap),
            }
        )
    _draw(rows)
    return {
        "leads": [identity.smiles for identity in identities],
        "attempts_per_fraction": ATTEMPTS,
        "weights_sha256": generator.card["sha256"],
        "rows": [{name: round(value, 4) for name, value in row.items()} for row in rows],
    }


def _leads() -> list[tuple[Molecule, Identity]]:
    """Molecules of the test sets of both models, each with bonds."""
    data = qm9.load()
    unseen = np.intersect1d(qm9.split(len(data))["test"], qm9.edm_halves(len(data))["test"])
    found: list[tuple[Molecule, Identity]] = []
    for index in np.random.default_rng(SEED).permutation(unseen):
        atoms = data.atoms(int(index))
        numbers = data.numbers[atoms]
        if (numbers > 1).sum() != HEAVY_ATOMS:
            continue
        try:
            molecule = perceive_bonds(numbers, data.coordinates[atoms].astype(np.float64))
            found.append((molecule, identify(to_rdkit(molecule))))
        except InvalidMolecule:
            continue
        if len(found) == LEADS:
            break
    return found


def _gaps(predictor: Predictor, molecules: list[Molecule]) -> np.ndarray:
    """Predicted gap after relaxation, (molecules,) eV; nan for what does not relax."""
    gaps = np.full(len(molecules), np.nan)
    relaxed = {}
    for place, molecule in enumerate(molecules):
        try:
            relaxed[place] = (molecule.numbers, relax(molecule.numbers, molecule.coordinates).coordinates)
        except CalculationError:
            continue
    if relaxed:
        gaps[list(relaxed)] = predictor.predict(list(relaxed.values())).mean_ev
    return gaps


def _statistics(results: list[tuple[int, Identity]], leads: list[Identity]) -> dict[str, float]:
    """Shares of the valid results, and their mean Tanimoto similarity to the lead (Morgan, radius 2)."""
    similarity = [
        tanimoto(one.fingerprint, unpack_fingerprints([leads[parent].fingerprint]))[0] for parent, one in results
    ]
    keys = {one.inchikey for _, one in results}
    return {
        "changed": float(np.mean([one.inchikey != leads[parent].inchikey for parent, one in results])),
        "distinct": len(keys) / len(results),
        "novel": sum(not in_qm9(key) for key in keys) / len(keys),
        "similarity": float(np.mean(similarity)),
    }


def _spread(parents: list[int], gaps: np.ndarray, own_gap: np.ndarray) -> dict[str, float]:
    """Standard deviation of the gap among the results of one lead, pooled; mean distance from the lead's own gap."""
    groups = defaultdict(list)
    for parent, gap in zip(parents, gaps, strict=True):
        if np.isfinite(gap):
            groups[parent].append(gap)
    squares = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups.values())
    freedom = sum(len(group) - 1 for group in groups.values())
    shifts = [abs(gap - own_gap[parent]) for parent, group in groups.items() for gap in group]
    return {
        "gap_std_ev": (squares / max(freedom, 1)) ** 0.5,
        "gap_shift_ev": float(np.nanmean(shifts)),
        "relaxed": float(np.isfinite(gaps).mean()),
    }


def _draw(rows: list[dict[str, float]]) -> None:
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _plot(
        left,
        rows,
        {"novel": "not in QM9, of the different ones", "distinct": "different from each other", "valid": "valid"},
    )
    left.set(title="Results", ylabel="share", ylim=(-0.03, 1.03))
    _plot(middle, rows, {"similarity": "to the lead"})
    middle.set(title="Similarity", ylabel="Tanimoto, Morgan fingerprints", ylim=(-0.03, 1.03))
    _plot(right, rows, {"gap_std_ev": "deviation among one lead's results", "gap_shift_ev": "distance from the lead"})
    right.set(title="Predicted gap", ylabel="eV")
    right.set_ylim(bottom=-0.03)
    figure.suptitle(f"The mask as a knob: {LEADS} molecules of QM9's test set, each with a part grown again")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def _plot(axes: Axes, rows: list[dict[str, float]], lines: dict[str, str]) -> None:
    for (name, label), color, style in zip(lines.items(), (GREEN, GREY, GREY), ("-", "-", ":"), strict=False):
        axes.plot([row["mask_fraction"] for row in rows], [row[name] for row in rows], style, color=color, label=label)
    axes.set_xlabel("mask fraction: share of the heavy atoms grown again")
    axes.legend(frameon=False)
