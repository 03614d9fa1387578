"""Labels that people bring along: what is taken, what is refused, and that nothing is half-imported."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rdkit import Chem

from gapsmith.cli import datasets
from gapsmith.cli.main import cli
from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import Conflict, DataError, InputError, NotFound
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.data import imported, known
from gapsmith.data.sources import find
from gapsmith.factory import importing

ALKANES = ["C" * n for n in range(2, 10)]
ALCOHOLS = ["C" * n + "O" for n in range(1, 9)]
AMINES = ["C" * n + "N" for n in range(1, 9)]
ETHERS = ["C" * n + "OC" for n in range(2, 8)]
MOLECULES = [*ALKANES, *ALCOHOLS, *AMINES, *ETHERS]  # 30, all within the shipped surrogate's domain


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, where GFN2-xTB takes no time and methanol is in QM9's test split."""
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(importing, "relax", lambda numbers, coordinates: SimpleNamespace(coordinates=coordinates))
    monkeypatch.setattr(datasets, "_measured", lambda found, weights: "measured")
    methanol = Chem.MolToInchiKey(Chem.MolFromSmiles("CO"))  # type: ignore[no-untyped-call]  # RDKit has no type here
    monkeypatch.setattr(known, "split_of", lambda key: "test" if key == methanol else None)
    find.cache_clear()
    yield tmp_path / "home"
    find.cache_clear()


