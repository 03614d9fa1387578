"""What the reader knows besides the geometry, in every format; what cannot be read has its reason and its line."""

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem
from sampled import examples

from gapsmith.core.chemistry.reader import FORMATS, ReadOptions, ending_of, read_molecules
from gapsmith.core.chemistry.records import Record, from_smiles
from gapsmith.core.errors import InputError

WATER = "O 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"
ATOMS = np.array([[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])


def embedded(smiles: str, *, hydrogens: bool = True) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def read(tmp_path: Path, name: str, data: str | bytes, **options: str) -> list[Record]:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_molecules(tmp_path / name, ReadOptions(**options)))


def one(tmp_path: Path, name: str, data: str | bytes, **options: str) -> Record:
    (record,) = read(tmp_path, name, data, **options)
    assert record.error is None, record.error
    return record


def block(smiles: str, *, hydrogens: bool = True) -> str:
    return Chem.MolToMolBlock(embedded(smiles, hydrogens=hydrogens))


@pytest.mark.parametrize(
    ("smiles", "charge", "radicals", "stated"),
    [
        ("CC", 0, 0, None), ("[NH4+]", 1, 0, None), ("CC(=O)[O-]", -1, 0, None), ("C[CH2]", 0, 1, 1),
        ("[CH2]", 0, 2, 2), ("[O][O]", 0, 2, None),
    ],
)  # fmt: skip
def test_charge_and_spin_are_read(tmp_path: Path, smiles: str, charge: int, radicals: int, stated: int | None) -> None:
    """A SMILES says how many bonds are missing, a mol block what one radical centre's multiplicity is."""
    for record, spin in ((one(tmp_path, "a.sdf", block(smiles) + "$$$$\n"), stated), (from_smiles(smiles, "x"), None)):
        assert (record.error, record.charge, record.radicals, record.spin) == (None, charge, radicals, spin)
        assert sorted(record.numbers) == sorted(
            a.GetAtomicNum() for a in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms()
        )


@pytest.mark.parametrize(("smiles", "missing"), [("c1ccccc1C", 8), ("CCO", 6), ("O=C=O", 0)])
def test_missing_hydrogens_are_counted(tmp_path: Path, smiles: str, missing: int) -> None:
    assert one(tmp_path, "a.mol", block(smiles, hydrogens=False)).missing_hydrogens == missing


# Text and encoding


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_any_usual_encoding_line_end_and_compression(tmp_path: Path, encoding: str, end: str, packed: bool) -> None:
    data = end.join(["smiles,name", "CCO,äthanol", "C=O,formaldehyde", ""]).encode(encoding)
    name, data = ("a.csv.gz", gzip.compress(data)) if packed else ("a.csv", data)
    records = read(tmp_path, name, data)
    assert [(record.smiles, record.name) for record in records] == [("CCO", "äthanol"), ("C=O", "formaldehyde")]


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_not_text_is_refused_in_every_format(tmp_path: Path, ending: str) -> None:
    for data, words in (
        (bytes(range(256)) * 40, "not a text file"),
        (b" \n\n", "is empty"),
        (b"", "is empty"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"C methane\n" * 3)[:-12], "compressed data ends early"),
    ):
        (tmp_path / f"a{ending}").write_bytes(data)
        with pytest.raises(InputError, match=rf"a\{ending}.*{words}"):
            list(read_molecules(tmp_path / f"a{ending}"))


def test_what_came_before_damaged_data_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = "".join(f"CC {rng.bytes(200).hex()}\n" for _ in range(1000))
    records = read(tmp_path, "a.smi.gz", gzip.compress(data.encode())[:-4_000])
    assert len(records) > 500
    assert all(record.error is None for record in records[:-1])
    assert "the rest cannot be read" in (records[-1].error or "")


