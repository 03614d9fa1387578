"""Questions over HTTP: the same rows as the command line and the client, files, one candidate, problems."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow.parquet as pq
import pytest
from api_application import application, client_of
from api_bridge import Bridge
from click.testing import CliRunner
from fastapi.testclient import TestClient
from many_candidates import FIRST, fill
from rdkit import Chem

from gapsmith.cli.query import query as command
from gapsmith.core.errors import ErrorCode
from gapsmith.core.settings import settings as process_settings
from gapsmith.dashboard.api.limits import Limits, Rate
from gapsmith.store.database import Database
from gapsmith.store.query import CandidateQuery

pytestmark = pytest.mark.service
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A database of some hundred candidates that nobody changes."""
    fill(module_database)
    return module_database


@pytest.fixture(scope="module")
def api(filled: Database) -> Iterator[TestClient]:
    """The application, asked from its own machine."""
    with client_of(application(filled)) as client:
        yield client


def everything(api: TestClient, **parameters: Any) -> list[dict[str, Any]]:
    """All items of all pages."""
    found, cursor = [], None
    while True:
        answer = api.get("/api/v1/candidates", params={**parameters, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if (cursor := answer.json()["next"]) is None:
            return found


QUESTIONS = [  # parameters of the API; options of the command line; arguments of the client
    ({}, [], {}),
    (
        {"gap_ev_min": 3.9, "gap_ev_max": 6.1, "state": "labelled", "sort": "gap"},
        ["--gap", "3.9:6.1", "--state", "labelled", "--sort", "gap"],
        {"gap_ev": (3.9, 6.1), "state": "labelled", "sort": "gap"},
    ),
    (
        {"smarts": "C=O", "sort": "-sa_score", "heavy_atoms_max": 8},
        ["--smarts", "C=O", "--sort", "sa_score", "--descending", "--heavy-atoms", ":8"],
        {"smarts": "C=O", "sort": "-sa_score", "heavy_atoms": (None, 8)},
    ),
    (
        {"similar_to": "CC=CC#N", "min_similarity": 0.3},
        ["--similar-to", "CC=CC#N", "--min-similarity", "0.3"],
        {"similar_to": "CC=CC#N", "min_similarity": 0.3},
    ),
    (
        {"campaign": FIRST, "state": "hit", "fields": "smiles,gap_ev,candidate_id"},
        ["--campaign", FIRST, "--state", "hit", "--fields", "smiles,gap_ev,candidate_id"],
        {"campaign": FIRST, "state": "hit", "fields": ["smiles", "gap_ev", "candidate_id"]},
    ),
    (
        {"state": "all", "in_qm9": False, "predicted_gap_std_ev_max": 0.3, "sort": "predicted_gap_std"},
        ["--state", "all", "--novel", "--predicted-gap-std", ":0.3", "--sort", "predicted_gap_std"],
        {"state": "all", "in_qm9": False, "predicted_gap_std_ev": (None, 0.3), "sort": "predicted_gap_std"},
    ),
]


@pytest.mark.parametrize(("parameters", "options", "arguments"), QUESTIONS, ids=range(len(QUESTIONS)))
def test_api_client_command_line_and_files_give_the_same_rows(
    api: TestClient,
    filled: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    parameters: dict[str, Any],
    options: list[str],
    arguments: dict[str, Any],
) -> None:
    pages = everything(api, **parameters, limit=9)
    assert len(pages) > 9
    text = api.get("/api/v1/candidates", params={**parameters, "format": "csv"}).text
    assert [typed(row) for row in csv.DictReader(io.StringIO(text))] == [typed(row) for row in pages]

    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", filled.url)
    process_settings.cache_clear()
    piped = CliRunner().invoke(command, options, catch_exceptions=False)
    saved = CliRunner().invoke(command, [*options, "-o", str(tmp_path / "found.json")], catch_exceptions=False)
    process_settings.cache_clear()
    assert [typed(row) for row in csv.DictReader(io.StringIO(piped.stdout), delimiter="\t")] == [
        typed(row) for row in pages
    ]
    assert f"{len(pages)} candidates written" in saved.stderr
    assert [typed(row) for row in json.loads((tmp_path / "found.json").read_text())] == [typed(row) for row in pages]

    from gapsmith.client import Client

    with Client("http://127.0.0.1", transport=Bridge(api)) as client:
        search = client.candidates.search(**arguments)
        assert [typed(row) for row in search] == [typed(row) for row in pages]
        table = search.to_pandas()
        assert list(table["candidate_id"]) == [row["candidate_id"] for row in pages]
        parquet = pq.read_table(search.to_parquet(tmp_path / "found.parquet"))
        assert parquet.column("candidate_id").to_pylist() == [row["candidate_id"] for row in pages]
        sdf = search.to_sdf(tmp_path / "found.sdf").read_text()
        assert sdf.count("$$$$") == len(pages)
        assert "<table>" in search._repr_html_()


def typed(row: dict[str, Any]) -> dict[str, object]:
    """A row with what differs between formats by form alone made equal."""
    found: dict[str, object] = {}
    for name, value in row.items():
        if value is None or value == "":
            found[name] = None
        elif name.endswith(("_ev", "_debye", "score", "_atoms", "_id", "similarity")) and not is_uuid(value):
            found[name] = float(value)
        elif name == "created_at":
            found[name] = str(value).replace("Z", "+00:00").replace(" ", "T")
        else:
            found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def is_uuid(value: object) -> bool:
    return isinstance(value, UUID) or (isinstance(value, str) and len(value) == 36)


def test_a_page_says_where_the_next_one_is_and_is_not_sent_twice(api: TestClient) -> None:
    first = api.get("/api/v1/candidates", params={"limit": 5, "smarts": "C=O"})
    assert len(first.json()["items"]) == 5
    following = api.get(first.links["next"]["url"])
    assert following.status_code == 200
    assert not {row["candidate_id"] for row in first.json()["items"]} & {
        row["candidate_id"] for row in following.json()["items"]
    }
    again = api.get(str(first.url), headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert api.get(str(first.url), headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_file_is_named_and_of_its_kind(api: TestClient) -> None:
    answer = api.get("/api/v1/candidates", params={"format": "sdf", "state": "certified", "limit": 3})
    assert answer.headers["content-type"] == "chemical/x-mdl-sdfile"
    assert answer.headers["content-disposition"] == 'attachment; filename="candidates.sdf"'
    supplier = Chem.SDMolSupplier()
    supplier.SetData(answer.text)
    assert [mol.GetProp("state") for mol in supplier] == ["certified"] * 3
    empty = api.get("/api/v1/candidates", params={"format": "csv", "gap_ev_min": 29})
    assert empty.text == ",".join(CandidateQuery().columns) + "\n"


def test_one_candidate_is_told_whole(api: TestClient) -> None:
    row = everything(api, state="certified", sort="gap", limit=1)[0]
    found = api.get(f"/api/v1/candidates/{row['candidate_id']}").json()
    assert found["candidate"] == {**row, "similarity": None}
    gap = found["properties"][0]
    assert (gap["name"], gap["unit"], gap["predicted"]) == ("Gap", "eV", row["predicted_gap_ev"])
    assert gap["deviation"] == row["predicted_gap_std_ev"]
    assert gap["low"] < gap["predicted"] < gap["high"]
    assert gap["xtb"] > 0
    assert found["timeline"][0]["what"] == "proposed"
    assert found["timeline"][-1]["what"] == "certified"
    assert [one["kind"] for one in found["geometries"]] == ["generated", "relaxed"]
    assert found["geometries"][0]["symbols"] == ["C", "H", "H", "H", "H"]
    assert found["predictions"][0]["live"] is True
    xyz = api.get(f"/api/v1/candidates/{row['candidate_id']}/geometry", params={"format": "xyz"})
    assert xyz.text.splitlines()[0] == "5"
    missing = api.get(f"/api/v1/candidates/{row['candidate_id']}/geometry", params={"kind": "certified"})
    assert (missing.status_code, missing.headers["content-type"]) == (404, PROBLEM)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"smarts": "C("}, "smarts: 'C(' is not a SMARTS pattern"),
        ({"similar_to": "C(("}, "similar_to: 'C((' is not a SMILES"),
        ({"gap_ev_min": 4.1, "gap_ev_max": 3.9}, "gap_ev: 4.1:3.9 runs backwards; the least comes first"),
        ({"gap_ev_min": "four"}, "gap_ev_min: "),
        ({"gap_ev_min": "nan"}, "gap_ev_min: "),
        ({"fields": "smiles,gab_ev"}, "'gab_ev' is not a column; did you mean 'gap_ev'?"),
        ({"gap_min": 3}, "gap_min: there is no such name here; did you mean gap_ev_min?"),
        ({"limit": 100_000}, "limit: a page has at most 1000 candidates"),
        ({"limit": 0}, "limit: "),
        ({"cursor": "nonsense"}, "cursor: it is not one"),
        ({"cursor": "x", "format": "csv"}, "cursor: a file has no pages"),
        ({"state": "labeled"}, "did you mean 'labelled'?"),
        ({"sort": "colour"}, "sort: candidates cannot be sorted by 'colour'"),
        ({"sort": "similarity"}, "similarity needs similar_to"),
        ({"campaign": "frist"}, "did you mean 'first'?"),
        ({"campaign": "a\0b"}, "campaign: "),
        ({"smarts": "C" * 500}, "smarts: "),
        ({"format": "xlsx"}, "format: "),
        ({"format": "csv", "smarts": "C("}, "smarts: "),
    ],
)
def test_a_wrong_question_gets_a_problem_document(api: TestClient, parameters: dict[str, Any], message: str) -> None:
    answer = api.get("/api/v1/candidates", params=parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    problem = answer.json()
    assert problem["status"] == 422
    assert (problem["code"], problem["type"]) == ("input", "urn:gapsmith:problem:input")
    assert message in problem["detail"]
    assert "Traceback" not in answer.text


def test_what_is_not_there_is_a_problem_document_too(api: TestClient) -> None:
    for method, path, status in (
        ("GET", f"/api/v1/candidates/{uuid4()}", 404),
        ("GET", "/api/v1/candidates/methane", 422),
        ("GET", "/api/v1/molecules", 404),
        ("DELETE", "/api/v1/candidates", 405),
        ("GET", "/api/v1/campaigns/gone", 404),
        ("GET", "/api/v1/jobs/ffffffff", 404),
        ("GET", "/api/v1/models/surrogate:99", 404),
        ("GET", "/api/v1/events?campaign=gone", 404),
    ):
        answer = api.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), path
        assert answer.json()["detail"]
        assert answer.json()["code"] == ErrorCode.of_status(status)
    assert api.delete("/api/v1/candidates").headers["allow"] == "GET"


