"""Molecules of other generators, out of files, the broken ones included."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.errors import InputError
from gapsmith.generator.evaluation.files import read
from gapsmith.generator.evaluation.judging import judge
from gapsmith.generator.evaluation.quality import evaluate

METHANE = "5\nmethane\nC 0 0 0\nH 0.63 0.63 0.63\nH 0.63 -0.63 -0.63\nH -0.63 0.63 -0.63\nH -0.63 -0.63 0.63\n"
SILANE = METHANE.replace("C 0", "Si 0").replace("0.63", "0.85")


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=5) == 0
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


def record(mol: Chem.Mol, *, kekulize: bool = True) -> str:
    return Chem.MolToMolBlock(mol, kekulize=kekulize) + "$$$$\n"


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("smiles", ["c1ccccc1", "c1cc[nH]c1", "c1ccncc1"])
def test_aromatic_bonds_are_kekulised_not_cut_to_integers(tmp_path: Path, smiles: str) -> None:
    text = record(embedded(smiles), kekulize=False)
    assert "  4  0" in text  # the aromatic order of the format
    (molecule,) = read(file(tmp_path, "a.sdf", text)).molecules
    assert set(molecule.bonds[:, 2].tolist()) == {1, 2}
    judged = judge(molecule)
    assert judged.valid
    assert judged.known


def test_bonds_of_an_sdf_are_its_own_and_stability_is_by_distances(tmp_path: Path) -> None:
    mol = embedded("CC=O")
    for bond in mol.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
    mol.GetAtomWithIdx(1).SetNumRadicalElectrons(1)
    mol.GetAtomWithIdx(2).SetNumRadicalElectrons(1)
    (molecule,) = read(file(tmp_path, "a.sdf", record(mol))).molecules
    judged = judge(molecule)
    assert judged.reason == "radical"
    assert judged.stable.all()


def test_missing_hydrogens_are_not_filled_in(tmp_path: Path) -> None:
    mol = Chem.RWMol(embedded("CCO"))
    mol.RemoveAtom(8)
    quality = evaluate(read(file(tmp_path, "a.sdf", record(mol.GetMol()))).molecules, 1)
    assert quality.valid == 0.0
    assert quality.refused == {"radical": 1}


def test_ions_and_fragments_are_read_as_they_are(tmp_path: Path) -> None:
    text = record(embedded("C[NH3+]")) + record(embedded("O.O"))
    drawn = read(file(tmp_path, "a.sdf", text))
    assert [judge(molecule).reason for molecule in drawn.molecules] == ["charge", "fragments"]


def test_bad_records_among_good_ones_are_counted_and_named(tmp_path: Path) -> None:
    text = record(embedded("CCO")) + "no\nmolecule\n$$$$\n" + record(embedded("C[SiH3]")) + record(embedded("CC#N"))
    path = file(tmp_path, "a.sdf", text)
    drawn = read(path)
    assert drawn.attempts == 4
    assert len(drawn.molecules) == 2
    assert drawn.refused == {"unreadable": 1, "element": 1}
    assert f"{path} record 2 (line " in drawn.notes[0]
    assert f"{path} record 3 (line " in drawn.notes[1]
    assert "Si" in drawn.notes[1]
    assert evaluate(drawn.molecules, drawn.attempts, drawn.refused).valid == 0.5


def test_an_empty_record_is_an_attempt(tmp_path: Path) -> None:
    empty = "\n  x\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
    drawn = read(file(tmp_path, "a.sdf", empty + record(embedded("C"))))
    assert (drawn.attempts, drawn.refused) == (2, {"unreadable": 1})


def test_a_drawing_is_no_geometry(tmp_path: Path) -> None:
    flat = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.Compute2DCoords(flat)
    with pytest.raises(InputError, match="drawing"):
        read(file(tmp_path, "a.sdf", record(flat)))


def test_frames_of_an_xyz_file(tmp_path: Path) -> None:
    mol = embedded("CC(=O)O")
    text = METHANE + "\n" + Chem.MolToXYZBlock(mol) + METHANE.replace("C 0", "6 0")
    drawn = read(file(tmp_path, "a.xyz", text))
    assert drawn.attempts == 3
    quality = evaluate(drawn.molecules, 3)
    assert quality.valid == 1.0
    assert quality.unique == 0.6667
    assert quality.molecule_stability >= 0.6667


def test_bad_frames_among_good_ones(tmp_path: Path) -> None:
    nonsense = METHANE.replace("0.63 0.63 0.63", "0.63 what")
    crowd = "6\nno bonds fit five hydrogens\n" + METHANE.partition("methane\n")[2] + "H 1.09 0 0\n"
    drawn = read(file(tmp_path, "a.xyz", nonsense + SILANE + crowd + METHANE + METHANE[:40]))
    assert drawn.attempts == 5
    assert drawn.refused == {"unreadable": 2, "element": 1}
    assert [judge(molecule).reason for molecule in drawn.molecules] == ["bonds", None]


@pytest.mark.parametrize("text", ["methane\n" + METHANE, METHANE + "x" + METHANE])
def test_a_line_that_is_not_a_count_of_atoms_is_named_and_the_frames_around_it_are_read(
    tmp_path: Path, text: str
) -> None:
    drawn = read(file(tmp_path, "a.xyz", text))
    assert (len(drawn.molecules), drawn.refused) == (1, {"unreadable": 1})
    assert "should be a number of atoms, not" in drawn.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.sdf", "", "is empty"),
        ("a.xyz", " \n", "is empty"),
        ("a.pdb", "ATOM", r"ending \'.pdb\' is not known"),
        ("a.sdf", "what is this", "record 1 .*not a mol block"),
        ("a.sdf", "\x00\x01\x02\n$$$$\n\x03\n$$$$\n", "not a text file"),
        ("a.xyz", SILANE, "it has Si; the table of bond lengths knows H, C, N, O, F"),
        ("a.xyz", METHANE.replace("C 0", "Xx 0"), "placeholders"),
        ("a.xyz", METHANE.replace("-0.63", "nan"), "not finite"),
    ],
)
def test_files_without_any_molecule_are_explained(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(file(tmp_path, name, text))


def test_a_missing_file_and_one_without_hydrogens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere.sdf")
    bare = Chem.RemoveHs(embedded("CCO"))
    with pytest.raises(InputError, match="no hydrogens at all"):
        read(file(tmp_path, "a.sdf", record(bare)))
    assert len(read(file(tmp_path, "b.sdf", record(embedded("O=C=O")))).molecules) == 1


def test_windows_line_ends_and_no_last_separator(tmp_path: Path) -> None:
    text = (record(embedded("CCO")) + Chem.MolToMolBlock(embedded("CC"))).replace("\n", "\r\n")
    path = tmp_path / "a.sdf"
    path.write_bytes(text.encode())
    drawn = read(path)
    assert drawn.attempts == 2
    assert [len(molecule) for molecule in drawn.molecules] == [9, 8]
    assert all(np.isfinite(molecule.coordinates).all() for molecule in drawn.molecules)
