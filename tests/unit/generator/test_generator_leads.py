"""Leads out of files, and which part of them may change."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cards import DOMAIN
from rdkit import Chem
from rdkit.Chem import AllChem
from sampled import examples

from gapsmith.core.errors import InputError
from gapsmith.generator.commands.leads import Lead, read_leads
from gapsmith.generator.commands.region import Region
from gapsmith.generator.masks import patch
from gapsmith.generator.molecule import order_matrix


def in_3d(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    return mol


def write(path: Path, *smiles: str) -> Path:
    path.write_text("".join(f"{Chem.MolToMolBlock(in_3d(one))}$$$$\n" for one in smiles))
    return path


def read_one(path: Path) -> Lead:
    (lead,) = read_leads(path, DOMAIN)
    return lead


@pytest.fixture(scope="module")
def isoxazole(tmp_path_factory: pytest.TempPathFactory) -> Lead:
    """Atoms in the file: O1 C2 C3, ring C4 C5 C6 N7 O8, then hydrogens, the first of which is the hydroxyl's."""
    return read_one(write(tmp_path_factory.mktemp("leads") / "lead.sdf", "OCCC1=CC=NO1"))


def test_a_lead_is_what_its_file_says(tmp_path: Path) -> None:
    mol = in_3d("CC(=O)NC1CC1")
    mol.SetProp("_Name", "amide")
    path = tmp_path / "one.mol"
    path.write_text(Chem.MolToMolBlock(mol))
    lead = read_one(path)
    assert lead.name == "amide"
    assert lead.changes is None
    assert lead.identity.smiles == "CC(=O)NC1CC1"
    assert (lead.molecule.coordinates == np.round(mol.GetConformer().GetPositions(), 4)).all()
    assert lead.molecule.numbers.tolist() == [atom.GetAtomicNum() for atom in mol.GetAtoms()]


def test_v3000_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "one.sdf"
    path.write_bytes(Chem.MolToV3KMolBlock(in_3d("CCO")).replace("\n", "\r\n").encode())
    assert read_one(path).identity.smiles == "CCO"


def test_several_records_are_told_apart(tmp_path: Path) -> None:
    leads = read_leads(write(tmp_path / "two.sdf", "CCO", "CCN"), DOMAIN)
    assert [lead.identity.smiles for lead in leads] == ["CCO", "CCN"]
    assert leads[1].where == f"{tmp_path / 'two.sdf'} record 2 (line 24)"


def test_bonds_of_an_xyz_file_are_perceived_and_its_digits_kept(tmp_path: Path) -> None:
    blocks = [Chem.MolToXYZBlock(in_3d(smiles), precision=10) for smiles in ("CC=O", "C1CC1")]
    path = tmp_path / "two.xyz"
    path.write_text("\n".join(blocks))
    first, second = read_leads(path, DOMAIN)
    assert [first.identity.smiles, second.identity.smiles] == ["CC=O", "C1CC1"]
    assert second.where == f"{path} frame 2 (line 11)"
    written = [float(x) for line in blocks[0].splitlines()[2:] for x in line.split()[1:]]
    assert first.molecule.coordinates.ravel().tolist() == written


def test_a_drawing_is_embedded_and_its_atoms_keep_their_numbers(tmp_path: Path) -> None:
    drawing = Chem.MolFromSmiles("OCCC1=CC=NO1")
    AllChem.Compute2DCoords(drawing)
    path = tmp_path / "drawn.mol"
    Chem.MolToMolFile(drawing, str(path))
    lead = read_one(path)
    assert lead.changes is not None
    assert "no 3D coordinates" in lead.changes
    assert np.ptp(lead.molecule.coordinates, axis=0).min() > 0.5
    assert lead.molecule.numbers[:8].tolist() == [8, 6, 6, 6, 6, 6, 7, 8]
    assert lead.identity.smiles == "OCCc1ccno1"


def test_missing_hydrogens_are_added_around_the_atoms_of_the_file(tmp_path: Path) -> None:
    bare = Chem.RemoveHs(in_3d("CCO"))
    path = tmp_path / "bare.mol"
    Chem.MolToMolFile(bare, str(path))
    lead = read_one(path)
    assert lead.changes is not None
    assert "6 hydrogens were missing" in lead.changes
    assert (lead.molecule.coordinates[:3] == np.round(bare.GetConformer().GetPositions(), 4)).all()
    assert (lead.molecule.numbers == 1).sum() == 6


