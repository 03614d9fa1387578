"""What the readers know beside the geometry: charge, unpaired electrons, bonds, hydrogens that are missing."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.reading import Item, from_smiles, read


def written(tmp_path: Path, smiles: str, *, hydrogens: bool = True) -> Item:
    """An SDF of one molecule, read again."""
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    AllChem.EmbedMolecule(mol, randomSeed=1)
    with Chem.SDWriter(str(tmp_path / "one.sdf")) as writer:
        writer.write(mol)
    (item,) = read(tmp_path / "one.sdf")
    return item


@pytest.mark.parametrize(
    ("smiles", "charge", "spin"),
    [("CC", 0, None), ("[NH4+]", 1, None), ("CC(=O)[O-]", -1, None), ("C[CH2]", 0, 1), ("[O][O]", 0, 2)],
)
def test_charge_and_spin_are_read(tmp_path: Path, smiles: str, charge: int, spin: int | None) -> None:
    for item in (written(tmp_path, smiles), from_smiles(smiles, "x")):
        assert (item.error, item.charge, item.spin, item.missing_hydrogens) == (None, charge, spin, 0)
        assert item.graph is not None
        assert int(item.graph[1].sum()) == charge


def test_bonds_are_kekulised_and_in_the_order_of_the_atoms(tmp_path: Path) -> None:
    item = written(tmp_path, "c1ccccc1")
    assert item.graph is not None
    bonds, charges = item.graph
    assert sorted(bonds[:, 2].tolist()) == [1] * 9 + [2] * 3
    assert not charges.any()
    assert item.geometry is not None
    lengths = np.linalg.norm(item.geometry[1][bonds[:, 0]] - item.geometry[1][bonds[:, 1]], axis=1)
    assert lengths.max() < 1.6


@pytest.mark.parametrize(("smiles", "missing"), [("c1ccccc1C", 8), ("CCO", 6), ("O=C=O", 0)])
def test_missing_hydrogens_are_counted(tmp_path: Path, smiles: str, missing: int) -> None:
    item = written(tmp_path, smiles, hydrogens=False)
    assert item.missing_hydrogens == missing
    assert (item.graph is None) == (missing > 0)


def test_what_is_too_large_is_not_embedded(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text(f"{'C' * 60} long\nC short\n")
    long, short = read(tmp_path / "a.smi", most_atoms=120)
    assert long.error == "182 atoms; at most 120 are allowed"
    assert short.error is None


def test_after_a_broken_frame_what_was_read_stays(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1\nfirst\nHe 0 0 0\nthree\nmore\n")
    first, second = read(tmp_path / "a.xyz")
    assert (first.name, first.error) == ("first", None)
    assert second.error == "line 4: expected a number of atoms, got 'three'; the rest of the file cannot be read"


def test_a_name_in_another_encoding_does_not_stop_the_file(tmp_path: Path) -> None:
    block = Chem.MolToMolBlock(Chem.AddHs(Chem.MolFromSmiles("O"))).encode()
    (tmp_path / "a.sdf").write_bytes(b"\xe4thanol" + block + b"$$$$\n" + block + b"$$$$\n")
    assert [item.name for item in read(tmp_path / "a.sdf")] == ["1", "2"]
