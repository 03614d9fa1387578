"""GFN2-xTB's electronic structure of many molecules as arrays: what a network may see beside the geometry."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from gapsmith.core.electronic import NEIGHBOURS, electronic_structure
from gapsmith.core.errors import CalculationError

LEAST_BOND_ORDER: Final = 0.02  # pairs with less are not kept


@dataclass(frozen=True)
class ElectronicRecords:
    """Molecules in order, atoms and pairs concatenated; NaN where the SCF did not converge."""

    energy_hartree: np.ndarray  # (molecules,) float64
    orbital_energies_ev: np.ndarray  # (molecules, 6) float32, HOMO-2 to LUMO+2
    dipole_debye: np.ndarray  # (molecules, 3) float32
    charges_e: np.ndarray  # (atoms,) float32, Mulliken
    homo_populations: np.ndarray  # (atoms,) float32
    lumo_populations: np.ndarray  # (atoms,) float32
    pair_counts: np.ndarray  # (molecules,) int32
    pairs: np.ndarray  # (pairs, 2) uint8, first < second, atoms of the molecule
    bond_orders: np.ndarray  # (pairs,) float32, Wiberg

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.energy_hartree)

    def arrays(self) -> dict[str, np.ndarray]:
        """All fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of(cls, offsets: np.ndarray, numbers: np.ndarray, coordinates: np.ndarray) -> "ElectronicRecords":
        """Compute them, 10 ms for a molecule of QM9's size.

        Args:
            offsets: (molecules + 1,): atoms of molecule i are offsets[i]:offsets[i + 1].
            numbers: (atoms,) atomic numbers.
            coordinates: (atoms, 3), angstrom.
        """
        molecules, atoms = len(offsets) - 1, len(numbers)
        energy = np.full(molecules, np.nan)
        orbitals, dipole = np.full((molecules, 2 * NEIGHBOURS), np.nan), np.full((molecules, 3), np.nan)
        charges, homo, lumo = (np.full(atoms, np.nan) for _ in range(3))
        pairs, orders = [np.zeros((0, 2), np.uint8)], [np.zeros(0)]
        counts = np.zeros(molecules, np.int32)
        for molecule in range(molecules):
            own = slice(int(offsets[molecule]), int(offsets[molecule + 1]))
            try:
                found = electronic_structure(numbers[own], coordinates[own])
            except CalculationError:
                continue
            energy[molecule], orbitals[molecule] = found.energy_hartree, found.orbital_energies_ev
            dipole[molecule], charges[own] = found.dipole_debye, found.charges_e
            homo[own], lumo[own] = found.homo_populations, found.lumo_populations
            kept = np.argwhere(np.triu(found.bond_orders, 1) > LEAST_BOND_ORDER)
            counts[molecule] = len(kept)
            pairs.append(kept.astype(np.uint8))
            orders.append(found.bond_orders[kept[:, 0], kept[:, 1]])
        return cls(
            energy_hartree=energy,
            orbital_energies_ev=orbitals.astype(np.float32),
            dipole_debye=dipole.astype(np.float32),
            charges_e=charges.astype(np.float32),
            homo_populations=homo.astype(np.float32),
            lumo_populations=lumo.astype(np.float32),
            pair_counts=counts,
            pairs=np.concatenate(pairs),
            bond_orders=np.concatenate(orders).astype(np.float32),
        )

    @classmethod
    def joined(cls, parts: "list[ElectronicRecords]") -> "ElectronicRecords":
        """One after the other."""
        return cls(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)})