def table(path: Path, rows: list[tuple[str, object]], column: str = "Eg (eV)") -> Path:
    """A CSV file of SMILES and labels."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("smiles", column, "source"), *((*row, "us") for row in rows)])
    return path


def good(path: Path) -> Path:
    return table(path, [(smiles, 5 + 0.1 * at) for at, smiles in enumerate(MOLECULES)])


def run(file: Path, name: str = "ours", **changes: str) -> Result:
    """``gapsmith data import`` as a person would write it, with some options changed."""
    options = {"column": "Eg (eV)", "level": "pbe0-ours", "unit": "eV", **changes}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    return CliRunner().invoke(cli, ["data", "import", str(file), "--name", name, *words])


def test_a_table_becomes_a_source_with_a_head_of_its_own(tmp_path: Path) -> None:
    found = run(good(tmp_path / "labels.csv"), licence="CC-BY-4.0")
    assert found.exit_code == 0, found.output
    whole = imported.load("ours")
    assert whole.card["head"] == "gap@pbe0-ours"
    assert (whole.card["molecules"], whole.card["licence"], whole.card["refused"]) == (30, "CC-BY-4.0", {})
    np.testing.assert_allclose(whole.molecules.graph["gap@pbe0-ours"], 5 + 0.1 * np.arange(30))
    source = find("imported:ours")
    parts = [source.load(split) for split in ("train", "validation", "test")]
    assert sum(len(part) for part in parts if part is not None) == 30
    assert {label.level for label in source.labels.values()} == {"pbe0-ours"}


def test_what_qm9_holds_out_is_held_out_here(tmp_path: Path) -> None:
    run(good(tmp_path / "labels.csv"))
    whole = imported.load("ours")
    assert whole.splits[whole.smiles.index("CO")] == 2
    assert whole.card["held_out_of_qm9"] == {"validation": 0, "test": 1}


def test_labels_of_the_shipped_level_belong_to_the_shipped_head(tmp_path: Path) -> None:
    assert run(good(tmp_path / "labels.csv"), level="triage").exit_code == 0
    card = imported.card("ours")
    assert (card["head"], card["theory"]) == ("gap", "B3LYP/6-31G(2df,p)")


@pytest.mark.parametrize(("unit", "factor"), [("meV", 1e-3), ("hartree", 27.211386245988)])
def test_labels_are_stored_in_the_base_unit(tmp_path: Path, unit: str, factor: float) -> None:
    rows: list[tuple[str, object]] = [(smiles, 6 / factor) for smiles in MOLECULES]
    assert run(table(tmp_path / "labels.csv", rows, "gap"), column="gap", unit=unit).exit_code == 0
    np.testing.assert_allclose(imported.load("ours").molecules.graph["gap@pbe0-ours"], 6.0)


def test_bad_rows_are_counted_and_listed_and_the_rest_goes_on(tmp_path: Path, home: Path) -> None:
    bad: list[tuple[str, object]] = [
        ("C1CC", 5.0), ("CCF", "nan"), ("CCCF", "high"), ("CCCCF", ""), ("CF", -1.0), ("CS", 5.0), ("C[O-]", 5.0),
        ("CC", 7.5), ("CCC", 5.1), ("C" * 12, 6.0),
    ]  # fmt: skip
    rows = [(smiles, 5 + 0.1 * at) for at, smiles in enumerate(MOLECULES)] + bad
    found = run(table(tmp_path / "labels.csv", rows))
    assert found.exit_code == 1
    card = imported.card("ours")
    assert card["molecules"] == 30
    assert card["refused"] == {"unreadable": 1, "value": 4, "domain": 2, "molecule": 1, "conflict": 1, "duplicate": 1}
    assert card["records"] == 40
    with (home / "datasets" / "ours" / "refused.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 10
    assert {row["where"] for row in listed} == {f"{tmp_path / 'labels.csv'} line {line}" for line in range(32, 42)}
    assert "1 are duplicates with another label" in found.stderr
    assert "7.5000, not 5.0000" in found.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": "gap"}, "--column: {file} has no column 'gap'; its columns: Eg (eV), source"),
        ({"unit": "Ev"}, "--unit: 'Ev' is not a unit that is known; gap is measured in eV or meV or hartree"),
        ({"unit": "D"}, "--unit: 'D' is a unit of dipole; gap is measured in eV"),
        ({"unit": "hartree"}, "a gap lies between 0.1 and 20 eV; it would fit eV"),
        ({"level": "PBE0/def2"}, "--level: 'PBE0/def2' is not a name; lower-case letters"),
        ({"property": "gapp"}, "did you mean 'gap'?"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_nothing_is_stored(
    tmp_path: Path, home: Path, changes: dict[str, str], message: str
) -> None:
    file = good(tmp_path / "labels.csv")
    found = run(file, **changes)
    assert isinstance(found.exception, InputError)
    assert message.format(file=file) in str(found.exception)
    assert "\n" not in str(found.exception)
    assert not list(home.glob("datasets/*"))


def test_three_rows_are_too_few(tmp_path: Path, home: Path) -> None:
    found = run(table(tmp_path / "labels.csv", [("CC", 5.0), ("CCO", 6.0), ("CCN", 7.0)]))
    assert isinstance(found.exception, InputError)
    assert "3 molecules with a label are left, and at least 20 are needed" in str(found.exception)
    assert not list(home.glob("datasets/*"))


def test_the_same_import_is_done_once_and_another_of_the_name_is_refused(tmp_path: Path) -> None:
    file = good(tmp_path / "labels.csv")
    run(file)
    before = imported.card("ours")
    again = run(file)
    assert again.exit_code == 0
    assert "nothing is changed" in again.stdout
    other = run(file, level="pbe0-theirs")
    assert isinstance(other.exception, Conflict)
    assert "there is a data set 'ours'" in str(other.exception)
    assert imported.card("ours") == before


def test_tags_of_an_sdf_and_its_geometries_are_used(tmp_path: Path) -> None:
    run(good(tmp_path / "labels.csv"), "first")
    first = imported.load("first")
    blocks = []
    for at, smiles in enumerate(MOLECULES):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        atoms = slice(int(first.molecules.offsets[at]), int(first.molecules.offsets[at + 1]))
        conformer = Chem.Conformer(mol.GetNumAtoms())
        for atom, position in enumerate(first.molecules.coordinates[atoms].astype(float).tolist()):
            conformer.SetAtomPosition(atom, position)
        mol.AddConformer(conformer)
        blocks.append(f"{Chem.MolToMolBlock(mol)}>  <Eg (eV)>\n{5 + at}\n\n$$$$\n")
    sdf = tmp_path / "labels.sdf"
    sdf.write_text("".join(blocks))
    assert run(sdf, "second").exit_code == 0
    second = imported.load("second")
    np.testing.assert_allclose(second.molecules.graph["gap@pbe0-ours"], 5 + np.arange(30))
    np.testing.assert_allclose(second.molecules.coordinates, first.molecules.coordinates, atol=1e-3)


def test_parquet_extended_xyz_and_qcschema_give_the_same_set(tmp_path: Path) -> None:
    run(good(tmp_path / "labels.csv"), "table")
    first = imported.load("table")
    values = (5 + 0.1 * np.arange(30)).tolist()
    pq.write_table(pa.table({"smiles": MOLECULES, "Eg (eV)": values, "list": [[1]] * 30}), tmp_path / "labels.parquet")
    frames, documents = [], []
    for at, value in enumerate(values):
        atoms = slice(int(first.molecules.offsets[at]), int(first.molecules.offsets[at + 1]))
        symbols = [SYMBOLS[number] for number in first.molecules.numbers[atoms]]
        places = first.molecules.coordinates[atoms].astype(float)
        lines = [
            f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in zip(symbols, places.tolist(), strict=True)
        ]
        frames += [str(len(symbols)), f'Properties=species:S:1:pos:R:3 eg="{value}"', *lines]
        molecule = {
            "schema_name": "qcschema_molecule", "schema_version": 2, "symbols": symbols,
            "geometry": (places / BOHR_TO_ANGSTROM).ravel().tolist(),
        }  # fmt: skip
        electrons = int(first.molecules.numbers[atoms].sum()) // 2
        orbitals = [-1.0] * (electrons - 1) + [-0.3, -0.3 + value / HARTREE_TO_EV]
        documents.append(
            {
                "schema_name": "qcschema_output", "schema_version": 1, "success": True, "molecule": molecule,
                "properties": {"calcinfo_nalpha": electrons, "calcinfo_nbeta": electrons},
                "wavefunction": {"eigenvalues_a": "scf_eigenvalues_a", "scf_eigenvalues_a": orbitals},
            }
        )  # fmt: skip
    (tmp_path / "labels.xyz").write_text("\n".join(frames) + "\n")
    (tmp_path / "labels.json").write_text(json.dumps(documents))
    found = [
        run(tmp_path / "labels.parquet", "parquet"),
        run(tmp_path / "labels.xyz", "xyz", column="eg"),
        run(tmp_path / "labels.json", "qcschema", column="gap", unit="hartree"),
    ]
    assert [one.exit_code for one in found] == [0, 0, 0], [one.output for one in found]
    for name in ("parquet", "xyz", "qcschema"):
        other = imported.load(name)
        assert other.inchikeys == first.inchikeys
        np.testing.assert_allclose(other.molecules.graph["gap@pbe0-ours"], values, atol=1e-6)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_text("smiles,gap\nC,1\n")
    found = run(tmp_path / "labels.parquet")
    assert isinstance(found.exception, InputError)
    assert "cannot be read as Parquet" in str(found.exception)


def test_sets_are_listed_shown_and_deleted(tmp_path: Path, home: Path) -> None:
    run(good(tmp_path / "labels.csv"))
    (listed,) = json.loads(CliRunner().invoke(cli, ["data", "list", "--json"]).stdout)
    assert (listed["name"], listed["molecules"]) == ("ours", 30)
    assert "30 molecules of 30 records" in CliRunner().invoke(cli, ["data", "show", "ours"]).stdout
    assert CliRunner().invoke(cli, ["data", "delete", "ours", "--yes"]).exit_code == 0
    assert not list(home.glob("datasets/*"))
    gone = CliRunner().invoke(cli, ["data", "show", "ours"])
    assert isinstance(gone.exception, NotFound)
    assert "there is no imported data set 'ours'" in str(gone.exception)


def test_an_altered_set_is_refused(tmp_path: Path, home: Path) -> None:
    run(good(tmp_path / "labels.csv"))
    arrays = home / "datasets" / "ours" / imported.ARRAYS
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="was altered"):
        imported.load("ours")
    with pytest.raises(NotFound, match="there is: ours"):
        imported.load("qqqqqqqq")


def test_the_histogram_counts_every_label_once() -> None:
    lines = datasets.histogram(np.array([1.0, 1.0, 2.0, 4.0]), "eV")
    assert [int(line.split()[-1]) for line in lines] == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert lines[0].count("#") == 2 * lines[-1].count("#") == datasets.WIDTH
