"""Where an excitation goes from and to: pairs of orbitals, and n, pi or sigma, by populations on the atoms.

The hole and the particle of an excitation have densities in the occupied and in the empty space. In Löwdin's basis these are
split into p functions perpendicular to the plane of conjugated atoms (pi), all else on elements with lone pairs (n) and the
rest (sigma). That is a label for people: it depends on no threshold of energies, and a little on the basis set.
"""

from typing import Any, Final

import numpy as np

from gapsmith.core.chemistry.elements import bond_lengths_angstrom
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.properties.response import by_spin, unrestricted

BONDED: Final = 1.25  # of the sum of the covalent radii
OUT_OF_PLANE: Final = 0.25  # of unit vectors to three neighbours; 0.33 in a tetrahedron
LINEAR: Final = 0.97  # cosine of the angle that two neighbours make with a line
PARALLEL: Final = 0.5  # overlap of the directions of neighbours that are conjugated
WITHOUT_LONE_PAIRS: Final = (1, 3, 4, 5, 6, 11, 12, 13, 14, 31, 32, 50)


class Characters:
    """Characters of the excitations of one field."""

    def __init__(self, field: Any) -> None:
        """From a converged field, restricted or not."""
        mol = field.mol
        numbers = np.array([mol.atom_charge(atom) + mol.atom_nelec_core(atom) for atom in range(mol.natm)])
        overlap_values, overlap_vectors = np.linalg.eigh(field.get_ovlp())
        root = (overlap_vectors * np.sqrt(overlap_values)) @ overlap_vectors.T
        self._spaces = [
            (root @ coefficients[:, filled > 0], root @ coefficients[:, filled == 0])
            for coefficients, _, filled in by_spin(field)
        ]
        self._spins = ("(alpha)", "(beta)") if unrestricted(field) else ("",)
        atom_of = np.array([label[0] for label in mol.ao_labels(fmt=None)])
        self._hetero = ~np.isin(numbers, WITHOUT_LONE_PAIRS)[atom_of]
        directions = pi_directions(numbers, mol.atom_coords() * BOHR_TO_ANGSTROM)
        self._shells = [(functions, directions[atom]) for atom, functions in _p_shells(mol) if directions[atom].any()]

    def of(self, amplitudes: list[np.ndarray]) -> tuple[str, float, str]:
        """The leading pair of orbitals, its weight, and the character.

        Args:
            amplitudes: of each spin, or of both together: (occupied, empty).
        """
        total = sum(float((one**2).sum()) for one in amplitudes)
        weights = [one**2 / total for one in amplitudes]
        spin = int(np.argmax([one.max(initial=0.0) for one in weights]))
        i, a = np.unravel_index(int(weights[spin].argmax()), weights[spin].shape)
        below, mark = amplitudes[spin].shape[0] - 1 - int(i), self._spins[spin]
        names = f"HOMO{f'-{below}' if below else ''}{mark}", f"LUMO{f'+{a}' if a else ''}{mark}"
        hole, particle = np.zeros((2, 3))
        for (occupied, empty), one in zip(self._spaces, amplitudes, strict=True):
            hole += self._shares(occupied @ one)
            particle += self._shares(empty @ one.T)
        origin = ("n", "pi", "sigma")[int(np.argmax(hole))]
        target = "pi*" if particle[1] > particle.sum() / 2 else "sigma*"
        return " -> ".join(names), float(weights[spin][i, a]), f"{origin} -> {target}"

    def _shares(self, half: np.ndarray) -> np.ndarray:
        """Of n, pi and sigma in the density half @ half.T; half is (functions, any)."""
        populations = np.einsum("pi,pi->p", half, half)
        pi = np.zeros_like(populations)
        for functions, projector in self._shells:
            pi[functions] = np.einsum("xi,xi->x", half[functions], projector @ half[functions])
        rest = populations - pi
        return np.array([rest[self._hetero].sum(), pi.sum(), rest[~self._hetero].sum()])


def pi_directions(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Projectors (atoms, 3, 3) onto the directions of an atom's pi orbitals; zero where it has none.

    One direction at atoms with a plane, two at atoms on a line; none without a neighbour that has a parallel one.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
    """
    lines = coordinates[None] - coordinates[:, None]
    distances = np.linalg.norm(lines, axis=-1)
    bonded = (distances < BONDED * bond_lengths_angstrom(numbers)) & ~np.eye(len(numbers), dtype=bool)
    found = np.zeros((len(numbers), 3, 3))
    single = []
    for atom in np.flatnonzero(numbers > 1):
        units = lines[atom, bonded[atom]] / distances[atom, bonded[atom], None]
        if len(units) == 1:
            single.append(atom)
        elif len(units) in (2, 3):
            found[atom] = _perpendicular(units)
    before = found.copy()
    for atom in single:
        neighbour = int(np.flatnonzero(bonded[atom])[0])
        line = lines[atom, neighbour] / distances[atom, neighbour]
        found[atom] = before[neighbour] if before[neighbour].any() else np.eye(3) - np.outer(line, line)
    parallel = bonded & (np.einsum("axy,bxy->ab", found, found) > PARALLEL)
    found[~parallel.any(axis=1)] = 0.0
    return found


def _perpendicular(units: np.ndarray) -> np.ndarray:
    """Projector onto what is perpendicular to two or three unit vectors that lie in a plane or on a line."""
    _, vectors = np.linalg.eigh(units.T @ units)
    if len(units) == 2 and abs(float(units[0] @ units[1])) > LINEAR:
        return np.asarray(np.eye(3) - np.outer(vectors[:, 2], vectors[:, 2]))
    normal = vectors[:, 0]
    return np.outer(normal, normal) * bool(np.abs(units @ normal).max() < OUT_OF_PLANE)


def _p_shells(mol: Any) -> list[tuple[int, np.ndarray]]:
    """(atom, functions x, y, z) of every contracted p shell."""
    starts = mol.ao_loc_nr()
    return [
        (mol.bas_atom(shell), np.arange(starts[shell] + 3 * number, starts[shell] + 3 * number + 3))
        for shell in range(mol.nbas)
        if mol.bas_angular(shell) == 1
        for number in range(mol.bas_nctr(shell))
    ]