def truncated(path: Path) -> None:
    write(path, "CCO")
    path.write_text(path.read_text()[:300])


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.sdf", lambda path: None, "does not exist"),
    "ending": ("a.pdb", lambda path: path.write_text("x"), "ending '.pdb' is not known"),
    "empty": ("a.sdf", lambda path: path.write_text(" \n"), "is empty"),
    "no molecule": ("a.sdf", lambda path: path.write_text("hello\n$$$$\n"), "not a mol block"),
    "truncated": ("a.sdf", truncated, "not a mol block.*ends without a line 'M  END'"),
    "bytes": ("a.sdf", lambda path: path.write_bytes(bytes(range(256)) * 4), "not a text file"),
    "five bonds": (
        "a.mol",
        lambda path: path.write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False))),
        "valence",
    ),
    "element": (
        "a.sdf",
        lambda path: write(path, "CCO", "CCS"),
        "record 2 .*it has S; the model knows H, C, N, O, F",
    ),
    "charged": ("a.sdf", lambda path: write(path, "C[NH3+]"), "charge.*neutral"),
    "radical": ("a.sdf", lambda path: write(path, "C[CH2]"), "unpaired"),
    "salt": ("a.sdf", lambda path: write(path, "CO.CO"), "in 2 pieces.*one molecule a record"),
    "large": ("a.sdf", lambda path: write(path, "C" * 20), "20 atoms other than hydrogen"),
    "hydrogen": ("a.sdf", lambda path: write(path, "[H][H]"), "0 atoms other than hydrogen"),
    "xyz count": ("a.xyz", lambda path: path.write_text("CCO\n"), "line 1 should be a number of atoms"),
    "xyz end": ("a.xyz", lambda path: path.write_text("3\n\nC 0 0 0\n"), "ends after 1 of its 3 atoms"),
    "xyz row": ("a.xyz", lambda path: path.write_text("1\n\nC 0 0\n"), "line 3, atom 1 of 1 should be an element"),
    "xyz element": ("a.xyz", lambda path: path.write_text("1\n\nXx 0 0 0\n"), "placeholders"),
    "xyz bonds": ("a.xyz", lambda path: path.write_text("2\n\nC 0 0 0\nC 9 0 0\n"), "in 2 pieces"),
    "xyz infinite": ("a.xyz", lambda path: path.write_text("1\n\nC 0 0 inf\n"), "finite"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_of_no_use_is_explained(tmp_path: Path, case: str) -> None:
    name, make, message = BROKEN[case]
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        read_leads(tmp_path / name, DOMAIN)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("region", "free"),
    [
        (Region(keep="c1ccno1"), [0, 1, 2]),
        (Region(mask="[OX2H]"), [0]),
        (Region(mask="[#6;D1,D2]-[O;D1]"), [0, 1]),  # the degree counts no hydrogens
        (Region(mask="[H]O"), [0]),
        (Region(atoms=(1, 2)), [0, 1]),
        (Region(atoms=(1, 9)), [0]),  # the hydroxyl with its hydrogen
        (Region(mask="[OX2H]", atoms=(3,)), [0, 2]),
        (Region(mask="[OX2H]", keep="c"), [0]),
        (Region(), list(range(8))),
    ],
)
def test_patterns_and_numbers_say_what_may_change(isoxazole: Lead, region: Region, free: list[int]) -> None:
    region.check()
    assert np.flatnonzero(region.free(isoxazole)).tolist() == free


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Region(keep="[C"), "--keep: '\\[C' is not a SMARTS pattern"),
        (Region(mask=""), "--mask: '' is not a SMARTS pattern"),
        (Region(keep="S"), "--keep: 'S' matches no heavy atom"),
        (Region(mask="F"), "--mask: 'F' matches no heavy atom"),
        (Region(mask="[H]", keep="C"), "--mask: '\\[H\\]' matches no heavy atom"),
        (Region(keep="[!#1]"), "nothing to draw"),
        (Region(keep="C", mask="CO"), "both name atom 2 of"),
        (Region(keep="C", atoms=(3, 4)), "both name atom 3 of"),
        (Region(atoms=(16,)), "atoms 1 to 15, but no 16"),
        (Region(atoms=(0,)), "no 0"),
        (Region(atoms=(2, 9)), "atom 9 of .* is a hydrogen; name the atom that carries it, 1"),
        (Region(mask="C", fraction=0.5), "give either"),
        (Region(atoms=(1,), fraction=0.5), "give either"),
        (Region(fraction=0.0), "above 0"),
        (Region(fraction=1.01), "above 0"),
        (Region(fraction=float("nan")), "above 0"),
    ],
)
def test_regions_that_make_no_sense_are_explained(isoxazole: Lead, region: Region, message: str) -> None:
    def use() -> None:
        region.check()
        region.free(isoxazole)

    with pytest.raises(InputError, match=message):
        use()


def drawn(region: Region, lead: Lead, free: np.ndarray, seed: int) -> np.ndarray:
    """What one attempt draws again."""
    orders = order_matrix(lead.molecule)[np.ix_(lead.heavy, lead.heavy)]
    return patch(orders, region.share, np.random.default_rng(seed), free)


@settings(max_examples=examples(40), deadline=None)
@given(fraction=st.floats(0.01, 1), seed=st.integers(0, 2**32), keep=st.sampled_from([None, "c1ccno1", "[OX2H]"]))
def test_a_patch_lies_in_what_is_free_and_has_its_share(
    isoxazole: Lead, fraction: float, seed: int, keep: str | None
) -> None:
    region = Region(keep=keep, fraction=fraction)
    free = region.free(isoxazole)
    masked = drawn(region, isoxazole, free, seed)
    assert not (masked & ~free).any()
    assert masked.sum() == min(free.sum(), max(1, round(fraction * len(free))))


def test_a_named_part_is_drawn_whole_and_a_lead_by_default_in_part(isoxazole: Lead) -> None:
    for region in (Region(keep="c1ccno1"), Region(mask="CCO"), Region(atoms=(5, 6))):
        free = region.free(isoxazole)
        assert (drawn(region, isoxazole, free, 0) == free).all()
    patches = {tuple(drawn(Region(), isoxazole, np.ones(8, dtype=bool), seed)) for seed in range(20)}
    assert {sum(masked) for masked in patches} == {2}  # 0.3 of 8
    assert len(patches) > 3