def test_files_that_are_not_there_or_have_another_ending(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(read_molecules(tmp_path / "a.sdf"))
    (tmp_path / "folder.sdf").mkdir()
    with pytest.raises(InputError, match="directory"):
        list(read_molecules(tmp_path / "folder.sdf"))
    for name, words in (("a.mol2", "'.mol2' is not known; known: .smi"), ("a", "no ending"), ("a.gz", "no ending")):
        with pytest.raises(InputError, match=words):
            ending_of(tmp_path / name)
    assert [ending_of(Path(f"x{one}.GZ")) for one in FORMATS] == list(FORMATS)


@pytest.mark.parametrize(
    ("text", "smiles"),
    [
        ("CCO ethanol\n", "CCO"),
        ("smiles;name\nCCO;ethanol\n", "CCO"),
        ("[NH4+]\n", "[NH4+]"),
        (block("CCO"), "CCO"),
        (f"3\n\n{WATER}", None),
        ('{"symbols": ["He"], "geometry": [0, 0, 0]}', None),
        ('[\n {"symbols": ["He"], "geometry": [0, 0, 0]}]', None),
    ],
)
def test_a_stream_shows_its_format(text: str, smiles: str | None) -> None:
    (record,) = read_molecules(io.BytesIO(text.encode()))
    assert (record.error, record.smiles) == (None, smiles)
    assert record.where.startswith("standard input ")


# Tables


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("smiles,name", "CCO,x"),
        ("SMILES\tName\tMW", "CCO\tx\t46.1"),
        ('"ChEMBL ID";"Name";"Smiles"', '"C1";"x";"CCO"'),
        ("canonical_smiles,title", "CCO,x"),
        ("Isomeric SMILES,Compound Name", "CCO,x"),
        ("cid,cmpdname,mw,isosmiles,canonicalsmiles", "712,x,30.03,CCO,O"),
        ("id,compound_smiles", "x,CCO"),
        ("label,canonical_smile", "x,CCO"),
        (",smiles,molecule_name", "0,CCO,x"),
        ('"smiles","name"', '"CCO","x"'),
        ("smiles|name", "CCO|x"),
        ("# written by a program\nsmiles,name", "CCO,x"),
        ("name,gap_ev,smiles,", "x,1.5,CCO,,"),
        ('"Weight, g/mol";"Smiles";"Name"', '"46,1";"CCO";"x"'),
        ("sep=;\nsmiles;name", "CCO;x"),
        ("SMILES Name", "CCO x"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".smi"])
def test_columns_and_delimiters_are_found(tmp_path: Path, header: str, row: str, ending: str) -> None:
    record = one(tmp_path, f"a{ending}", f"{header}\n\n{row}\n")
    assert (record.smiles, record.name) == ("CCO", "x")


def test_columns_can_be_named_and_the_others_are_kept(tmp_path: Path) -> None:
    text = "smiles,mine,label,gap\nC,CCO,one,4.1\n"
    record = one(tmp_path, "a.csv", text, smiles_column="mine", name_column="LABEL")
    assert (record.smiles, record.name, record.fields) == ("CCO", "one", {"smiles": "C", "gap": "4.1"})
    assert one(tmp_path, "a.csv", text, smiles_column="2").smiles == "CCO"
    with pytest.raises(InputError, match="no column 'x'; its columns: smiles, mine, label, gap"):
        read(tmp_path, "a.csv", text, smiles_column="x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("molecule,x\nC,1\n", "no column of SMILES; name it with --smiles-column; its columns: molecule, x"),
        ("a_smiles,b_smiles\nC,C\n", "several columns of SMILES"),
        ("CCO,ethanol\nC,methane\n", r"'CCO' is a SMILES: put a header above it, or give the file the ending \.smi"),
        ("smiles,name\n", "holds no molecules"),
    ],
)
def test_tables_without_a_column_of_smiles_are_explained(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, "a.csv", text)


