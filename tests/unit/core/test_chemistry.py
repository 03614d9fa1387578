"""Validity, identity and similarity of molecules."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem, RDConfig
from rdkit.Chem import AllChem, DataStructs, rdFingerprintGenerator

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.identity import identify, tanimoto, unpack_fingerprints
from gapsmith.core.chemistry.sa_score import sa_score
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule

SMILES = [
    "C",
    "O",
    "CCO",
    "c1ccccc1",
    "C1CC1",
    "N#CC=O",
    "[O-][N+](=O)C",
    "FC(F)F",
    "C1=CC=CN1",
    "CC(=O)NC",
    "[NH3+]CC([O-])=O",
]


def molecule(smiles: str) -> Molecule:
    """A molecule with a force-field geometry."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    return from_rdkit(mol)


def build(numbers: list[int], bonds: list[tuple[int, int, int]], charges: list[int] | None = None) -> Molecule:
    """A molecule whose geometry does not matter."""
    positions = np.arange(3 * len(numbers), dtype=np.float64).reshape(-1, 3)
    return Molecule(
        np.array(numbers, dtype=np.uint8),
        positions,
        np.array(charges or [0] * len(numbers), dtype=np.int8),
        np.array(bonds, dtype=np.int16).reshape(-1, 3),
    )


@pytest.mark.parametrize("smiles", SMILES)
def test_round_trip_keeps_the_molecule(smiles: str) -> None:
    given_molecule = molecule(smiles)
    mol = to_rdkit(given_molecule)
    again = from_rdkit(mol)
    assert identify(mol).smiles == Chem.CanonSmiles(smiles)  # type: ignore[no-untyped-call]  # RDKit has no type here
    assert np.array_equal(again.numbers, given_molecule.numbers)
    assert np.array_equal(again.coordinates, given_molecule.coordinates)
    assert np.array_equal(again.charges, given_molecule.charges)
    assert identify(to_rdkit(again)) == identify(mol)


WATER_BONDS = [(0, 1, 1), (0, 2, 1)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (build([], []), "empty"),
        (build([8, 1, 1], [(0, 1, 1)]), "fragments"),
        (build([8, 1, 1, 1], [*WATER_BONDS, (0, 3, 1)]), "valence"),
        (build([8, 1], [(0, 1, 1)]), "radical"),
        (build([8, 1], [(0, 1, 1)], [-1, 0]), "charge"),
        (build([8, 1, 1], [(0, 1, 1), (0, 5, 1)]), "bonds"),
        (build([8, 1, 1], [(0, 1, 1), (1, 0, 1)]), "bonds"),
        (build([8, 1, 1], [(0, 0, 1), (0, 2, 1)]), "bonds"),
        (build([8, 1, 1], [(0, 1, 4), (0, 2, 1)]), "bonds"),
        (build([8, 1, 0], WATER_BONDS), "element"),
        (Molecule(np.zeros(1), np.full((1, 3), np.nan), np.zeros(1), np.zeros((0, 3))), "element"),
        (Molecule(np.array([2]), np.full((1, 3), np.nan), np.zeros(1), np.zeros((0, 3))), "geometry"),
        (Molecule(np.array([2]), np.zeros((2, 3)), np.zeros(1), np.zeros((0, 3))), "geometry"),
        (Molecule(np.array([2]), np.zeros((1, 3)), np.zeros(2), np.zeros((0, 3))), "charge"),
    ],
)
def test_what_is_no_molecule_is_refused_with_its_reason(broken: Molecule, reason: str) -> None:
    with pytest.raises(InvalidMolecule) as caught:
        to_rdkit(broken)
    assert caught.value.reason == reason
    assert isinstance(caught.value, InputError)


def test_identity_of_benzene() -> None:
    found = identify(to_rdkit(molecule("c1ccccc1")))
    assert found.inchikey == "UHOVQNZJYSORNB-UHFFFAOYSA-N"
    assert (found.smiles, found.formula, found.heavy_atoms) == ("c1ccccc1", "C6H6", 6)
    assert found.sa_score == pytest.approx(1.0)
    assert len(found.fingerprint) == 256


def test_stereoisomers_are_one_molecule_and_constitutional_isomers_are_not() -> None:
    left, right = Chem.MolFromSmiles("C[C@H](O)F"), Chem.MolFromSmiles("C[C@@H](O)F")
    trans = Chem.MolFromSmiles("C/C=C/C")
    assert identify(left) == identify(right)
    assert identify(trans) == identify(Chem.MolFromSmiles("C/C=C\\C"))
    assert "@" in Chem.MolToSmiles(left)  # the argument is left as it was
    assert identify(trans).inchikey != identify(Chem.MolFromSmiles("CC(C)=C")).inchikey


def test_mirror_images_with_positions_are_one_molecule() -> None:
    found = []
    for smiles in ("C[C@H](O)F", "C[C@@H](O)F"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
        found.append(identify(mol))
    assert found[0] == found[1] == identify(Chem.MolFromSmiles("CC(O)F"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SMILES), st.randoms(use_true_random=False))
def test_identity_ignores_the_order_of_atoms(smiles: str, random: object) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    order = list(range(mol.GetNumAtoms()))
    random.shuffle(order)  # type: ignore[attr-defined]  # what hypothesis gives
    assert identify(Chem.RenumberAtoms(mol, order)) == identify(mol)


def test_tanimoto_agrees_with_rdkit() -> None:
    mols = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    reference = [generator.GetFingerprint(mol) for mol in mols]
    ours = [identify(mol).fingerprint for mol in mols]
    for one, theirs in zip(ours, reference, strict=True):
        expected = DataStructs.BulkTanimotoSimilarity(theirs, reference)
        assert tanimoto(one, unpack_fingerprints(ours)) == pytest.approx(expected)


def test_tanimoto_of_empty_fingerprints() -> None:
    empty = bytes(256)
    assert tanimoto(empty, unpack_fingerprints([empty, b"\x01" + bytes(255)])).tolist() == [1.0, 0.0]
    assert tanimoto(empty, unpack_fingerprints([])).shape == (0,)


def test_sa_score_agrees_with_rdkit_below_its_hard_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(f"{RDConfig.RDContribDir}/SA_Score")
    import sascorer

    larger = [
        "CC(=O)Oc1ccccc1C(=O)O",
        "C1CC2(C1)CCO2",
        "C1CCCCCCCCC1",
        "C1C2CC3CC1CC(C2)C3",
        "N[C@@H](C)C(=O)O",
        "C12C3C4C1C5C2C3C45",
    ]
    for smiles in SMILES + larger:
        mol = Chem.MolFromSmiles(smiles)
        expected = sascorer.calculateScore(mol)
        assert sa_score(mol) == pytest.approx(expected, abs=1e-9), smiles


def test_sa_score_keeps_hard_molecules_hard() -> None:
    strained = Chem.MolFromSmiles("N=C1NC23CB4C2OC413")  # RDKit's formula brings what is just beyond 8 back to 7.43
    assert sa_score(strained) == pytest.approx(8.0)
