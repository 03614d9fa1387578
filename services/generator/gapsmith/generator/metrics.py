"""How good generated molecules are, in the field's measures, each of which says what it counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapsmith.core import chemistry
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.perception import bond_graph, connected
from gapsmith.data.known import in_qm9
from gapsmith.generator import bonds
from gapsmith.generator.molecule import order_matrix
from gapsmith.generator.vocabulary import ELEMENTS


@dataclass(frozen=True)
class Quality:
    """Shares of all attempts unless a name says otherwise."""

    attempts: int
    valid: float  # RDKit: sanitised, one piece, neutral, closed shell, by the generated bonds
    unique: float  # share of the valid ones that are different molecules
    valid_and_unique: float
    novel: float  # share of the unique ones that are not in QM9
    connected: float  # one piece by distances alone
    bonds_agree: float  # share of the valid ones whose bonds are the same by distances alone
    atom_stability: float  # EDM's length table: share of the atoms of valid molecules that have their valence
    molecule_stability: float  # EDM's length table: all atoms of the molecule have; refused attempts count as unstable
    refused: dict[str, int]

    @classmethod
    def of(cls, molecules: Sequence[Molecule], attempts: int, refused: Counter[str]) -> "Quality":
        """Measure what came of some attempts; ``refused`` counts those that are not among the molecules."""
        reasons = Counter(refused)
        identities, valid = [], []
        for molecule in molecules:
            try:
                identities.append(chemistry.identity(chemistry.to_rdkit(molecule)).inchikey)
                valid.append(molecule)
            except InvalidMolecule as error:
                reasons[error.reason] += 1
        different = set(identities)
        stable = [_stable_atoms(molecule) for molecule in valid]
        atoms = np.concatenate(stable) if stable else np.zeros(0, dtype=bool)
        graphs = [bond_graph(molecule.numbers, molecule.coordinates) for molecule in valid]
        agree = [((order_matrix(m) > 0) == graph).all() for m, graph in zip(valid, graphs, strict=True)]
        return cls(
            attempts=attempts,
            valid=_share(len(valid), attempts),
            unique=_share(len(different), len(valid)),
            valid_and_unique=_share(len(different), attempts),
            novel=_share(sum(not in_qm9(key) for key in different), len(different)),
            connected=_share(sum(connected(graph) for graph in graphs), attempts),
            bonds_agree=_share(sum(map(bool, agree)), len(valid)),
            atom_stability=_share(int(atoms.sum()), len(atoms)),
            molecule_stability=_share(sum(bool(s.all()) for s in stable), attempts),
            refused=dict(reasons),
        )


def _stable_atoms(molecule: Molecule) -> np.ndarray:
    """EDM's atom stability, (atoms,) bool; an element that its table lacks is not stable."""
    numbers = molecule.numbers.astype(np.int64)
    if not np.isin(numbers, ELEMENTS).all():
        return np.zeros(len(numbers), dtype=bool)
    return bonds.has_valences(numbers, bonds.orders_by_length(numbers, molecule.coordinates))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