def test_every_row_is_there_with_its_line_and_reason(tmp_path: Path) -> None:
    text = "name,smiles,x\nring,C1CC,1\n\nempty,,2\nmany,CC,3,4\nfive,C(C)(C)(C)(C)C,5\nfew,C\nlast,O,6\n"
    records = read(tmp_path, "a.csv", text)
    assert [record.name for record in records] == ["ring", "empty", "many", "five", "few", "last"]
    assert [record.where.rpartition(" ")[2] for record in records] == ["2", "4", "5", "6", "7", "8"]
    words = ["unclosed ring", "column 'smiles' is empty", "4 cells, the header 3", "Explicit valence for atom # 0 C, 5"]
    for record, word in zip(records, words, strict=False):
        assert word in (record.error or "")
    assert [record.error for record in records[4:]] == [None, None]


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_an_open_quotation_mark_swallows_no_molecule(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 8))
    broken = data.draw(st.sets(st.integers(0, count - 1)))
    names = [f'"a, {index}"' if index % 3 == 0 else f"a{index}" for index in range(count)]
    names = [f'"a{index}' if index in broken else name for index, name in enumerate(names)]
    lines = [f"{'C' * (index + 1)},{name}" for index, name in enumerate(names)]
    records = read(tmp_path_factory.mktemp("q"), "a.csv", "\n".join(["smiles,name", *lines]))
    assert [record.smiles for record in records] == ["C" * (index + 1) for index in range(count)]
    assert [bool(record.notes) for record in records] == [index in broken for index in range(count)]


def test_text_in_quotation_marks_may_span_lines(tmp_path: Path) -> None:
    records = read(tmp_path, "a.csv", 'smiles,name,note\nC,"one","a\nb ""c"", d\n"\nCC,two,\n')
    assert [(record.name, record.fields["note"]) for record in records] == [("one", 'a\nb "c", d\n'), ("two", "")]


def test_lines_of_smiles(tmp_path: Path) -> None:
    text = "# comment\nCCO ethanol and more\n\nCC\tethane\nC,methane\nO;water\nC[CH2] |^1:1| ethyl\nCCC\nfoo bar\n"
    records = read(tmp_path, "a.smi", text)
    names = ["ethanol and more", "ethane", "methane", "water", "ethyl", "6", "bar"]
    assert [record.name for record in records] == names
    assert [record.error is None for record in records] == [True] * 6 + [False]
    assert "syntax error" in (records[-1].error or "")
    assert records[-1].where.endswith("line 9")


def test_atom_maps_make_no_other_molecule() -> None:
    mols = [from_smiles(smiles, "x").mol for smiles in ("CCO", "[CH3:1][CH2:3][OH:2]", "[H]OC([H])([H])C")]
    assert {Chem.MolToSmiles(mol) for mol in mols if mol is not None} == {"CCO"}


def test_isotopes_are_mapped_and_said(tmp_path: Path) -> None:
    plain, heavy = read(tmp_path, "a.smi", "CCO\n[2H]C([2H])([2H])[13CH2]O\n")
    assert sorted(plain.numbers) == sorted(heavy.numbers)
    assert heavy.mol is not None
    assert Chem.MolToSmiles(heavy.mol) == "CCO"
    assert heavy.notes == ("isotopes are not told apart: 13C, 2H",)


# MDL


