"""Parts that hold a campaign's required patterns, out of known molecules: new molecules are grown around them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from rdkit import Chem

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.parts import Part, parts
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.data import qm9
from gapsmith.data.screened import fitting, screened
from gapsmith.generator.molecule import order_matrix
from gapsmith.training.roles import Planted

MOST: Final = 64  # parts of a campaign
LOOK_S: Final = 20.0  # CPU time for finding molecules that have them
EASIEST_SA_SCORE: Final = 10.0  # of the molecules that parts are taken from: no matter


@lru_cache(maxsize=32)
def planted(constraints: Constraints) -> tuple[Planted, ...]:
    """Parts of QM9's molecules that hold all required patterns; none if nothing is required or QM9 has no such molecule.

    Args:
        constraints: of a campaign, with the elements and sizes that the generator can make.
    """
    if not constraints.required_smarts:
        return ()
    data = qm9.load()
    order = np.random.default_rng(0).permutation(np.flatnonzero(fitting(data, constraints)))
    source = constraints.model_copy(update={"sa_score": EASIEST_SA_SCORE, "novel": False})
    found = []
    for index in screened(source, order.tolist(), enough=MOST, seconds=LOOK_S).allowed:
        atoms = data.atoms(int(index))
        try:
            molecule = perceive_bonds(data.numbers[atoms], data.coordinates[atoms].astype(np.float64))
            found.append(part_of(molecule, to_rdkit(molecule), constraints.required_smarts))
        except (InvalidMolecule, InputError):
            continue
    several = [one for one in found if one is not None]
    return tuple([one for one in several if _separable(one)] or several)


def part_of(molecule: Molecule, mol: Chem.Mol, patterns: Sequence[str]) -> Planted | None:
    """The atoms of a molecule that hold the patterns, each once; None if it lacks one of them.

    Atoms whose hydrogens a pattern needs are closed; they keep all their neighbours.
    """
    orders = order_matrix(molecule)
    heavy = np.flatnonzero(molecule.numbers != 1)
    bonded = orders[np.ix_(heavy, heavy)] > 0
    kept, closed = np.zeros(len(heavy), dtype=bool), np.zeros(len(heavy), dtype=bool)
    for matches in parts(mol, patterns):
        if not matches:
            return None
        chosen = min(matches, key=lambda one: int((kept | _needed(one, bonded)).sum()))
        kept |= _needed(chosen, bonded)
        closed[list(chosen.closed)] = True
    return Planted(molecule, kept, closed)


def _needed(one: Part, bonded: np.ndarray) -> np.ndarray:
    """A match with the neighbours of its closed atoms, (heavy atoms,) bool."""
    needed = np.asarray(bonded[list(one.closed)].any(0))
    needed[list(one.atoms)] = True
    return needed


def _separable(one: Planted) -> bool:
    """Whether only single bonds lead out of a part, and its formal charges add up to 0."""
    heavy = np.flatnonzero(one.molecule.numbers != 1)
    leading_out = order_matrix(one.molecule)[np.ix_(heavy[one.kept], heavy[~one.kept])]
    return bool((leading_out <= 1).all()) and int(one.molecule.charges[heavy[one.kept]].sum()) == 0
