"""Questions to a real Postgres, and the files that answer them."""

import csv
import json
import resource
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from carbonyls import LEVEL, MOLECULES, fill
from click.testing import CliRunner, Result
from rdkit import Chem

from gapsmith.cli.query import query as command
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.levels import shipped
from gapsmith.core.lifecycle import CandidateState
from gapsmith.core.output import cells
from gapsmith.core.settings import settings
from gapsmith.store.database import Database, held
from gapsmith.store.query import CandidateQuery, Range, find, geometries
from gapsmith.store.query_files import Export

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A database with one campaign, whose window is 4.0 ± 0.1 eV, and an empty one; nobody changes it."""
    fill(module_database)
    return module_database


def smiles(database: Database, **question: object) -> list[str]:
    """SMILES of what a query finds."""
    with database.transaction() as connection:
        return [row["smiles"] for row in find(held(connection), CandidateQuery.model_validate(question))]


def test_everything_in_the_order_of_creation(filled: Database) -> None:
    canonical = [Chem.CanonSmiles(one) for one in MOLECULES]  # type: ignore[no-untyped-call]  # RDKit has no type here
    assert smiles(filled) == canonical


def test_the_gap_is_the_certified_one_where_there_is_one(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(held(connection), CandidateQuery(ranges={"gap_ev": Range(low=3.9, high=4.1)}, sort="gap"))
    assert [(row["smiles"], row["gap_ev"], row["gap_level"]) for row in rows] == [
        ("CCC=O", 4.02, "certificate"),
        ("CC=O", 4.05, "triage"),
    ]
    assert [row["level_of_theory"] for row in rows] == [shipped()["certificate"].title, shipped()["triage"].title]
    assert [row["geometry"] for row in rows] == [LEVEL, "gfn2-xtb"]
    assert [row["lumo_ev"] for row in rows] == pytest.approx([-2.98, -2.95])
    assert rows[0]["electronegativity_ev"] == pytest.approx(7.0 - 4.02 / 2)
    assert rows[0]["campaign"] == "carbonyls"


def test_predictions_are_the_live_models(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(
            held(connection), CandidateQuery(ranges={"predicted_gap_ev": Range(high=4.0)}, sort="predicted_gap")
        )
    assert [(row["smiles"], row["predicted_gap_ev"], row["predicted_gap_std_ev"]) for row in rows] == [
        ("C=CC=O", 3.9, 0.1),
        ("CCN", 4.0, 0.1),
    ]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({"states": ["labelled"]}, ["CC=O"]),
        ({"states": ["labelled", "certified"], "sort": "gap"}, ["C=CC=O", "CCC=O", "CC=O"]),
        ({"hits": True, "sort": "gap"}, ["CCC=O", "CC=O"]),
        ({"ranges": {"heavy_atoms": {"low": 4}}, "states": ["certified"]}, ["CCC=O", "C=CC=O"]),
        ({"smarts": "[CX3H1]=O", "sort": "gap", "descending": True, "limit": 2}, ["CC=O", "CCC=O"]),
        ({"smarts": "[NX3;H2]"}, ["CCN"]),
        ({"sort": "gap", "limit": 1, "descending": True}, ["CC=O"]),  # those without a gap come last either way
        ({"campaign": "empty"}, []),
        ({"campaign": "carbonyls", "states": ["rejected"]}, ["CC[N+](=O)[O-]"]),
    ],
)
def test_questions(filled: Database, question: dict[str, object], found: list[str]) -> None:
    assert smiles(filled, **question) == found


def test_an_unknown_campaign_is_refused_with_the_nearest(filled: Database) -> None:
    with pytest.raises(InputError, match=r"'carbonyl'; did you mean 'carbonyls'"):
        smiles(filled, campaign="carbonyl")
    with pytest.raises(InputError, match=r"'zzz'; there is: carbonyls, empty"):
        smiles(filled, campaign="zzz")


def test_an_invalid_smarts_is_refused(filled: Database) -> None:
    with pytest.raises(InputError, match=r"smarts: 'C\('"):
        smiles(filled, smarts="C(")


def test_geometries_are_the_best_there_are(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(held(connection), CandidateQuery(states=(CandidateState.CERTIFIED,)))
        found = geometries(connection, [row["conformer_id"] for row in rows])
    assert len(found) == 2
    for row in rows:
        assert identify(Chem.MolFromSmiles(row["smiles"])).heavy_atoms == int(
            (found[row["conformer_id"]].numbers > 1).sum()
        )
        assert np.abs(found[row["conformer_id"]].coordinates).max() > 1.5  # shifted by 2, not the generated one


Ask = Callable[..., Result]


@pytest.fixture
def ask(filled: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """The command, on the filled database."""
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", filled.url)
    settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(command, list(arguments), catch_exceptions=True)
    settings.cache_clear()


def test_a_pipe_gets_tab_separated_values(ask: Ask) -> None:
    result = ask("--gap", "3.9:4.1", "--state", "labelled", "--sort", "gap")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(StringIO(result.stdout), delimiter="\t"))
    assert [(row["smiles"], row["gap_ev"], row["state"]) for row in rows] == [
        ("CCC=O", "4.02", "certified"),
        ("CC=O", "4.05", "labelled"),
    ]


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_lines_are_those_of_pythons_writer_and_run_no_formula(database: Database, kind: str, delimiter: str) -> None:
    fill(database)
    reasons = ["=1+1", "-CH3", "@a", "\t=1", '+"a", b\tc\nd', " e ", "é\\."]
    with database.transaction() as connection:
        ids = [row["id"] for row in connection.execute("SELECT id FROM candidates").fetchall()]
        for identifier, reason in zip(ids, reasons, strict=False):
            connection.execute("UPDATE candidates SET reason = %s WHERE id = %s", (reason, identifier))
    with database.transaction() as connection:
        rows = find(held(connection), CandidateQuery())
        found = b"".join(Export(held(connection), CandidateQuery(), kind).parts()).decode()
    expected = StringIO()
    writer = csv.writer(expected, delimiter=delimiter)
    writer.writerows([list(rows[0]), *(cells(row.values()) for row in rows)])
    read, wanted = (
        list(csv.reader(StringIO(text, newline=""), delimiter=delimiter)) for text in (found, expected.getvalue())
    )
    assert len(read) == len(rows) + 1 > 5
    column = read[0].index("reason")
    assert {"'=1+1", "'-CH3", "'@a", "'\t=1"} <= {line[column] for line in read}
    for line, other in zip(read, wanted, strict=True):
        assert [_number(cell) for cell in line] == [_number(cell) for cell in other]


def _number(cell: str) -> float | str:
    """What a reader takes a cell for: Postgres and Python write 1e-05 and 0.00001."""
    try:
        return float(cell)
    except ValueError:
        return cell


def test_a_terminal_gets_a_table(ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    command.main(["--gap", "3.9:4.1", "--sort", "gap"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    certified = next(line.split() for line in lines if "CCC=O" in line)
    assert certified[:6] == ["CCC=O", "carbonyls", "certified", "4.020", "certificate", "hit_by_certificate"]
    assert certified[6:9] == ["4.10", "±", "0.10"]
    assert lines[-3:] == ["2 candidates", *(f"DFT: {shipped()[name].title}" for name in ("certificate", "triage"))]
    command.main(["--campaign", "empty"], standalone_mode=False)
    assert capsys.readouterr().out == "no candidate is like that\n"


def test_without_a_state_the_rejected_stay_out(ask: Ask) -> None:
    assert len(ask().stdout.splitlines()) == len(MOLECULES)  # the header, and all but one
    assert len(ask("--state", "rejected").stdout.splitlines()) == 2
    assert len(ask("--state", "hit").stdout.splitlines()) == 3


def test_sdf_has_coordinates_and_properties(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "hits.SDF"
    result = ask("--state", "labelled", "--sort", "gap", "-o", str(file))
    assert "3 candidates written" in result.stderr
    mols = list(Chem.SDMolSupplier(str(file), removeHs=False))
    assert [mol.GetProp("smiles") for mol in mols] == ["C=CC=O", "CCC=O", "CC=O"]
    for mol in mols:
        assert mol.GetConformer().Is3D()
        assert identify(mol).inchikey == mol.GetProp("_Name") == mol.GetProp("inchikey")
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == mol.GetProp("smiles")
    assert float(mols[0].GetProp("gap_ev")) == 3.6
    assert mols[0].GetProp("gap_level") == "certificate"
    assert mols[0].GetProp("in_qm9") == "false"
    assert not mols[0].HasProp("reason")


def test_charged_atoms_survive_sdf(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "rejected.sdf"
    ask("--state", "rejected", "-o", str(file))
    (mol,) = Chem.SDMolSupplier(str(file))
    assert Chem.MolToSmiles(mol) == "CC[N+](=O)[O-]"


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_tables_hold_every_column(ask: Ask, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"out.{ending}"
    result = ask("--sort", "gap", "-o", str(file))
    assert result.exit_code == 0, result.output
    if ending == "csv":
        rows = list(csv.DictReader(file.open()))
        assert rows[-1]["gap_ev"] == ""
    elif ending == "json":
        rows = json.loads(file.read_text())
        assert rows[-1]["gap_ev"] is None
    else:
        table = pq.read_table(file)
        rows = table.to_pylist()
        types = {field.name: str(field.type) for field in table.schema}
        assert (types["gap_ev"], types["heavy_atoms"], types["in_qm9"]) == ("double", "int64", "bool")
        assert types["created_at"].startswith("timestamp")
    assert len(rows) == 5
    assert float(rows[0]["gap_ev"]) == 3.6
    assert UUID(rows[0]["candidate_id"])


def test_an_empty_answer_is_a_file_too(ask: Ask, tmp_path: Path) -> None:
    for ending in ("csv", "json", "parquet", "sdf"):
        result = ask("--campaign", "empty", "-o", str(tmp_path / f"none.{ending}"))
        assert "0 candidates" in result.stderr
    assert json.loads((tmp_path / "none.json").read_text()) == []
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gap", "4.1:3.9"], "--gap: '4.1:3.9' is no range"),
        (["--heavy-atoms", "five"], "--heavy-atoms: 'five' is no range"),
        (["--state", "labeled"], "did you mean 'labelled'?"),
        (["--state", "labelled,hit"], "hit"),
        (["--campaign", "carbonils"], "did you mean 'carbonyls'"),
        (["--smarts", "C("], "'C('"),
        (["-o", "hits.xyz"], ".sdf, .csv, .parquet, .json"),
        (["-o", "hits"], "no ending"),
        (["-o", "/no/such/folder/hits.csv"], "/no/such/folder does not exist"),
    ],
)
def test_wrong_input_is_named(ask: Ask, arguments: list[str], message: str) -> None:
    result = ask(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_a_file_that_cannot_be_finished_leaves_the_old_one(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "hits.csv"
    file.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # as if the disk were full after 200 bytes
    try:
        result = ask("-o", str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(result.exception, UnavailableError)
    assert str(file) in str(result.exception)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.glob("*hits*")] == ["hits.csv"]
