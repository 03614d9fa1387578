"""GFN2-xTB's electronic structure of many molecules as arrays: what a network may see beside the geometry."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from gapsmith.core.errors import CalculationError

if TYPE_CHECKING:
    from gapsmith.core.electronic import ElectronicStructure

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
    def of(
        cls,
        offsets: np.ndarray,
        numbers: np.ndarray,
        coordinates: np.ndarray,
        known: "Sequence[ElectronicStructure | None] | None" = None,
    ) -> "ElectronicRecords":
        """Compute them, 10 ms for a molecule of QM9's size.

        Args:
            offsets: (molecules + 1,): atoms of molecule i are offsets[i]:offsets[i + 1].
            numbers: (atoms,) atomic numbers.
            coordinates: (atoms, 3), angstrom.
            known: (molecules,), what need not be computed.
        """
        from gapsmith.core.electronic import NEIGHBOURS, electronic_structure  # tblite is not needed to read records

        molecules, atoms = len(offsets) - 1, len(numbers)
        energy = np.full(molecules, np.nan)
        orbitals, dipole = np.full((molecules, 2 * NEIGHBOURS), np.nan), np.full((molecules, 3), np.nan)
        charges, homo, lumo = (np.full(atoms, np.nan) for _ in range(3))
        pairs, orders = [np.zeros((0, 2), np.uint8)], [np.zeros(0)]
        counts = np.zeros(molecules, np.int32)
        for molecule in range(molecules):
            own = slice(int(offsets[molecule]), int(offsets[molecule + 1]))
            try:
                found = (known and known[molecule]) or electronic_structure(numbers[own], coordinates[own])
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

    @property
    def there(self) -> np.ndarray:
        """(molecules,) bool: whether the SCF converged."""
        return np.asarray(np.isfinite(self.energy_hartree))

    @property
    def atoms(self) -> np.ndarray:
        """(atoms, 3) float32: charges and populations of HOMO and LUMO."""
        return np.stack([self.charges_e, self.homo_populations, self.lumo_populations], axis=-1)

    def take(self, molecules: np.ndarray, atoms: np.ndarray) -> "ElectronicRecords":
        """The chosen molecules, whose atoms are these rows, in that order."""
        counts = self.pair_counts[molecules].astype(np.int64)
        starts = np.cumsum(self.pair_counts, dtype=np.int64)[molecules] - counts
        rows = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return ElectronicRecords(
            self.energy_hartree[molecules],
            self.orbital_energies_ev[molecules],
            self.dipole_debye[molecules],
            self.charges_e[atoms],
            self.homo_populations[atoms],
            self.lumo_populations[atoms],
            self.pair_counts[molecules],
            self.pairs[rows],
            self.bond_orders[rows],
        )

    @classmethod
    def joined(cls, parts: "list[ElectronicRecords]") -> "ElectronicRecords":
        """One after the other."""
        return cls(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)})
