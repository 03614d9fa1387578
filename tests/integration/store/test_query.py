"""Questions to a real Postgres, and the files that answer them."""

import csv
import json
import resource
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.cli.query import query as command
from gapsmith.core import codec
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry import from_rdkit, identity
from gapsmith.core.domain import CandidateState, Molecule
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import settings
from gapsmith.store import campaigns
from gapsmith.store.database import Connection, Database
from gapsmith.store.query import CandidateQuery, Range, SortKey, find, geometries

pytestmark = pytest.mark.service

LEVEL = "b3lyp/6-31g(2df,p)"
MOLECULES = {  # SMILES: (state, label, certified gap, predicted mean)
    "CC=O": (CandidateState.LABELLED, 4.05, None, 4.2),
    "CCC=O": (CandidateState.CERTIFIED, 4.30, 4.02, 4.1),
    "C=CC=O": (CandidateState.CERTIFIED, 3.95, 3.60, 3.9),
    "CCO": (CandidateState.SCORED, None, None, 7.5),
    "CCN": (CandidateState.FAILED, None, None, 4.0),
    "[O-][N+](=O)CC": (CandidateState.REJECTED, None, None, None),
}


def add(connection: Connection, campaign_id: UUID, smiles: str, models: list[UUID]) -> None:
    """A candidate with all that belongs to its state."""
    state, label, certified, predicted = MOLECULES[smiles]
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    molecule, known = from_rdkit(mol), identity(mol)
    molecule_id = connection.execute(
        """INSERT INTO molecules (inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint)
           VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (known.inchikey, known.smiles, known.formula, known.heavy_atoms, known.sa_score, False, known.fingerprint),
    ).fetchone()["id"]

    def conformer(method: str, shift: float) -> UUID:
        moved = Molecule(molecule.numbers, molecule.coordinates + shift, molecule.charges, molecule.bonds)
        new = uuid4()
        connection.execute(
            "INSERT INTO conformers (id, molecule_id, method, numbers, coordinates_angstrom, bonds, charges,"
            " xtb_gap_ev) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (new, molecule_id, method, *codec.encode(moved), 3.0 if method == "gfn2-xtb" else None),
        )
        return new

    def calculation(gap: float | None, where: UUID, level: str) -> UUID | None:
        if gap is None:
            return None
        new = uuid4()
        connection.execute(
            "INSERT INTO calculations (id, content_hash, level, conformer_id, state, gap_ev, homo_ev, lumo_ev)"
            " VALUES (%s, %s, %s, %s, 'done', %s, -7.0, %s)",
            (new, str(new), level, where, gap, -7.0 + gap),
        )
        return new

    generated = conformer("generated", 0.0)
    relaxed = conformer("gfn2-xtb", 1.0) if state is not CandidateState.REJECTED else None
    final = conformer(LEVEL, 2.0) if certified is not None else None
    candidate = uuid4()
    connection.execute(
        """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, relaxed_conformer_id,
                                   certified_conformer_id, state, triage_id, certificate_id, gap_ev, certified_gap_ev)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            candidate, campaign_id, molecule_id, generated, relaxed, final, state,
            calculation(label, relaxed or generated, f"triage {LEVEL}"),
            calculation(certified, final or generated, f"certificate {LEVEL}"), label, certified,
        ),
    )  # fmt: skip
    for number, model in enumerate(models if predicted is not None else []):
        connection.execute(
            "INSERT INTO predictions (candidate_id, model_id, gap_ev, gap_std_ev) VALUES (%s, %s, %s, %s)",
            (candidate, model, predicted + number, 0.1 * (1 + number)),
        )


