"""Whether geometries are plausible, by PoseBusters' tests for molecules without a pocket (configuration ``mol``).

Buttenschoen et al., Chem. Sci. 15, 3130 (2024). The last test, of the internal energy, embeds fifty conformers, which can
take a minute for a caged molecule; the first four decide here wherever that is safe: see ``internal_energy``.
"""

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdinchi
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import assemble
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import UnavailableError

ENERGY: Final = "internal_energy"
FACTOR: Final = 100.0  # an energy may be so many times the mean of the relaxed conformers
CONFORMERS: Final = 50
SEED: Final = 42
FEW: Final = 4  # conformers that decide when the ratio is below half of what is allowed
TRIES: Final = 40  # to embed one of those few
CHUNK: Final = 25


@dataclass(frozen=True)
class Plausibility:
    """What PoseBusters finds."""

    passed: float  # share of all attempts that no test fails; an attempt without a molecule fails
    checked: int  # molecules that were tested: all, or a random sample of them
    tests: dict[str, float]  # share of the tested that pass each test; the energy is tested if all others are passed
    energy_unknown: float  # share of the tested for which no conformers could be embedded, so that it is not failed


def bust(
    molecules: Sequence[Molecule],
    attempts: int,
    *,
    most: int | None = None,
    seed: int = 0,
    processes: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Plausibility:
    """Test molecules.

    Args:
        molecules: with their own bonds; they need not be valid.
        attempts: how many there were, those without a molecule included.
        most: test a random sample of so many if there are more.
        seed: of the sample.
        processes: to run in; 0 is this one, whose RDKit then logs through Python. Others import the main module, as all
            processes of Python do that are not forked.
        on_progress: told how many are tested.

    Raises:
        UnavailableError: a process was killed.
    """
    chosen = np.arange(len(molecules))
    if most is not None and len(molecules) > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(molecules))[:most])
    sample = [molecules[int(i)] for i in chosen]
    bare = [Molecule(one.numbers, one.coordinates, one.charges, one.bonds) for one in sample]
    chunks = [bare[i : i + CHUNK] for i in range(0, len(bare), CHUNK)]
    rows: list[dict[str, bool | None]] = []
    for part in _in_processes(chunks, processes) if processes and chunks else map(verdicts, chunks):
        rows.extend(part)
        on_progress(len(rows))
    passed = sum(False not in row.values() for row in rows)
    names = list(rows[0]) if rows else []
    return Plausibility(
        passed=round(passed / len(rows) * len(molecules) / attempts, 4) if rows else 0.0,
        checked=len(rows),
        tests={name: round(sum(row.get(name) is True for row in rows) / len(rows), 4) for name in names},
        energy_unknown=round(sum(row[ENERGY] is None and _others(row) for row in rows) / len(rows), 4) if rows else 0.0,
    )


def _in_processes(chunks: Sequence[list[Molecule]], processes: int) -> Iterator[list[dict[str, bool | None]]]:
    context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads can hang
    try:
        with ProcessPoolExecutor(min(processes, len(chunks)), mp_context=context) as pool:
            yield from pool.map(verdicts, chunks)
    except BrokenProcessPool as error:
        raise UnavailableError(
            "a process that runs PoseBusters was killed: is the memory short? Use fewer of them (--threads)"
        ) from error


def _others(row: dict[str, bool | None]) -> bool:
    return all(passed for name, passed in row.items() if name != ENERGY)


def verdicts(molecules: Sequence[Molecule]) -> list[dict[str, bool | None]]:
    """Which tests each molecule passes, by name; None where a test could not be made."""
    from posebusters import PoseBusters

    logging.getLogger("posebusters").setLevel(logging.CRITICAL)
    config: Any = PoseBusters("mol").config
    config["modules"] = [module for module in config["modules"] if module["function"] != "energy_ratio"]
    with BlockLogs():
        table = PoseBusters(config).bust([assemble(molecule) for molecule in molecules])
        rows = [{name: value is True or value == 1 for name, value in row.items()} for row in table.to_dict("records")]
        return [
            {**row, ENERGY: internal_energy(assemble(molecule)) if all(row.values()) else None}
            for row, molecule in zip(rows, molecules, strict=True)
        ]


def internal_energy(mol: Chem.Mol) -> bool | None:
    """PoseBusters' test of the internal energy, UFF, for a molecule that passes its other tests.

    It fails a molecule whose energy is more than 100 times the mean of 50 relaxed conformers, and says nothing where
    one of them cannot be embedded. If it stays below 50 times the mean of the first four, those decide.
    """
    Chem.SanitizeMol(mol)
    if not rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        return None
    energy = float(rdForceFieldHelpers.UFFGetMoleculeForceField(mol).CalcEnergy())
    inchi = rdinchi.MolToInchi(mol)[0]
    few = _mean_energy(inchi, FEW, TRIES)
    if few is None:
        return None
    if energy / few <= FACTOR / 2:
        return True
    all_of_them = _mean_energy(inchi, CONFORMERS, 0)
    return None if all_of_them is None else energy / all_of_them <= FACTOR


def _mean_energy(inchi: str, conformers: int, tries: int) -> float | None:
    """Mean energy of relaxed conformers, never 0; None if they cannot all be embedded."""
    flat = rdinchi.InchiToMol(inchi)[0]
    if flat is None:
        return None
    mol = Chem.AddHs(flat)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.useRandomCoords = True
    parameters.maxIterations = tries
    if len(rdDistGeom.EmbedMultipleConfs(mol, conformers, parameters)) < conformers:
        return None
    energies = [energy for _, energy in rdForceFieldHelpers.UFFOptimizeMoleculeConfs(mol)]
    return float(np.mean(energies)) or 1e-10
