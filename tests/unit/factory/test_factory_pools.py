"""Pools: chunks that the seed decides, molecules that are closed-shell, neutral, of the promised sizes and elements."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import InputError
from gapsmith.data.known import in_qm9
from gapsmith.factory import pools
from gapsmith.factory.assembly import assemble, blocks, checked, join, places
from gapsmith.factory.exchange import exchanged
from gapsmith.factory.mutation import mutated
from gapsmith.factory.tables import ELEMENTS, TablePool, inside_wide_domain


def test_there_are_a_few_hundred_building_blocks_with_the_places_they_need() -> None:
    kinds = blocks()
    assert sum(len(kind.molecules) for kind in kinds.values()) >= 200
    assert all(mol is not None and len(places(mol)) == 1 for mol in kinds["ends"].molecules)
    assert all(mol is None or len(places(mol)) == 2 for mol in kinds["linkers"].molecules)
    assert all(mol is not None and len(places(mol)) >= 2 for mol in kinds["cores"].molecules)


@pytest.mark.parametrize("sizes", [(5, 9), (10, 14), (15, 19), (20, 24)])
def test_assembled_molecules_are_valid_different_and_of_the_promised_size(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(sizes[0])
    made = [assemble(random, sizes) for _ in range(40)]
    assert all(mol is not None for mol in made)
    for mol in made:
        assert mol is not None
        assert sizes[0] <= mol.GetNumHeavyAtoms() <= sizes[1]
        assert inside_wide_domain(mol)
        assert Chem.MolFromSmiles(Chem.MolToSmiles(mol)) is not None
    assert len({identify(mol).inchikey for mol in made if mol is not None}) >= 30


@pytest.mark.parametrize("element", ["S", "Cl", "Br", "Si", "P", "B", "F"])
def test_an_element_that_is_asked_for_is_there(element: str) -> None:
    random = np.random.default_rng(1)
    made = [assemble(random, (10, 14), element) for _ in range(8)]
    assert sum(mol is not None for mol in made) >= 6
    assert all(element in {atom.GetSymbol() for atom in mol.GetAtoms()} for mol in made if mol is not None)


def test_bonds_that_the_rules_forbid_are_not_made() -> None:
    random = np.random.default_rng(0)
    hydroxy, amino, boron = (Chem.MolFromSmiles(text) for text in ("*O", "*N", "*B(C)C"))
    assert join(hydroxy, amino, random) is None
    joined = join(boron, amino, random)
    assert joined is not None
    assert Chem.MolToSmiles(joined) == "CB(C)N"


def test_exchanged_molecules_have_the_new_elements() -> None:
    random = np.random.default_rng(2)
    made = [mol for mol in (exchanged(random) for _ in range(120)) if mol is not None]
    assert len(made) > 100
    assert all(inside_wide_domain(mol) or mol.GetNumHeavyAtoms() < 5 for mol in made)
    found = Counter(symbol for mol in made for symbol in {atom.GetSymbol() for atom in mol.GetAtoms()})
    assert all(found[symbol] >= 3 for symbol in ("S", "Si", "P", "B", "Cl", "Br"))


def test_open_shells_and_wrong_valences_are_not_molecules() -> None:
    assert checked(Chem.RWMol(Chem.MolFromSmiles("C[CH]C"))) is None
    assert checked(Chem.RWMol(Chem.MolFromSmiles("C[NH3+]"))) is None
    assert checked(Chem.RWMol(Chem.MolFromSmiles("CN(C)(C)C", sanitize=False))) is None
    assert checked(Chem.RWMol(Chem.MolFromSmiles("CO"))) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mutated", "organic"])
def test_pools_are_decided_by_their_seed(name: str) -> None:
    pool = pools.find(name)
    first, again, other = (list(pool.chunk(number, seed) or ()) for number, seed in ((3, 0), (3, 0), (3, 1)))
    assert len(first) >= 10
    keys = [[identify(to_rdkit(draft.molecule)).inchikey for draft in chunk] for chunk in (first, again, other)]
    assert keys[0] == keys[1]
    assert not set(keys[0]) & set(keys[2])
    assert all(
        (one.molecule.coordinates == two.molecule.coordinates).all() for one, two in zip(first, again, strict=True)
    )


def table(folder: Path, text: str, name: str = "set.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["set.csv", "set.csv.gz"])
def test_a_table_is_read_once_through_and_what_is_outside_the_domain_left_out(tmp_path: Path, name: str) -> None:
    rows = ["c1ccsc1CO", "CC(=O)[O-]", "C[Se]CCCC", "CCCCC.CC", "not one", "C", "CCCCCC(C)Br"]
    pool = TablePool(str(table(tmp_path, "id,smiles\n" + "".join(f"{i},{one}\n" for i, one in enumerate(rows)), name)))
    drafts = list(pool.chunk(0, 5) or ())
    assert {identify(to_rdkit(draft.molecule)).smiles for draft in drafts} == {"OCc1cccs1", "CCCCCC(C)Br"}
    assert pool.chunk(1, 5) is None
    provenance = pool.provenance()
    assert provenance["file"] == name
    assert len(provenance["sha256"]) == 64
    assert str(tmp_path) not in str(provenance)


def test_tables_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="table:FILE"):
        pools.find("table")
    with pytest.raises(InputError, match=r"no column of SMILES; its columns: id, gap"):
        TablePool(str(table(tmp_path, "id,gap\n1,2\n"))).chunk(0, 0)


def test_qm9_comes_with_its_own_geometries() -> None:
    pool = pools.find("qm9")
    drafts = list(pool.chunk(0, 0) or ())
    assert 25 <= len(drafts) <= 32
    assert not pool.novel
    assert {int(number) for draft in drafts for number in draft.molecule.numbers} <= {1, 6, 7, 8, 9}
    assert {"H", "C", "N", "O", "F"} < ELEMENTS


def test_mutated_molecules_are_small_neutral_and_mostly_not_in_qm9() -> None:
    random = np.random.default_rng(0)
    made = [mol for mol in (mutated(random) for _ in range(60)) if mol is not None]
    assert len(made) > 30
    assert all(4 <= mol.GetNumHeavyAtoms() <= 9 and Chem.GetFormalCharge(mol) == 0 for mol in made)
    assert {atom.GetSymbol() for mol in made for atom in mol.GetAtoms()} == {"C", "N", "O", "F"}
    assert sum(in_qm9(identify(mol).inchikey) for mol in made) < len(made) / 3
    assert sum(any(bond.GetBondTypeAsDouble() > 1 for bond in mol.GetBonds()) for mol in made) > len(made) / 2