def test_broken_records_leave_their_neighbours_alone(tmp_path: Path) -> None:
    good = block("CCO")
    cut = "\n".join([*good.splitlines()[:9], ""])
    no_end = good.replace("M  END\n", "")
    records = read(tmp_path, "a.sdf", "$$$$\n".join([good, "hello\n", no_end, good, cut, "", good, "\n"]))
    assert [record.error is None for record in records] == [True, False, False, True, False, False, True]
    assert "ends without a line 'M  END'" in (records[2].error or "")
    assert records[5].error == "the record is empty"
    starts = [int(record.where.rpartition("line ")[2].rstrip(")")) for record in records]
    lines = (tmp_path / "a.sdf").read_text().splitlines()
    assert starts == [1, *(index + 2 for index, line in enumerate(lines) if line == "$$$$")][: len(starts)]


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C/C=C/C", "C/C=C\\C"])
def test_stereochemistry_of_drawings_and_of_geometries(tmp_path: Path, smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    AllChem.Compute2DCoords(mol)
    for text in (Chem.MolToMolBlock(mol), block(smiles)):
        assert one(tmp_path, "a.mol", text).smiles == Chem.CanonSmiles(smiles)  # type: ignore[no-untyped-call]  # RDKit has no type here


@pytest.mark.parametrize("closed", [True, False])
def test_a_missing_separator_swallows_no_record(tmp_path: Path, closed: bool) -> None:
    first, second = block("CCO"), block("CCN").replace("\n", "amine\n", 1)
    if not closed:
        first = first.replace("M  END\n", "")
    records = read(tmp_path, "a.sdf", first + second + "$$$$\n" + block("CCF"))
    assert [record.error is None for record in records] == [closed, True, True]
    assert [(record.name, record.smiles) for record in records[1:]] == [("amine", "CCN"), ("3", "CCF")]


@pytest.mark.parametrize(("value", "spin"), [(1, 0), (2, 1), (3, 2)])
def test_radicals_of_the_property_block(tmp_path: Path, value: int, spin: int) -> None:
    smiles = "[CH3]" if value == 2 else "[CH2]"
    text = re.sub(r"M  RAD.*\n", f"M  RAD  1   1   {value}\n", block(smiles))
    assert one(tmp_path, "a.mol", text).spin == spin


@pytest.mark.parametrize("symbol", ["R#", "R ", "R1", "* ", "A ", "Q ", "X ", "L ", "LP"])
def test_placeholders_have_number_zero(tmp_path: Path, symbol: str) -> None:
    record = one(tmp_path, "a.sdf", block("CF").replace(" F ", f" {symbol}"))
    assert sorted(record.numbers) == [0, 1, 1, 1, 6]


@pytest.mark.parametrize("place", [0, 1, 3, 4, 7, 12, 20])
@pytest.mark.parametrize("separator", ["$$$$\n", "$$$$\n\n"])
def test_stray_blank_lines_are_harmless(tmp_path: Path, place: int, separator: str) -> None:
    lines = Chem.MolToMolBlock(embedded("CCO")).splitlines()
    lines[0] = "ethanol"
    lines.insert(place, "")
    (tmp_path / "a.sdf").write_text(("\n".join(lines) + f"\n{separator}") * 2)
    records = list(read_molecules(tmp_path / "a.sdf"))
    assert [(record.error, record.smiles, record.name) for record in records] == [(None, "CCO", "ethanol")] * 2


@pytest.mark.parametrize("place", range(24, 52))
def test_a_character_that_rdkit_cuts_in_two_when_it_complains_is_harmless(tmp_path: Path, place: int) -> None:
    lines = block("CC").splitlines()
    lines[4] = lines[4][:place] + "\u4e2d" + lines[4][place + 1 :]
    first, second = read(tmp_path, "a.sdf", "\n".join(lines) + "\n$$$$\n" + block("CO") + "$$$$\n")
    assert first.error is None or "mol block" in first.error or "atom" in first.error
    assert second.smiles == "CO"


def test_tags_are_kept_and_can_be_the_name(tmp_path: Path) -> None:
    text = block("CCO") + ">  <ID>\nx1\n\n> 25 <note> (1)\nfirst\nsecond\n\n$$$$\n"
    record = one(tmp_path, "a.sd", text)
    assert (record.name, record.fields) == ("1", {"ID": "x1", "note": "first\nsecond"})
    record = one(tmp_path, "a.sd", text, name_column="ID")
    assert (record.name, record.fields) == ("x1", {"note": "first\nsecond"})


def test_the_newer_format_with_and_without_a_geometry(tmp_path: Path) -> None:
    solid = embedded("CCO")
    flat = Chem.MolFromSmiles("CCO")
    AllChem.Compute2DCoords(flat)
    first, second = read(tmp_path, "a.sdf", f"{Chem.MolToV3KMolBlock(solid)}$$$$\n{Chem.MolToV3KMolBlock(flat)}$$$$\n")
    assert first.geometry is not None
    np.testing.assert_allclose(first.geometry.coordinates, solid.GetConformer().GetPositions(), atol=1e-4)
    assert second.geometry is None
    assert (first.smiles, second.smiles) == ("CCO", "CCO")


def test_an_impossible_structure_keeps_its_geometry_and_says_why(tmp_path: Path) -> None:
    mol = Chem.RWMol(embedded("CC"))
    mol.AddBond(0, 5, Chem.BondType.SINGLE)
    record = one(tmp_path, "a.sdf", Chem.MolToMolBlock(mol, kekulize=False))
    assert record.geometry is not None
    assert record.fault is not None
    assert "only its geometry is used: Explicit valence for atom # 0 C, 5" in record.notes[0]


# XYZ


@pytest.mark.parametrize(
    "text",
    [
        f"3\n\n{WATER}",
        f"\n\n  3  \nwater\n{WATER}\n\n\n",
        f"3\nwater\n{WATER.replace('O ', 'o ').replace('H ', 'h ')}",
        f"3\nwater\n{WATER.replace('O ', '8 ').replace('H ', '1 ')}",
        "3\nwater\nO1 0 0 1.2D-01\nH2 0.0d0 7.6D-1 -.47\nH3 0 -7.6*^-1 -4.7E-1\n",
        "3\nwater\nO(1)\t0\t0\t.12\t-0.5\nH_2\t0\t.76\t-.47\t0.2\nD\t0\t-.76\t-.47\t0.2\n",
        "3\nwater\nO, 0, 0, .12\nH,0,.76,-.47\nH 0.0, -.76, -.47\n",
        'Lattice="9 0 0 0 9 0 0 0 9" Properties=id:I:1:species:S:1:forces:R:3:pos:R:3 energy=-1.5 pbc="F F F"',
        "3\ngdb 1\tx\nO\t0\t0\t.12\t0\nH\t0\t.76\t-.47\t0\nH\t0\t-.76\t-.47\t0\n1.5\t2.5\t3.5\nO\tO\nInChI\tInChI\n",
    ],
)
def test_layouts_of_xyz(tmp_path: Path, text: str) -> None:
    if text.startswith("Lattice"):
        rows = zip("OHH", ATOMS, strict=True)
        lines = [f"{index} {symbol} 9 9 9 {' '.join(map(str, row))}" for index, (symbol, row) in enumerate(rows)]
        text = "\n".join(["3", text, *lines])
    for copies in (1, 3):
        records = read(tmp_path, "a.xyz", (text.rstrip("\n") + "\n") * copies)
        assert len(records) == copies
        for record in records:
            assert record.error is None
            assert record.geometry is not None
            assert record.geometry.numbers.tolist() == [8, 1, 1]
            np.testing.assert_allclose(record.geometry.coordinates, ATOMS)


@pytest.mark.parametrize(
    ("comment", "charge", "spin", "name"),
    [
        ("", None, None, "1"),
        ("water", None, None, "water"),
        ("0 1", 0, 0, "1"),
        ("1 2", 1, 1, "1"),
        ("-2 1", -2, 0, "1"),
        ("\N{MINUS SIGN}2 1 dianion", -2, 0, "dianion"),
        ("0 3", 0, 2, "1"),
        ("-2,1", -2, 0, "1"),
        ("total charge: -1 mult 2", -1, 1, "total charge: -1 mult 2"),
        ("charge=1 multiplicity=2", 1, 1, "charge=1 multiplicity=2"),
        ("q=-2 uhf=0 name=ion", -2, 0, "ion"),
        ("Charge: -2", -2, None, "Charge: -2"),
        ("Properties=species:S:1:pos:R:3 charge=1.0 spin=2", 1, 1, "1"),  # the multiplicity
        ("Properties=species:S:1:pos:R:3 charge=1 spin=1", 1, 1, "1"),  # the unpaired electrons
        ("1 2 dichloroethane", None, None, "1 2 dichloroethane"),
        ("energy -76.4 at step 10", None, None, "energy -76.4 at step 10"),
    ],
)
def test_charge_and_spin_of_a_comment(
    tmp_path: Path, comment: str, charge: int | None, spin: int | None, name: str
) -> None:
    record = one(tmp_path, "a.xyz", f"3\n{comment}\n{WATER}")
    assert (record.charge, record.spin, record.name) == (charge, spin, name)
    assert bool(record.notes) == bool(charge or spin)


@pytest.mark.parametrize("comment", ["1 1", "-2", "0 2"])
def test_what_may_be_a_charge_and_is_not_used_is_said(tmp_path: Path, comment: str) -> None:
    record = one(tmp_path, "a.xyz", f"3\n{comment}\n{WATER}")
    assert (record.charge, record.spin) == (None, None)
    assert "not used" in record.notes[0]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (f"4\ntoo many\n{WATER}", "line {line}, atom 4 of 4 should be an element and x y z, not '3'"),
        (f"2\ntoo few\n{WATER}", "more atoms than the 2"),
        (f"999999999999\nhuge\n{WATER}", "atom 4 of 999999999999"),
        ("0\nnone\n", "it has no atoms"),
        (f"-3\nnegative\n{WATER}", "should be a number of atoms, not '-3'"),
        (f"three\nword\n{WATER}", "should be a number of atoms, not 'three'"),
        (f"3\nelement\n{WATER.replace('O', 'Qq')}", "not 'Qq 0 0 0.12'"),
        (f"3\nnumber\n{WATER.replace('0.12', 'x')}", "not 'O 0 0 x'"),
        (f"3\ncomma\n{WATER.replace('0.12', '0,12')}", "not 'O 0 0 0,12'"),
        (f"3\noverflow\n{WATER.replace('0.12', '*****')}", "not 'O 0 0 *****'"),
        (f"3\nshort\n{WATER.replace(' 0.12', '')}", "not 'O 0 0'"),
        (f"3\nbeyond\n{WATER.replace('O', '119')}", "not '119 0 0 0.12'"),
    ],
)
def test_reading_goes_on_after_a_broken_frame(tmp_path: Path, broken: str, words: str) -> None:
    good = f"3\ngood\n{WATER}"
    first, second, third = read(tmp_path, "a.xyz", good + broken + good)
    assert [first.name, third.name] == ["good", "good"]
    assert [first.error, third.error] == [None, None]
    assert words.format(line=11) in (second.error or "")
    assert "frame 2 (line 6)" in second.where
    *_, last = read(tmp_path, "b.xyz", f"{good}3\ncut\nO 0 0 0\n")
    assert last.error == "it ends after 1 of its 3 atoms"


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(-2, 2)), min_size=1, max_size=6))
def test_wrong_counts_never_give_a_wrong_molecule(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, int]]
) -> None:
    """A frame whose count is off is refused, and all others are read whole."""
    text = "".join(
        f"{max(0, atoms + off)}\nframe\n" + "".join(f"C {3 * index} 0 {atoms}\n" for index in range(atoms))
        for atoms, off in frames
    )
    records = read(tmp_path_factory.mktemp("x"), "a.xyz", text)
    whole = [len(record.numbers) for record in records if record.error is None]
    assert whole == [atoms for atoms, off in frames if off == 0]


