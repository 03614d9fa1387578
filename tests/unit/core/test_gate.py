"""What is let through, with which geometry, and why the rest is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cards import DOMAIN
from rdkit import Chem
from sampled import examples

from gapsmith.core.chemistry.elements import NUMBERS
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.chemistry.gate import Admitted, Hydrogens, Requirements, admit
from gapsmith.core.chemistry.records import Geometry, Record, from_smiles
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.units import BOHR_TO_ANGSTROM

ANY = Requirements()
STRICT = Requirements(
    most_atoms=20,
    domain=DOMAIN,
    charged=False,
    open_shell=False,
    drawings=False,
)
SMILES = (
    "N[C@@H](C)C(=O)O", "OCC(O)CO", "OC=CC=O", "C[C@H]1CC[C@@H](C)CC1=O", "c1ccc2[nH]ccc2c1", "C/C=C/C", "C/C=C\\C",
    "O=C1CC2CC1C=C2", "N#CC1CC1", "c1ncc2nc[nH]c2n1", "C[N+](C)(C)CC([O-])=O", "C[C@H](O)[C@@H](N)C#N",
    "OC[C@H]1[C@H]2C=C[C@@H]1C=C2", "O[C@H]1[C@H]2N[C@H]2C12CC2", "O.O", "C[O-].[NH4+]",
)  # fmt: skip


def given_in_3d(smiles: str, scale: float = 1.0, unit: str = "angstrom") -> Record:
    """A record without bonds, as an XYZ file gives it."""
    mol = embed(Chem.MolFromSmiles(smiles))
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return Record("x", "x", geometry=Geometry(numbers, mol.GetConformer().GetPositions() * scale), unit=unit)


def in_space(symbols: str, rows: list[list[float]]) -> Record:
    numbers = np.array([NUMBERS.get(symbol, 0) for symbol in symbols.split()])
    return Record("x", "x", geometry=Geometry(numbers, np.array(rows, dtype=float)))


def refusal(record: Record, needed: Requirements = ANY, **electrons: int) -> tuple[str, str]:
    with pytest.raises(InvalidMolecule) as caught:
        admit(record, needed, **electrons)
    return caught.value.reason, caught.value.detail


def same(one: Admitted, other: Admitted) -> bool:
    return np.array_equal(one.molecule.numbers, other.molecule.numbers) and np.array_equal(
        one.molecule.coordinates, other.molecule.coordinates
    )


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(SMILES), st.integers(0, 2**31 - 1), st.booleans())
def test_one_molecule_has_one_geometry_however_its_smiles_is_written(smiles: str, seed: int, hydrogens: bool) -> None:
    mol = Chem.MolFromSmiles(smiles)
    written = Chem.MolToRandomSmilesVect(Chem.AddHs(mol) if hydrogens else mol, 1, randomSeed=seed)[0]
    needed = Requirements(fragments=True)
    one, other = (admit(from_smiles(text, "x"), needed) for text in (smiles, written))
    assert one.rough
    assert same(one, other)


@pytest.mark.parametrize("smiles", [smiles for smiles in SMILES if "." not in smiles])
def test_stereochemistry_is_what_the_smiles_says_and_mirror_images_are_mirrored(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    made = embed(mol)
    Chem.AssignStereochemistryFrom3D(made)
    assert Chem.RemoveHs(made).HasSubstructMatch(mol, useChirality=True)
    mirror = Chem.Mol(mol)
    for atom in mirror.GetAtoms():
        atom.InvertChirality()
    one, other = (np.array(embed(one).GetConformer().GetPositions()) for one in (mol, mirror))
    assert np.array_equal(one, other) == (Chem.MolToSmiles(mol) == Chem.MolToSmiles(mirror))
    assert np.array_equal(np.abs(one), np.abs(other))


@settings(max_examples=examples(30), deadline=None)
@given(st.sampled_from([smiles for smiles in SMILES if "." not in smiles]), st.randoms(use_true_random=False))
def test_embedded_atoms_can_keep_their_numbers(smiles: str, random: object) -> None:
    mol = Chem.MolFromSmiles(smiles)
    order = list(range(mol.GetNumAtoms()))
    random.shuffle(order)  # type: ignore[attr-defined]
    mol = Chem.RenumberAtoms(mol, order)
    made = embed(mol, keep_order=True)
    heavy = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    assert [atom.GetAtomicNum() for atom in made.GetAtoms()][: len(heavy)] == heavy
    lengths = [
        made.GetConformer().GetPositions()[[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]] for bond in mol.GetBonds()
    ]
    assert all(np.linalg.norm(first - second) < 1.65 for first, second in lengths)


@pytest.mark.parametrize(
    ("smiles", "reason", "words"),
    [
        ("C" * 7, "size", "23 atoms; between 1 and 20"),
        ("CS", "domain", "it has S; the model knows H, C, N, O, F"),
        ("*C", "element", "1 of its atoms are placeholders"),
        ("[NH4+]", "charge", "its charge is +1"),
        ("C[CH2]", "radical", "1 unpaired"),
        ("CO.CO", "fragments", "2 pieces"),
    ],
)
def test_what_a_purpose_does_not_allow_is_refused(smiles: str, reason: str, words: str) -> None:
    found, detail = refusal(from_smiles(smiles, "x"), STRICT)
    assert found == reason
    assert words in detail


def test_unreadable_records_keep_their_reason() -> None:
    assert refusal(from_smiles("C1CC", "x")) == (
        "unreadable",
        "'C1CC' is not a valid SMILES: SMILES Parse Error: unclosed ring for input: 'C1CC'",
    )


@pytest.mark.parametrize("smiles", ["O", "CC=O", "c1ccco1", "C#C", "O=CC=O", "FC(F)(F)F", "C1CC1", "[H][H]"])
@pytest.mark.parametrize(
    ("scale", "unit", "words"),
    [
        (1 / BOHR_TO_ANGSTROM, "angstrom", "bohr"),
        (0.1, "angstrom", "nanometre"),
        (100.0, "angstrom", "picometre"),
        (BOHR_TO_ANGSTROM, "bohr", "angstrom"),
    ],
)
def test_another_unit_is_recognised(smiles: str, scale: float, unit: str, words: str) -> None:
    assert admit(given_in_3d(smiles, 1.0, unit), ANY)
    assert words in refusal(given_in_3d(smiles, scale, unit))[1]


@pytest.mark.parametrize(
    ("symbols", "rows", "reason"),
    [
        ("C O", [[0, 0, 0], [0, 0, 0.1]], "geometry"),
        ("O H H", [[0, 0, 0], [0, 0, 0.96], [0, 0.9, 0.3]], None),
        ("C O H H", [[0, 0, 0], [0, 0, 1.2], [0, 0.94, -0.58], [0, -0.94, float("nan")]], "geometry"),
        ("C O X", [[0, 0, 0], [0, 0, 1.2], [0, 0.94, -0.58]], "element"),
        ("H", [[0, 0, 0]], "spin"),
        ("Ar Ar", [[0, 0, 0], [0, 0, 3.76]], "fragments"),
        ("Na Cl", [[0, 0, 0], [0, 0, 2.36]], None),
        ("Cr Cr", [[0, 0, 0], [0, 0, 1.68]], "spin"),
        ("Zn H H", [[0, 0, 0], [0, 0, 1.54], [0, 0, -1.54]], None),
    ],
)
def test_geometries_that_are_possible(symbols: str, rows: list[list[float]], reason: str | None) -> None:
    record = in_space(symbols, rows)
    if reason is None:
        assert not admit(record, ANY).rough
    else:
        assert refusal(record)[0] == reason


def test_drawings_are_for_what_relaxes() -> None:
    flat = in_space("C H H H H", [[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0], [0, 1.2, 0], [0, -1.2, 0]])
    assert admit(flat, ANY)
    assert refusal(flat, STRICT)[0] == "drawing"
    assert admit(given_in_3d("c1ccccc1"), STRICT)


@pytest.mark.parametrize("smiles", ["CCO", "c1ccccc1", "CC(C)=O", "OCC(O)CO"])
def test_missing_hydrogens(smiles: str) -> None:
    """All of them, those on carbon, with and without known bonds."""
    whole = given_in_3d(smiles)
    assert whole.geometry is not None
    numbers, coordinates = whole.geometry
    near = np.linalg.norm(coordinates[:, None] - coordinates, axis=-1)
    on_carbon = [index for index in np.flatnonzero(numbers == 1) if numbers[np.argsort(near[index])[1]] == 6]
    for gone in (np.flatnonzero(numbers == 1), on_carbon):
        stay = np.setdiff1d(np.arange(len(numbers)), gone)
        bare = Record("x", "x", geometry=Geometry(numbers[stay], coordinates[stay]))
        assert refusal(bare, ANY)[0] in ("hydrogens", "spin")
    mol = Chem.RemoveHs(embed(Chem.MolFromSmiles(smiles)))
    heavy = Geometry(np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()]), mol.GetConformer().GetPositions())
    record = Record("x", "x", mol=mol, geometry=heavy)
    assert refusal(record)[0] == "hydrogens"
    added = admit(record, Requirements(hydrogens=Hydrogens.ADDED))
    assert sorted(added.molecule.numbers) == sorted(numbers)
    assert "were added by RDKit" in added.notes[-1]


@pytest.mark.parametrize(
    ("symbols", "rows", "lacking"),
    [
        ("N N", [[0, 0, 0], [0, 0, 1.45]], True),  # hydrazine
        ("N N", [[0, 0, 0], [0, 0, 1.10]], False),
        ("O O", [[0, 0, 0], [0, 0, 1.46]], True),  # hydrogen peroxide
        ("O O", [[0, 0, 0], [0, 0, 1.21]], False),
        ("C", [[0, 0, 0]], True),
        ("O", [[0, 0, 0]], True),
        ("He", [[0, 0, 0]], False),
        ("F C F", [[1.05, 0.76, 0], [0, 0, 0], [-1.05, 0.76, 0]], True),  # or a carbene: who means it gives its spin
    ],
)
def test_without_hydrogens_and_known_bonds(symbols: str, rows: list[list[float]], lacking: bool) -> None:
    record = in_space(symbols, rows)
    if lacking:
        assert refusal(record)[0] == "hydrogens"
    else:
        assert admit(record, ANY)
    assert admit(record, ANY, spin=0)


def test_charge_and_spin_may_be_given() -> None:
    water = given_in_3d("O")
    assert (admit(water, ANY).charge, admit(water, ANY).spin) == (0, 0)
    cation = admit(water, ANY, charge=1, spin=1)
    assert (cation.charge, cation.spin) == (1, 1)
    assert refusal(water, ANY, charge=1)[0] == "spin"
    assert refusal(water, STRICT, charge=2)[0] == "charge"
    assert refusal(water, STRICT, spin=2)[0] == "radical"


def test_what_atoms_tell_is_asked_before_anything_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapsmith.core.chemistry.gate.embed", lambda *_, **__: pytest.fail("it was embedded"))
    needed = Requirements(unsuited=lambda numbers: f"{len(numbers)} are too many")
    assert refusal(from_smiles("CC", "x"), needed) == ("level", "8 are too many")
    assert refusal(from_smiles("C" * 400, "x"))[0] == "size"
    assert refusal(from_smiles("CC", "x"), Requirements(embedding=False))[0] == "geometry"