def test_a_stopped_database_is_told_of(filled: Database) -> None:
    with Database(filled.url.rpartition(":")[0] + ":1/nowhere", timeout_s=0.5) as nowhere:
        api = client_of(application(nowhere))
        for path in ("/api/v1/candidates", "/api/v1/candidates?format=csv", "/api/v1/campaigns", "/api/v1/events"):
            answer = api.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
            assert answer.json()["code"] == "unavailable"
            assert "gapsmith status" in answer.json()["advice"]
            assert int(answer.headers["retry-after"]) > 0
            assert "password" not in answer.text


def test_who_asks_too_often_is_told_to_wait(filled: Database) -> None:
    api = client_of(application(filled, Limits(reading=Rate(0.5, 3))))
    answers = [api.get("/api/v1/candidates", params={"limit": 1}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["content-type"] == PROBLEM
    assert 1 <= int(answers[3].headers["retry-after"]) <= 3


def test_an_export_ends_with_the_one_who_reads_it(filled: Database) -> None:
    api = client_of(application(filled))
    for _ in range(4):  # more than may run at once
        with api.stream("GET", "/api/v1/candidates", params={"format": "csv"}) as answer:
            next(answer.iter_bytes())
    assert api.get("/api/v1/candidates", params={"format": "csv"}).status_code == 200
