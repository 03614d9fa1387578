"""``gapsmith generate`` and ``gapsmith regrow`` with the shipped weights."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.cli.main import cli
from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import CheckpointError, GapsmithError, InputError
from gapsmith.generator.generator import Generator

QUICK = ("--steps", "16", "--threads", "1", "--device", "cpu")
ISOXAZOLE = "OCCC1=CC=NO1"


def gapsmith(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def succeed(*words: str | Path) -> Result:
    result = gapsmith(*words, *QUICK)
    assert result.exit_code == 0, (result.exception, result.output)
    return result


def in_3d(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    return mol


def load(path: Path) -> list[Chem.Mol]:
    mols = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert None not in mols
    return mols


def inchikeys(mols: list[Chem.Mol]) -> list[str]:
    """By the geometries and bonds that were written, not by their tags."""
    return [identify(to_rdkit(from_rdkit(mol))).inchikey for mol in mols]


def kept(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Indices of kept atoms in a result and in its lead."""
    tags = (mol.GetProp("kept_atoms"), mol.GetProp("kept_atoms_in_lead"))
    here, there = (np.array([int(number) - 1 for number in tag.split(",")]) for tag in tags)
    return here, there


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``lead.sdf`` with four decimals, ``lead.xyz`` with ten, ``two.sdf``."""
    path = tmp_path_factory.mktemp("leads")
    mol = in_3d(ISOXAZOLE)
    (path / "lead.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    (path / "lead.xyz").write_text(Chem.MolToXYZBlock(mol, precision=10))
    other = in_3d("CC(=O)OC1CC1")
    other.SetProp("_Name", "the ester")
    (path / "two.sdf").write_text(f"{Chem.MolToMolBlock(mol)}$$$$\n{Chem.MolToMolBlock(other)}$$$$\n")
    return path


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("generated") / "out.sdf"
    return path, succeed("generate", "--gap", "5.0", "-n", "6", "--seed", "3", "-o", path)


@pytest.mark.slow
def test_generate_writes_what_was_asked_for(generated: tuple[Path, Result]) -> None:
    path, result = generated
    mols = load(path)
    assert len(mols) == 6
    assert len(set(inchikeys(mols))) == 6
    assert [mol.GetProp("inchikey") for mol in mols] == [mol.GetProp("_Name") for mol in mols] == inchikeys(mols)
    for mol in mols:
        assert mol.GetConformer().Is3D()
        assert not any(atom.GetNumImplicitHs() for atom in mol.GetAtoms())
        assert Chem.MolToSmiles(Chem.MolFromSmiles(mol.GetProp("smiles"))) == mol.GetProp("smiles")
        assert float(mol.GetProp("target_gap_ev")) == 5.0
        assert mol.GetProp("seed") == "3"
        assert mol.GetProp("steps") == "16"
        assert len(mol.GetProp("weights_sha256")) == 64
        assert mol.GetProp("in_qm9") in ("true", "false")
        assert "V2000" in Chem.MolToMolBlock(mol)
    assert path.read_text().count("V2000") == 6
    assert "molecules  6, all valid and different" in result.stdout
    assert f"file       {path}" in result.stdout
    assert result.stderr == ""  # no progress bar in a pipe
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
def test_same_seed_same_file(generated: tuple[Path, Result], tmp_path: Path) -> None:
    again, other = tmp_path / "again.sdf", tmp_path / "other.sdf"
    succeed("generate", "--gap", "5.0", "-n", "6", "--seed", "3", "-o", again)
    succeed("generate", "--gap", "5.0", "-n", "6", "--seed", "4", "-o", other)
    assert again.read_bytes() == generated[0].read_bytes()
    assert inchikeys(load(other)) != inchikeys(load(again))


@pytest.mark.slow
def test_elements_sizes_and_several_wishes_are_heeded(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    wishes = ("--gap", "7", "--dipole", "2.5", "--polarizability", "60")
    succeed("generate", *wishes, "--elements", "C,O", "--heavy-atoms", "5-7", "-n", "4", "-o", path)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    for row in rows:
        assert set(row["formula"]) <= set("CHO0123456789")
        assert 5 <= int(row["heavy_atoms"]) <= 7
        assert (row["target_gap_ev"], row["target_dipole_debye"]) == ("7.0", "2.5")
        assert row["target_polarizability_bohr3"] == "60.0"


@pytest.mark.slow
def test_a_target_beyond_the_data_warns_with_the_range_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "far.smi"
    result = succeed("generate", "--gap", "1.0", "-n", "1", "-o", path)
    low, high = Generator.load().range_of("gap_ev")
    assert "warning: gap_ev 1 is outside" in result.stderr
    assert f"({low:.3g} to {high:.3g})" in result.stderr
    smiles, key = path.read_text().split()
    assert identify(Chem.AddHs(Chem.MolFromSmiles(smiles))).inchikey == key


@pytest.mark.slow
def test_contradicting_targets_warn(tmp_path: Path) -> None:
    result = succeed("generate", "--gap", "5", "--homo=-6.5", "--lumo", "0.5", "-n", "1", "-o", tmp_path / "out.smi")
    assert "the gap is the LUMO less the HOMO, 7 eV" in result.stderr


@pytest.mark.slow
def test_what_cannot_be_had_in_such_number_is_said(tmp_path: Path) -> None:
    path = tmp_path / "one.smi"
    result = succeed("generate", "--heavy-atoms", "1", "--elements", "C", "-n", "3", "-o", path)
    assert path.read_text() == "C VNWKTOKETHGBQD-UHFFFAOYSA-N\n"
    assert "warning: 1 of 3 molecules: no more such molecules are in reach" in result.stderr
    assert "duplicates:" in result.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Generator.sample
    calls: list[Any] = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        return sample(*args, **kwargs)

    monkeypatch.setattr(Generator, "sample", interrupted)
    path = tmp_path / "out.sdf"
    words = ("generate", "-n", "100", "-o", path)  # more than one round
    result = gapsmith(*words, *QUICK)
    assert result.exit_code == 130
    assert "of 100 molecules: stopped by Ctrl-C" in result.stderr
    assert 32 < len(load(path)) < 100
    path.unlink()
    result = gapsmith(*words, *QUICK)
    assert result.exit_code == 130
    assert "nothing was written" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_kept_atoms_are_the_leads_to_the_bit(folder: Path, tmp_path: Path) -> None:
    """Ten decimals, which takes V3000; an SDF's four stay in V2000."""
    for name, version in (("lead.xyz", "V3000"), ("lead.sdf", "V2000")):
        path = tmp_path / f"{name}.sdf"
        succeed("regrow", folder / name, "--keep", "c1ccno1", "-n", "4", "-o", path)
        if name == "lead.xyz":
            rows = [line.split() for line in (folder / name).read_text().splitlines()[2:]]
            written = np.array([[float(x) for x in row[1:]] for row in rows])
        else:
            written = load(folder / name)[0].GetConformer().GetPositions()
        assert path.read_text().count(version) == 4
        mols = load(path)
        assert len(set(inchikeys(mols))) == 4
        for mol in mols:
            here, there = kept(mol)
            assert set(range(3, 8)) <= set(there)  # the ring
            assert not {0, 1, 2} & set(there)
            assert (mol.GetConformer().GetPositions()[here] == written[there]).all()
            assert mol.GetProp("lead_smiles") == "OCCc1ccno1"
            ring = mol.GetSubstructMatch(Chem.MolFromSmarts("[#6]1~[#6]~[#6]~[#7]~[#8]1"))
            assert set(ring) <= set(here)
            assert 0 <= float(mol.GetProp("similarity_to_lead")) < 1


