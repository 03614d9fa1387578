"""Conformers: which geometries are the same, and that distance geometry keeps the configuration."""

import numpy as np
import pytest
from pydantic import ValidationError
from rdkit import Chem

from gapsmith.core.chemistry.conformers import distinct, starts
from gapsmith.core.chemistry.conversion import assemble, from_rdkit
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.levels import GFN2, Conformers, LevelOfTheory, shipped

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def molecule(smiles: str) -> Molecule:
    return from_rdkit(embed(Chem.MolFromSmiles(smiles)))


def configuration(one: Molecule, geometry: np.ndarray) -> list[tuple[int, str]]:
    mol = assemble(Molecule(one.numbers, geometry, one.charges, one.bonds))
    Chem.SanitizeMol(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    labels = {"CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW"}
    return [(atom.GetIdx(), str(atom.GetChiralTag())) for atom in mol.GetAtoms() if str(atom.GetChiralTag()) in labels]


def torsion(geometry: np.ndarray, atoms: list[int]) -> float:
    """Absolute dihedral angle in degrees."""
    first, second, third = np.diff(geometry[atoms], axis=0)
    one, other = np.cross(first, second), np.cross(second, third)
    return float(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


def test_butane_has_a_straight_conformer_and_two_bent_ones_that_are_mirror_images() -> None:
    butane = molecule("CCCC")
    carbons = np.flatnonzero(butane.numbers == 6).tolist()
    embedded, found = starts(butane, 10)
    assert embedded == 30
    assert len(found) == 2
    assert [torsion(one, carbons) > 150 for one in found] == [True, False]
    bent = found[1]
    mirrored, turned = bent * [-1, 1, 1], bent @ TURN + 3.0
    kept = distinct(butane, [found[0], bent, mirrored, turned], [0.0, 0.80, 0.81, 0.82])
    assert [(one.place, one.images) for one in kept] == [(0, 1), (1, 2)]


def test_equivalent_atoms_may_change_places() -> None:
    acid = molecule("OC(=O)c1ccccc1")
    geometry = acid.coordinates
    ring = Chem.MolFromSmarts("OC(=O)c1ccccc1")
    matches = assemble(acid)
    Chem.SanitizeMol(matches)
    first, second = matches.GetSubstructMatches(ring, uniquify=False)[:2]
    swapped = geometry.copy()
    swapped[list(first)] = geometry[list(second)]  # the hydrogens on carbon do not count
    assert not np.allclose(swapped, geometry)
    assert [one.place for one in distinct(acid, [geometry, swapped], [0.0, 0.05])] == [0]
    assert [one.place for one in distinct(acid, [geometry, swapped], [0.0, 0.50])] == [0, 1]  # by their energies


@pytest.mark.parametrize("smiles", ["OC[C@H](N)C(=O)O", "OC[C@@H](N)C(=O)O", "C[C@H](O)[C@@H](C)F"])
def test_the_configuration_is_kept(smiles: str) -> None:
    given = molecule(smiles)
    _, found = starts(given, 10)
    wanted = configuration(given, given.coordinates)
    assert len(found) > 1
    assert wanted
    assert all(configuration(given, one) == wanted for one in found)
    assert {one.images for one in distinct(given, found, list(range(len(found))))} == {1}


def test_what_is_in_pieces_has_no_conformers() -> None:
    with pytest.raises(InvalidMolecule, match="more than one piece"):
        starts(molecule("O.O"), 5)


def test_an_ensemble_is_another_result_and_begins_anew() -> None:
    triage = shipped()["triage"]
    searching = LevelOfTheory(**{**triage.model_dump(), "conformers": {"most": 5}})
    assert searching.conformers == Conformers(most=5, window_kcal=3.0)
    assert searching.version != triage.version
    assert searching.identity(GFN2) == searching.version  # a relaxed geometry spares nothing
    assert triage.identity(GFN2) != triage.version
    assert searching.model_copy(update={"conformers": Conformers(most=6)}).version != searching.version
    assert searching.other_route.conformers is None
    assert searching.same_single_point(triage)


def test_conformers_need_the_cheap_relaxation() -> None:
    single = shipped()["single-point"].model_dump()
    with pytest.raises(ValidationError, match="must begin with gfn2-xtb"):
        LevelOfTheory(**{**single, "conformers": {}})
    with pytest.raises(ValidationError, match="must begin with gfn2-xtb"):
        LevelOfTheory(**{**single, "conformers": {}, "relaxation": ["self"]})
    assert LevelOfTheory(**{**shipped()["xtb"].model_dump(), "conformers": {}}).conformers == Conformers()
