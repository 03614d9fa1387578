"""One molecule under the field's measures."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rdkit import Chem

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.elements import symbols
from gapsmith.core.chemistry.geometry import bond_graph, pieces
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.data.known import in_qm9
from gapsmith.generator import bonds
from gapsmith.generator.bonds import ELEMENTS
from gapsmith.generator.molecule import order_matrix


@dataclass(frozen=True)
class Judged:
    """What a molecule's own bonds, and what its distances say of it."""

    molecule: Molecule
    mol: Chem.Mol | None  # sanitised; None if the molecule's own bonds make no valid one
    inchikey: str | None  # without stereochemistry; None if it is not valid
    reason: str | None  # why it is not valid
    stable: np.ndarray  # (atoms,) bool: has the valence of its neutral element by EDM's table of bond lengths
    connected: bool  # one piece by distances
    bonds_agree: bool  # its own bonds join the same atoms as the distances do

    @property
    def valid(self) -> bool:
        """Sanitised by RDKit, one piece, neutral, closed shell, by its own bonds."""
        return self.mol is not None

    @cached_property
    def known(self) -> bool:
        """Whether QM9 has it, by its own bonds or by those perceived from its geometry, as QM9's own were."""
        if self.inchikey is None:
            return False
        if in_qm9(self.inchikey):
            return True
        try:
            perceived = perceive_bonds(self.molecule.numbers, self.molecule.coordinates)
            return in_qm9(identify(to_rdkit(perceived)).inchikey)
        except InvalidMolecule:
            return False


def judge(molecule: Molecule) -> Judged:
    """Judge a molecule; one without bonds has unknown ones and is not valid.

    Raises:
        InvalidMolecule: it cannot be judged at all: no atoms, coordinates that are no numbers, or an element that the
            table of bond lengths does not know; ``reason`` says which.
    """
    check(molecule)
    numbers = np.asarray(molecule.numbers, dtype=np.int64)
    stable = bonds.has_valences(numbers, bonds.orders_by_length(numbers, molecule.coordinates))
    graph = bond_graph(numbers, molecule.coordinates)
    mol, inchikey, reason, agree = None, None, None, False
    try:
        if len(molecule.bonds) == 0 and len(molecule) > 1:
            raise InvalidMolecule("bonds", "its bonds are unknown")
        agree = bool(((order_matrix(molecule) > 0) == graph).all())
        sane = to_rdkit(molecule)
        inchikey = identify(sane).inchikey
        mol = sane
    except InvalidMolecule as error:
        reason = error.reason
    return Judged(molecule, mol, inchikey, reason, stable, pieces(graph)[0] == 1, agree)


def check(molecule: Molecule) -> None:
    """Raise InvalidMolecule if a molecule cannot be judged at all."""
    check_arrays(molecule)
    unknown = sorted(set(np.asarray(molecule.numbers).tolist()) - set(ELEMENTS))
    if unknown:
        raise InvalidMolecule(
            "element", f"it has {symbols(unknown)}; the table of bond lengths knows {symbols(ELEMENTS)}"
        )
