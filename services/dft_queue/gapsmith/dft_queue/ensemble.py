"""The conformers of a molecule, where a level asks for them: the lowest, and Boltzmann averages over all.

1. RDKit embeds three times as many geometries as are wanted; MMFF94s relaxes them; the lowest are taken, and the one given.
2. GFN2-xTB relaxes these, each to a minimum. What is there twice, has other bonds, or lies above the window is left
   out.
3. The level computes a single point at each, if there are several. The lowest of these energies decides which conformer the
   result is of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core import properties
from gapsmith.core.chemistry.conformers import distinct, starts
from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.chemistry.geometry import rearranged
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode, InvalidMolecule
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import HARTREE_TO_KCAL
from gapsmith.core.xtb import Relaxed, relax
from gapsmith.dft_queue.engines.protocol import Engine
from gapsmith.dft_queue.engines.tblite_engine import solvent_of
from gapsmith.dft_queue.jobs import CalculationInput, ComputedConformer, Ensemble

TEMPERATURE_K: Final = 298.15
GAS_CONSTANT_KCAL: Final = 1.987204259e-3  # kcal / (mol K)
TOLD_EV: Final = 0.1  # range of the gap over the conformers, from which on a finding tells of it
FILE: Final = "conformers.xyz"


@dataclass(frozen=True)
class Searched:
    """What came of a search."""

    positions: np.ndarray  # (atoms, 3), angstrom, of the lowest
    ensemble: Ensemble
    values: Mapping[str, float | None]
    findings: tuple[str, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    geometry: Relaxed
    images: int  # mirror images that are different


def search(job: CalculationInput, engine: Engine, folder: Path, *, memory_mb: int) -> Searched:
    """Find the conformers of a molecule and the lowest of them.

    Raises:
        CalculationError: chemistry; no conformer can be relaxed and computed.
        OSError: the file of conformers cannot be written.
    """
    assert job.level.conformers is not None  # or there is no search
    findings: tuple[str, ...] = ()
    embedded, found = 0, [job.positions]
    try:
        molecule = job.molecule()
        embedded, more = starts(molecule, job.level.conformers.most)
        found += more
        relaxed = _relaxed(job, found)
        energies = [one.energy_hartree * HARTREE_TO_KCAL for one in relaxed]
        kept = [
            _Candidate(relaxed[one.place], one.images)
            for one in distinct(molecule, [one.coordinates for one in relaxed], energies)
        ]
    except InvalidMolecule as error:
        findings = (f"conformers were not searched for, and the result is of the geometry given: {error.detail}",)
        kept = [_Candidate(one, 1) for one in _relaxed(job, found[:1])]
    lowest = kept[0].geometry.energy_hartree
    limit = lowest + job.level.conformers.window_kcal / HARTREE_TO_KCAL
    kept = [one for one in kept if one.geometry.energy_hartree <= limit][: job.level.conformers.most]
    print(f"conformers: {embedded} embedded, {len(found)} relaxed, {len(kept)} to compute", flush=True)
    ordered, ensemble = _computed(job, engine, kept, folder, embedded, len(found), memory_mb)
    best = ordered[0].geometry
    (folder / FILE).write_text("".join(_frames(job, ordered, ensemble)), encoding="ascii")
    return Searched(
        best.coordinates,
        ensemble,
        {"lowest_wavenumber_cm1": best.lowest_wavenumber_cm1},
        (*findings, *_told(ensemble)),
        (FILE,),
    )


def _relaxed(job: CalculationInput, found: list[np.ndarray]) -> list[Relaxed]:
    """GFN2-xTB minima with the bonds of the geometry that was given; the first is that of the geometry itself."""
    numbers, out, first = np.array(job.numbers), [], None
    solvent = solvent_of(job.level) if job.level.engine == "tblite" else None
    for positions in found:
        try:
            one = relax(numbers, positions, charge=job.charge, spin=job.spin, solvent=solvent)
        except CalculationError as error:
            first = first or error
            continue
        if not rearranged(numbers, positions, one.coordinates):
            out.append(one)
    if not out:
        reason = "every conformer rearranged while it was relaxed"
        raise first or CalculationError(FailureClass.CHEMISTRY, reason, FailureCode.RELAXATION)
    return out


def single_point(level: LevelOfTheory) -> LevelOfTheory:
    """What is computed of every conformer: energies, and properties that a mean can be taken of."""
    averaged = {asked for one in properties.registered().values() for asked in one.asks}
    kept = tuple(one for one in level.properties if one in averaged)
    return level.model_copy(
        update={"conformers": None, "relaxation": (), "minimum": False, "stability": False, "properties": kept}
    )


def _computed(
    job: CalculationInput,
    engine: Engine,
    kept: list[_Candidate],
    folder: Path,
    embedded: int,
    relaxed: int,
    memory_mb: int,
) -> tuple[list[_Candidate], Ensemble]:
    """Candidates ordered by their energies at the level, and the ensemble."""
    lean = job.model_copy(update={"level": single_point(job.level)})
    results: list[tuple[float, _Candidate, dict[str, float]]] = []
    if len(kept) == 1:  # what is computed of it afterwards is enough
        results.append((0.0, kept[0], {}))
    for number, one in enumerate(kept if len(kept) > 1 else [], start=1):
        print(f"conformer {number} of {len(kept)}", flush=True)
        try:
            values: Mapping[str, Any] = (
                engine.surface(lean, memory_mb).properties(one.geometry.coordinates, folder).values
            )
        except CalculationError as error:
            if number == len(kept) and not results:
                raise
            print(f"left out: {error.reason}", flush=True)
            continue
        results.append((float(values["energy_hartree"]), one, properties.computed(values)))
    results.sort(key=lambda result: result[0])
    above = (np.array([energy for energy, _, _ in results]) - results[0][0]) * HARTREE_TO_KCAL
    weights = np.exp(-above / (GAS_CONSTANT_KCAL * TEMPERATURE_K)) * [one.images for _, one, _ in results]
    weights /= weights.sum()
    names = set.intersection(*(set(values) for _, _, values in results))
    columns = {
        name: np.array([values[name] for _, _, values in results]) for name in properties.registered() if name in names
    }
    mean = {name: float(weights @ column) for name, column in columns.items()}
    ensemble = Ensemble(
        embedded=embedded,
        relaxed=relaxed,
        temperature_k=TEMPERATURE_K,
        conformers=tuple(
            ComputedConformer(energy_kcal=float(energy), weight=float(weight), values=values)
            for energy, weight, (_, _, values) in zip(above, weights, results, strict=True)
        ),
        mean=mean,
        deviation={name: float(np.sqrt(weights @ (column - mean[name]) ** 2)) for name, column in columns.items()},
    )
    return [one for _, one, _ in results], ensemble


def _told(ensemble: Ensemble) -> list[str]:
    """A finding, if the gap depends on the conformer."""
    if "gap" not in ensemble.mean:
        return []
    low, high = ensemble.range("gap")
    if high - low < TOLD_EV:
        return []
    return [
        f"the gap depends on the conformer: {low:.2f} to {high:.2f} eV over {len(ensemble.conformers)} conformers within "
        f"{ensemble.conformers[-1].energy_kcal:.1f} kcal/mol; the lowest has {ensemble.conformers[0].values['gap']:.2f}, the "
        f"Boltzmann mean at {ensemble.temperature_k:g} K is {ensemble.mean['gap']:.2f} ± {ensemble.deviation['gap']:.2f}"
    ]


def _frames(job: CalculationInput, ordered: list[_Candidate], ensemble: Ensemble) -> list[str]:
    """Frames of an XYZ file, the lowest first."""
    out = []
    for number, (one, known) in enumerate(zip(ordered, ensemble.conformers, strict=True), start=1):
        rows = zip(job.numbers, one.geometry.coordinates.tolist(), strict=True)
        out.append(
            f"{len(job.numbers)}\nconformer={number} energy_kcal={known.energy_kcal:.4f} weight={known.weight:.4f}\n"
            + "".join(f"{SYMBOLS[atom]} {x:.8f} {y:.8f} {z:.8f}\n" for atom, (x, y, z) in rows)
        )
    return out
