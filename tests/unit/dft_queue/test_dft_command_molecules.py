"""Molecules of people's files: what is refused before it is queued, with which reason, and what is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.geometry import lacks_hydrogens
from gapsmith.core.errors import InputError
from gapsmith.core.levels import GENERATED, GFN2, shipped
from gapsmith.dft_queue.commands.molecules import Entry, Wish, entries

TRIAGE, SINGLE, XTB = (Wish(shipped()[name]) for name in ("triage", "single-point", "xtb"))
WATER = "O 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47"


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


def frame(mol: Chem.Mol, *, hydrogens: bool = True) -> str:
    atoms = [atom for atom in mol.GetAtoms() if hydrogens or atom.GetAtomicNum() != 1]
    positions = mol.GetConformer().GetPositions()
    rows = [f"{atom.GetSymbol()} {' '.join(map(str, positions[atom.GetIdx()]))}" for atom in atoms]
    return "\n".join([str(len(rows)), "frame", *rows, ""])


def of_xyz(tmp_path: Path, text: str, wish: Wish = TRIAGE) -> list[Entry]:
    (tmp_path / "a.xyz").write_text(text)
    return list(entries(tmp_path / "a.xyz", wish))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1\nodd\nH 0 0 0\n", "1 electrons cannot have 0 unpaired"),
        ("2\nclash\nO 0 0 0\nC 0 0 0.1\n", "0.100 angstrom apart"),
        ("2\nheavy\nAu 0 0 0\nH 0 0 1.5\n", "no functions for Au"),
        (f"6\ntwo\n{WATER}\n{WATER.replace('O 0 0', 'O 5 0').replace('H 0', 'H 5')}\n", "in 2 pieces"),
        ("2\nnan\nO 0 0 nan\nC 0 0 1.1\n", "not finite"),
        ("2\nshort\nO 0 0 0\n", "it ends after 1 of its 2 atoms"),
        ("121\nmany\n" + "".join(f"He 0 0 {2 * i}\n" for i in range(121)), "121 atoms"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_the_reason_and_the_rest_goes_on(
    tmp_path: Path, text: str, reason: str
) -> None:
    refused, fine = (
        of_xyz(tmp_path, f"{text}3\nwater\n{WATER}\n")
        if "short" not in text
        else (
            of_xyz(tmp_path, text)[0],
            of_xyz(tmp_path, f"3\nwater\n{WATER}\n")[0],
        )
    )
    assert refused.refusal is not None
    assert reason in refused.refusal
    assert not refused.content_hash
    assert (fine.refusal, fine.formula, fine.smiles) == (None, "H2O", "O")
    assert fine.identity is not None


def test_options_let_through_what_they_name(tmp_path: Path) -> None:
    two = f"6\ntwo\n{WATER}\n{WATER.replace('O 0 0', 'O 5 0').replace('H 0', 'H 5')}\n"
    (pair,) = of_xyz(tmp_path, two, Wish(TRIAGE.level, allow_fragments=True))
    assert pair.refusal is None
    assert pair.identity is None  # of one molecule only
    (radical,) = of_xyz(tmp_path, "1\nodd\nH 0 0 0\n", Wish(TRIAGE.level, spin=1))
    assert (radical.refusal, radical.spin) == (None, 1)
    (cation,) = of_xyz(tmp_path, f"3\nwater\n{WATER}\n", Wish(TRIAGE.level, charge=1, spin=1))
    assert (cation.refusal, cation.charge, cation.formula) == (None, 1, "H2O+")


@pytest.mark.parametrize("smiles", ["CCC", "c1ccccc1", "C1CC1", "CCO", "CC(=O)N", "C=CC=C", "CN1CCC1", "OCC(F)CO"])
def test_organic_molecules_without_hydrogens_are_recognised(tmp_path: Path, smiles: str) -> None:
    mol = embedded(smiles)
    whole, bare = of_xyz(tmp_path, frame(mol) + frame(mol, hydrogens=False))
    assert whole.refusal is None
    assert whole.smiles == Chem.CanonSmiles(smiles)  # type: ignore[no-untyped-call]  # RDKit has no type here
    assert bare.refusal is not None
    assert "hydrogens are missing" in bare.refusal or "unpaired" in bare.refusal


@pytest.mark.parametrize(("outer", "length"), [(8, 1.162), (16, 1.553)])
def test_carbon_dioxide_and_disulfide_are_taken(outer: int, length: float) -> None:
    positions = np.array([[0.0, 0.0, -length], [0.0, 0.0, 0.0], [0.0, 0.0, length]])
    assert not lacks_hydrogens(np.array([outer, 6, outer]), positions)


@pytest.mark.parametrize("smiles", ["FC(F)(F)F", "FC(F)=C(F)F", "N#CC#N", "ClC(Cl)(Cl)Cl", "Fc1c(F)c(F)c(F)c(F)c1F"])
def test_molecules_that_have_no_hydrogens_are_taken(smiles: str) -> None:
    mol = embedded(smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    assert not lacks_hydrogens(numbers, mol.GetConformer().GetPositions())


def test_smiles_are_relaxed_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("O water\nC1CC bad\n[CH3] methyl\nO.O dimer\n")
    for wish in (TRIAGE, XTB):
        water, bad, methyl, dimer = entries(tmp_path / "a.smi", wish)
        assert (water.refusal, water.method) == (None, GENERATED)
        assert "not a valid SMILES" in (bad.refusal or "")
        assert (methyl.refusal, methyl.spin) == (None, 1)
        assert "in 2 pieces" in (dimer.refusal or "")
    water, *_ = entries(tmp_path / "a.smi", SINGLE)
    assert "does not relax" in (water.refusal or "")


def test_what_a_geometry_is_a_minimum_of_counts(tmp_path: Path) -> None:
    """A triage of a geometry that GFN2-xTB relaxed is the single point there, so the two are one calculation."""
    text = f"3\nwater\n{WATER}\n"
    ((rough,), (relaxed,), (single,)) = (
        of_xyz(tmp_path, text, wish) for wish in (TRIAGE, Wish(TRIAGE.level, GFN2), Wish(SINGLE.level, GFN2))
    )
    assert relaxed.content_hash == single.content_hash != rough.content_hash


def test_qcschema_documents_are_read(tmp_path: Path) -> None:
    water = {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "symbols": ["O", "H", "H"],
        "geometry": [0, 0, 0.2267, 0, 1.4362, -0.8882, 0, -1.4362, -0.8882],
    }
    cation = {**water, "molecular_charge": 1, "molecular_multiplicity": 2, "name": "cation"}
    failed = {"success": False, "error": {"error_type": "failed", "error_message": "no"}, "extras": {"name": "lost"}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([water, cation, failed, {"symbols": ["O"]}, 7]))
    one, two, three, four, five = entries(path, TRIAGE)
    assert (one.name, one.refusal, one.smiles) == ("1", None, "O")
    assert (two.name, two.refusal, two.charge, two.spin) == ("cation", None, 1, 1)
    assert (three.name, three.refusal) == ("lost", "it is the record of a calculation that failed")
    assert "geometry missing" in (four.refusal or "")
    assert five.refusal is not None
    path.write_text(json.dumps(water))
    assert [entry.refusal for entry in entries(path, TRIAGE)] == [None]
    path.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        list(entries(path, TRIAGE))


def test_an_unknown_ending_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"known: \.smi, \.txt, \.csv, .*, each also with \.gz"):
        list(entries(tmp_path / "a.mol2", TRIAGE))