@pytest.mark.slow
def test_atoms_by_number_are_drawn_again(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.sdf"
    succeed("regrow", folder / "lead.sdf", "--mask-atoms", "1-2", "-n", "3", "--size-change", "0", "-o", path)
    for mol in load(path):
        _, there = kept(mol)
        assert {2, 3, 4, 5, 6, 7} == {atom for atom in there if atom < 8}
        assert mol.GetNumHeavyAtoms() <= 8


@pytest.mark.slow
def test_several_leads_take_turns_and_do_not_come_back(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.sdf"
    result = succeed("regrow", folder / "two.sdf", "--mask-fraction", "0.4", "-n", "10", "--gap", "6", "-o", path)
    mols = load(path)
    parents = [mol.GetProp("lead") for mol in mols]
    assert set(parents) == {"1", "the ester"}  # without a name, its number
    assert min(parents.count(one) for one in set(parents)) >= 3
    assert not set(inchikeys(mols)) & set(inchikeys(load(folder / "two.sdf")))
    assert len({mol.GetProp("kept_atoms_in_lead") for mol in mols}) > 2
    assert "molecules  10" in result.stdout


@pytest.mark.slow
def test_a_drawing_is_embedded_and_its_user_told(tmp_path: Path) -> None:
    drawing = Chem.MolFromSmiles(ISOXAZOLE)
    AllChem.Compute2DCoords(drawing)
    (tmp_path / "flat.mol").write_text(Chem.MolToMolBlock(drawing))
    result = succeed("regrow", tmp_path / "flat.mol", "--mask", "[OX2H]", "-n", "1", "-o", tmp_path / "out.sdf")
    assert "note:" in result.stderr
    assert "no 3D coordinates" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", "-o", "out.sdf", "-n", "0"), "'-n'"),
        (("generate", "-o", "out.sdf", "--gap", "nan"), "--gap.*finite"),
        (("generate", "-o", "out.sdf", "--gap", "four"), "--gap"),
        (("generate", "-o", "out.sdf", "--dipole", "-1"), "--dipole.*at least 0"),
        (("generate", "-o", "out.sdf", "--temperature", "0"), "--temperature.*above 0"),
        (("generate", "-o", "out.sdf", "--guidance", "-1"), "--guidance"),
        (("generate", "-o", "out.sdf", "--steps", "0"), "--steps"),
        (("generate", "-o", "out.sdf", "--elements", "C,Si"), "'Si'"),
        (("generate", "-o", "out.sdf", "--heavy-atoms", "0-4"), "--heavy-atoms.*impossible"),
        (("generate", "-o", "out.sdf", "--heavy-atoms", "8-12"), "--heavy-atoms.*knows molecules of 1 to 9"),
        (("generate", "-o", "out.sdf", "--device", "tricorder"), "--device: 'tricorder' cannot be used here"),
        (("generate", "-o", "out.sdf", "--weights", "none.safetensors"), "none.safetensors is missing"),
        (("generate", "-o", "out.pdb"), "'.pdb'.*\\.sdf, \\.smi, \\.csv"),
        (("generate", "-o", "out"), "no ending"),
        (("generate", "-o", "nowhere/out.sdf"), "mkdir -p nowhere"),
        (("generate",), "'-o'"),
        (("regrow", "lead.sdf", "-o", "lead.sdf"), "is the lead itself"),
        (("regrow", "none.sdf", "-o", "out.sdf"), "none.sdf does not exist"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--mask-fraction", "1.5"), "--mask-fraction is 1.5"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--mask-fraction", "0"), "--mask-fraction is 0"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--keep", "[C"), "not a SMARTS pattern"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--mask", "S"), "matches no heavy atom of lead.sdf"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--keep", "*"), "nothing to draw"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--keep", "C", "--mask", "CO"), "both name atom 2"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--mask-atoms", "3-99"), "no 16"),
        (("regrow", "two.sdf", "-o", "out.sdf", "--mask-atoms", "3"), "two.sdf has 2"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--depth", "0"), "--depth.*above 0"),
        (("regrow", "lead.sdf", "-o", "out.sdf", "--size-change", "-1"), "--size-change"),
        (
            ("regrow", "lead.sdf", "-o", "out.sdf", "--keep", "c", "--heavy-atoms", "2-3"),
            "3 atoms of lead.sdf record 1 .* are kept",
        ),
        (
            ("regrow", "lead.sdf", "-o", "out.sdf", "--heavy-atoms", "9", "--size-change", "0"),
            "may grow by 0; raise --size-change",
        ),
    ],
)
def test_wrong_requests_are_explained_and_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    for name in ("lead.sdf", "two.sdf"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    result = gapsmith(*words)
    text = str(result.exception) if isinstance(result.exception, GapsmithError) else result.stderr
    assert isinstance(result.exception, InputError | CheckpointError) or result.exit_code == 2
    assert "Traceback" not in text
    with pytest.raises(InputError, match=message):
        raise InputError(text.replace("\n", " "))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gapsmith.cli.main import cli\n"
        "for name in ('generate', 'regrow'): assert CliRunner().invoke(cli, [name, '--help']).exit_code == 0\n"
        "sys.exit(bool({'torch', 'rdkit', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
