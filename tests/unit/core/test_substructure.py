"""Keys never hide a molecule that holds a pattern, and they hide most of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_candidates import molecules
from rdkit import Chem

from gapsmith.core.chemistry.screening import matches
from gapsmith.core.chemistry.substructure import KEY_BITS, Substructure, molecule_keys, pattern_keys
from gapsmith.core.errors import InputError

PATTERNS = [
    "c1ccncc1", "C#N", "[NX3;H2]", "[CX3H1]=O", "C1CC1", "[#6]-[#8]", "FC", "[$(C=O)]N", "[H]C=O", "[N+]", "[O-]",
    "[!#6]", "[!C;!N]", "[c,n]", "a", "[a]~[A]", "*", "[H]", "[#1,#6]", "[H][#7]", "*~[H]", "[!$(C=O)]", "C.N", "[R]",
    "[N+0]", "[!+0]", "[!+]", "[13C]", "N~N~N", "[#1]O*", "S", "[nH]", "cO", "[D1]", "[X4]", "c:c:c", "[C;r3]", "[!H0]",
    "[^1]", "[^2]", "[^3]", "[v4]", "[v3]", "[R2]", "[r5]", "[k5]", "[x3]", "[z1]", "[h2]", "*=;@*", "*!@*", "C=C-C=C",
]  # fmt: skip


@pytest.mark.parametrize("smarts", PATTERNS)
def test_keys_hide_no_match_and_a_substructure_is_what_rdkit_finds(smarts: str) -> None:
    wanted, keys = Substructure(smarts), pattern_keys(Chem.MolFromSmarts(smarts))
    for one in molecules()[::6]:
        mol = Chem.MolFromSmiles(one.smiles)
        expected = matches(mol, smarts)
        assert wanted.matches([one.smiles], most=1, least=1, seconds=5) == [expected]
        if expected:
            assert covers(molecule_keys(mol), keys), one.smiles


UNUSUAL = (
    "[CH3]", "[CH2]C", "[H][H]", "[H-]", "[2H]OC", "C#[N+][O-]", "[C-]#[O+]", "O=[N+]([O-])c1ccccc1", "[O-]c1ccccc1",
    "[Na+].[Cl-]", "FS(F)(F)(F)(F)F", "CP(=O)(O)O", "C[Si](C)(C)C", "c1cc[se]c1", "C1=CC=CC=CC=C1", "C=C=C", "[N]c1ccccc1",
    "C[S@](=O)c1ccc(Cl)cc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "c1ccc2[nH]ccc2c1", "c1cc[n+]([O-])cc1", "C/C=C/C",
)  # fmt: skip


@pytest.mark.parametrize("smarts", PATTERNS)
def test_a_molecule_that_is_read_quickly_is_the_same_to_a_pattern(smarts: str) -> None:
    smiles = [Chem.CanonSmiles(one) for one in UNUSUAL]  # type: ignore[no-untyped-call]  # RDKit has no type here
    expected = [matches(Chem.MolFromSmiles(one), smarts) for one in smiles]
    found = Substructure(smarts).matches(smiles, most=len(smiles) + 1, least=len(smiles), seconds=5)
    assert found == expected


@given(st.sampled_from(molecules()), st.data())
def test_a_part_of_a_molecule_is_found_in_it(one: object, data: st.DataObject) -> None:
    mol = Chem.MolFromSmiles(one.smiles)  # type: ignore[attr-defined]
    atoms = data.draw(st.lists(st.sampled_from(range(mol.GetNumAtoms())), min_size=1, max_size=3, unique=True))
    part = Chem.MolFragmentToSmarts(mol, atoms)
    assert covers(molecule_keys(mol), Substructure(part).keys)


@pytest.mark.parametrize(
    ("smarts", "most"),
    [("c1ccncc1", 1.5), ("C1CC1C#N", 1.5), ("C1CCCCCCC1", 1.0), ("[N+]", 1.0), ("F", 1.0), ("S", 1.0)],
)
def test_few_others_are_let_through(smarts: str, most: float) -> None:
    wanted = Substructure(smarts)
    mols = [Chem.MolFromSmiles(one.smiles) for one in molecules()]
    passed = sum(covers(molecule_keys(mol), wanted.keys) for mol in mols)
    assert passed <= most * sum(matches(mol, smarts) for mol in mols)


def test_keys_have_the_width_of_their_column() -> None:
    assert {len(molecule_keys(Chem.MolFromSmiles(one.smiles))) for one in molecules()} == {KEY_BITS}
    assert len(pattern_keys(Chem.MolFromSmarts("[H]"))) == KEY_BITS


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"smarts: 'C\('"):
        Substructure("C(")


def covers(molecule: str, pattern: str) -> bool:
    return int(molecule, 2) & int(pattern, 2) == int(pattern, 2)