# QCSchema

HYDROXIDE = {"symbols": ["O", "H"], "geometry": [0, 0, 0, 0, 0, 1.8], "molecular_charge": -1}


@pytest.mark.parametrize("layout", ["one", "list", "lines"])
def test_documents_of_qcschema(tmp_path: Path, layout: str) -> None:
    documents = [HYDROXIDE | {"name": f"m{index}"} for index in range(1 if layout == "one" else 3)]
    text = {
        "one": json.dumps(documents[0], indent=1),
        "list": json.dumps(documents),
        "lines": "\n\n".join(map(json.dumps, documents)),
    }[layout]
    records = read(tmp_path, "a.json.gz", gzip.compress(text.encode("utf-8-sig")))
    assert [record.name for record in records] == [one["name"] for one in documents]
    for record in records:
        assert (record.charge, record.spin, record.unit) == (-1, 0, "bohr")
        assert record.geometry is not None
        assert record.geometry.coordinates[1, 2] == pytest.approx(1.8 * 0.529177, abs=1e-5)


def test_isotopes_and_fragments_of_documents(tmp_path: Path) -> None:
    heavy = HYDROXIDE | {"symbols": ["O", "D"], "fragments": [[1], [0]], "fragment_charges": [0, -1]}
    heavy = {key: value for key, value in heavy.items() if key != "molecular_charge"}
    record = one(tmp_path, "a.json", json.dumps(heavy))
    assert (record.numbers.tolist(), record.charge, record.notes) == ([8, 1], -1, ("D is read as hydrogen",))


def test_a_broken_line_of_documents_has_its_number(tmp_path: Path) -> None:
    good = json.dumps(HYDROXIDE)
    first, second, third = read(tmp_path, "a.json", f"{good}\n{good[:20]}\n{good}\n")
    assert (first.error, third.error) == (None, None)
    assert "it is not JSON" in (second.error or "")
    assert second.where.endswith("line 2")
    for text in ("{", "hello", good[:30], "7 8"):
        with pytest.raises(InputError, match="is not JSON"):
            read(tmp_path, "a.json", text)