def add_models(connection: Connection) -> list[UUID]:
    """Two surrogates; the older one is live."""
    new = [uuid4(), uuid4()]
    for version, (model, state) in enumerate(zip(new, ("live", "rejected"), strict=True)):
        connection.execute(
            "INSERT INTO models (id, kind, version, state, path, sha256) VALUES (%s, 'surrogate', %s, %s, '', '')",
            (model, version, state),
        )
    return new


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A database with one campaign, whose window is 4.0 ± 0.1 eV, and an empty one; nobody changes it."""
    fill(module_database)
    return module_database


def fill(database: Database) -> None:
    """Store what is above."""
    with database.transaction() as connection:
        first = campaigns.create(
            connection, parse_campaign({"name": "carbonyls", "target": {"value": 4.0}}), source="test"
        )
        campaigns.create(connection, parse_campaign({"name": "empty", "target": {"value": 6.0}}), source="test")
        models = add_models(connection)
    for one in MOLECULES:
        with database.transaction() as connection:  # each its own time of creation
            add(connection, first.id, one, models)


def smiles(database: Database, **question: object) -> list[str]:
    """SMILES of what a query finds."""
    with database.transaction() as connection:
        return [row.smiles for row in find(connection, CandidateQuery.model_validate(question))]


def test_everything_in_the_order_of_creation(filled: Database) -> None:
    assert smiles(filled) == [Chem.CanonSmiles(one) for one in MOLECULES]


def test_the_gap_is_the_certified_one_where_there_is_one(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(connection, CandidateQuery(gap_ev=Range(low=3.9, high=4.1), sort=SortKey.GAP))
    assert [(row.smiles, row.gap_ev, row.gap_level) for row in rows] == [
        ("CCC=O", 4.02, "certificate"),
        ("CC=O", 4.05, "triage"),
    ]
    assert [row.level_of_theory for row in rows] == [f"certificate {LEVEL}", f"triage {LEVEL}"]
    assert [row.geometry for row in rows] == [LEVEL, "gfn2-xtb"]
    assert [row.lumo_ev for row in rows] == pytest.approx([-2.98, -2.95])
    assert rows[0].xtb_gap_ev == 3.0
    assert rows[0].campaign == "carbonyls"


def test_predictions_are_the_live_models(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(connection, CandidateQuery(predicted_gap_ev=Range(high=4.0), sort=SortKey.PREDICTED))
    assert [(row.smiles, row.predicted_gap_ev, row.predicted_gap_std_ev) for row in rows] == [
        ("C=CC=O", 3.9, 0.1),
        ("CCN", 4.0, 0.1),
    ]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({"states": ["labelled"]}, ["CC=O"]),
        ({"states": ["labelled", "certified"], "sort": "gap"}, ["C=CC=O", "CCC=O", "CC=O"]),
        ({"hits": True, "sort": "gap"}, ["CCC=O", "CC=O"]),
        ({"heavy_atoms": {"low": 4}, "states": ["certified"]}, ["CCC=O", "C=CC=O"]),
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
    with pytest.raises(InputError, match=r"'zzz'; there are: carbonyls, empty"):
        smiles(filled, campaign="zzz")


def test_an_invalid_smarts_is_refused(filled: Database) -> None:
    with pytest.raises(InputError, match=r"smarts: 'C\('"):
        smiles(filled, smarts="C(")


def test_geometries_are_the_best_there_are(filled: Database) -> None:
    with filled.transaction() as connection:
        rows = find(connection, CandidateQuery(states=(CandidateState.CERTIFIED,)))
        found = geometries(connection, [row.conformer_id for row in rows])
    assert len(found) == 2
    for row in rows:
        assert identity(Chem.MolFromSmiles(row.smiles)).heavy_atoms == int((found[row.conformer_id].numbers > 1).sum())
        assert np.abs(found[row.conformer_id].coordinates).max() > 1.5  # shifted by 2, not the generated one


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


def test_a_terminal_gets_a_table(ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    command.main(["--gap", "3.9:4.1", "--sort", "gap"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    certified = next(line.split() for line in lines if "CCC=O" in line)
    assert certified[:6] == ["CCC=O", "4.020", "certificate", "4.10", "±", "0.10"]
    assert lines[-1].startswith("2 candidates; level triage is DFT at the xTB geometry")
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
        assert identity(mol).inchikey == mol.GetProp("_Name") == mol.GetProp("inchikey")
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
        (["--state", "labeled"], "did you mean labelled?"),
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
