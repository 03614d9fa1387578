"""GFN2-xTB's electronic structure of a geometry: orbital energies, where the frontier orbitals sit, charges, bond orders."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gapsmith.core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.core.xtb import Evaluator

NEIGHBOURS: Final = 3  # orbitals on either side of the gap


@dataclass(frozen=True)
class ElectronicStructure:
    """One single point of a closed-shell molecule."""

    energy_hartree: float
    orbital_energies_ev: np.ndarray  # (2 * NEIGHBOURS,), HOMO-2 to LUMO+2; NaN where the minimal basis has none
    homo_populations: np.ndarray  # (atoms,), Mulliken, of one electron; the sum is 1
    lumo_populations: np.ndarray  # (atoms,), likewise
    charges_e: np.ndarray  # (atoms,), Mulliken
    bond_orders: np.ndarray  # (atoms, atoms), Wiberg
    dipole_debye: np.ndarray  # (3,)

    @property
    def homo_ev(self) -> float:
        """Energy of the highest occupied orbital."""
        return float(self.orbital_energies_ev[NEIGHBOURS - 1])

    @property
    def lumo_ev(self) -> float:
        """Energy of the lowest empty orbital."""
        return float(self.orbital_energies_ev[NEIGHBOURS])


def electronic_structure(numbers: np.ndarray, coordinates: np.ndarray) -> ElectronicStructure:
    """Compute a neutral closed-shell molecule at a geometry, without relaxing it.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.

    Raises:
        CalculationError: of class chemistry; the SCF does not converge, or no LUMO exists in the minimal basis.
    """
    evaluate = Evaluator(np.asarray(numbers, dtype=np.int64), np.asarray(coordinates) / BOHR_TO_ANGSTROM, orbitals=True)
    evaluate(np.asarray(coordinates, dtype=np.float64) / BOHR_TO_ANGSTROM)
    result = evaluate.result
    assert result is not None  # a point was computed
    levels = np.asarray(result.get("orbital-energies")) * HARTREE_TO_EV
    occupied = round(float(np.sum(result.get("orbital-occupations")))) // 2
    around = np.arange(occupied - NEIGHBOURS, occupied + NEIGHBOURS)
    there = (around >= 0) & (around < len(levels))
    energies = np.where(there, levels[np.clip(around, 0, len(levels) - 1)], np.nan)
    coefficients = np.asarray(result.get("orbital-coefficients"))  # (functions, orbitals)
    populations = coefficients * (np.asarray(result.get("overlap-matrix")) @ coefficients)
    atom_of = evaluate.atom_of_functions()

    def on_atoms(orbital: int) -> np.ndarray:
        if not 0 <= orbital < len(levels):
            return np.full(len(numbers), np.nan)
        return np.bincount(atom_of, weights=populations[:, orbital], minlength=len(numbers))

    return ElectronicStructure(
        energy_hartree=float(result.get("energy")),
        orbital_energies_ev=energies,
        homo_populations=on_atoms(occupied - 1),
        lumo_populations=on_atoms(occupied),
        charges_e=np.asarray(result.get("charges"), dtype=np.float64),
        bond_orders=np.asarray(result.get("bond-orders"), dtype=np.float64)
        .reshape(len(numbers), len(numbers), -1)
        .sum(-1),
        dipole_debye=np.asarray(result.get("dipole"), dtype=np.float64) * AU_TO_DEBYE,
    )
