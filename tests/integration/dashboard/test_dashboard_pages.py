"""Pages without a browser: what they say, what they change, what they refuse."""

import gzip
import hashlib
import io
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pyarrow.parquet as pq
import pytest
import yaml
from dashboard_site import LABELS, NAME, WAITING, Site, campaign, label, serving
from psycopg.types.json import Jsonb

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import Settings
from gapsmith.dashboard import security
from gapsmith.dashboard.app import create_app
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.stack.processes import wait_until
from gapsmith.store import campaigns, inbox, tokens
from gapsmith.store.database import Database, held
from gapsmith.store.query import CandidateQuery, Range, find
from gapsmith.store.tokens import Role

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGES = ("/", f"/campaigns/{NAME}", "/campaigns/new", "/candidates", "/models", "/models/surrogate:0", "/health")


def form_of(client: httpx.Client, path: str) -> str:
    """The token of a page's forms, with its cookie in the client."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def state_of(site: Site, name: str) -> CampaignState:
    with site.database.transaction() as connection:
        found = campaigns.by_name(connection, name)
    assert found is not None
    return found.state


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_names_no_other_server(filled: Site, path: str) -> None:
    with filled.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")
    assert answer.text.count("<h1") == 1
    elsewhere = re.findall(r"""(?:src|href|action|hx-get|sse-connect)=["'](?:https?:)?//[^"']*""", answer.text)
    assert elsewhere == []
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=", answer.text)


def test_headers_are_strict(filled: Site) -> None:
    with filled.client() as client:
        headers = client.get("/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers or "uvicorn" not in headers["server"]


def test_an_empty_system_says_what_to_do(site: Site) -> None:
    with site.client() as client:
        assert "No campaign yet" in client.get("/").text
        assert "/campaigns/new" in client.get("/candidates").text
        assert "None is registered yet" in client.get("/models").text
        assert "No service was heard of" in client.get("/health").text


def test_the_list_has_what_the_store_counts(filled: Site) -> None:
    with filled.client() as client:
        text = client.get("/").text
    assert re.search(r"<td[^>]*data-hits>2</td>", text)
    assert "4 ± 0.1 eV" in text
    assert "No service is running" in text


def test_the_loop_has_what_the_report_says(filled: Site) -> None:
    with filled.client() as client:
        deadline = time.monotonic() + 200
        while "data-stage" not in (text := client.get(f"/campaigns/{NAME}").text):  # it is only announced at first
            assert time.monotonic() < deadline
            time.sleep(0.2)
        numbers = client.get(f"/campaigns/{NAME}/charts.json").json()
    stages = dict(re.findall(r'data-stage="(\w+)">(\d+)', text))
    assert stages == {"drawn": "20", "proposed": "14", "scored": "7", "dft": "4", "hits": "2", "certified": "1"}
    assert "5" in re.search(r"<li><span class=\"n\">(\d+)</span> refused: valence", text)[1]  # type: ignore[index]
    assert "0.100 eV" in text  # the surrogate was 0.1 eV off
    assert f"{40 / 3600:.2f} CPU-hours" in text or "0.01 CPU-hours" in text
    assert numbers["hits"]["found"][-1] == 2
    assert numbers["hits"]["certified"][-1] == 1
    assert 0 < numbers["hits"]["base_rate"] < 0.02
    assert numbers["best"]["distance"][-1] == pytest.approx(0.2)  # 0.02 eV of 0.1
    assert len(numbers["parity"]) == len(LABELS)
    assert numbers["calibration"]["labels"] == len(LABELS)
    names = {one["name"]: sum(one["y"]) for one in numbers["gaps"]["series"]}
    assert names == {"surrogate:0": len(LABELS) + len(WAITING), "DFT": len(LABELS)}
    low = numbers["window"]["low"]
    assert all(
        round((edge - low) / numbers["gaps"]["bin"], 6).is_integer() for edge in numbers["gaps"]["series"][0]["x"]
    )


def test_events_are_told_in_words(filled: Site) -> None:
    with filled.client() as client:
        text = client.get(f"/campaigns/{NAME}").text
    assert "20 molecules drawn" in text
    assert "CC=O: 4.05 eV, hit by label (triage)" in text
    assert "CCC=O: 3.98 eV (triage)" in text
    assert "CCC=O: 4.02 eV, hit by certificate (certificate)" in text
    assert "scored by surrogate:0" in text


def test_what_a_molecule_is_called_is_text(filled: Site) -> None:
    with filled.database.transaction() as connection:
        connection.execute("UPDATE candidates SET reason = '<script>alert(1)</script>' WHERE state = 'rejected'")
    with filled.client() as client:
        text = client.get("/candidates?state=all").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("", CandidateQuery(states=())),
        ("gap_ev_min=3.9&gap_ev_max=4.1", CandidateQuery(ranges={"gap_ev": Range(low=3.9, high=4.1)})),
        ("state=hit", CandidateQuery(hits=True)),
        ("smarts=c", CandidateQuery(smarts="c")),
        ("similar_to=CCC%3DO&min_similarity=0.3", CandidateQuery(similar_to="CCC=O", min_similarity=0.3)),
        ("heavy_atoms_max=3&sort=-heavy_atoms", CandidateQuery(ranges={"heavy_atoms": Range(high=3)})),
    ],
)
def test_the_table_has_the_rows_of_the_query(filled: Site, address: str, query: CandidateQuery) -> None:
    with filled.client() as client:
        page = client.get(f"/candidates?{address}").text
        exported = client.get(f"/api/v1/candidates?{address}&format=csv").text
    with filled.database.transaction() as connection:
        expected = {str(row["candidate_id"]) for row in find(held(connection), query) if row["state"] != "rejected"}
    shown = re.findall(r'data-candidate[^>]*|value="([0-9a-f-]{36})" aria-label="Select', page)
    assert {one for one in shown if one} == expected
    assert len(expected) > 0
    assert all(one in exported for one in expected)
    assert exported.count("\n") == len(expected) + 1


def test_results_alone_for_htmx_and_the_address_without_what_is_empty(filled: Site) -> None:
    address = "/candidates?campaign=&state=hit&gap_ev_min=&smarts=&fields=state&fields=gap_ev"
    with filled.client() as client:
        answer = client.get(address, headers={"HX-Request": "true"})
    assert "<html" not in answer.text
    assert answer.headers["hx-push-url"] == "/candidates?state=hit&fields=state%2Cgap_ev"


def test_pages_follow_each_other(filled: Site) -> None:
    with filled.database.transaction() as connection:
        campaign(connection, "other")
        for number in range(60):
            connection.execute(
                """INSERT INTO molecules (inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint)
                   VALUES (%s, 'CCO', 'C2H6O', 3, 1.0, false, %s)""",
                (f"key-{number}", b"\0" * 256),
            )
            connection.execute(
                """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, state)
                   SELECT %s, g.id, m.id, (SELECT id FROM conformers LIMIT 1), 'scored'
                   FROM campaigns g, molecules m WHERE g.name = 'other' AND m.inchikey = %s""",
                (uuid4(), f"key-{number}"),
            )
    seen: list[str] = []
    address = "/candidates?campaign=other&sort=heavy_atoms"
    with filled.client() as client:
        for _ in range(5):
            text = client.get(address).text
            seen += re.findall(r'value="([0-9a-f-]{36})" aria-label="Select', text)
            following = re.search(r'rel="next" href="([^"]+)"', text)
            if following is None:
                break
            address = following[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 60 + len(LABELS) + len(WAITING)


def test_selected_candidates_as_files(filled: Site) -> None:
    with filled.database.transaction() as connection:
        ids = [str(row["candidate_id"]) for row in find(held(connection), CandidateQuery(hits=True))]
    with filled.client() as client:
        text = client.get(f"/candidates/export.csv?ids={','.join(ids)}")
        sdf = client.get(f"/candidates/export.sdf?ids={','.join(ids)}").text
        table = pq.read_table(io.BytesIO(client.get(f"/candidates/export.parquet?ids={','.join(ids)}").content))
        wrong = client.get("/candidates/export.csv?ids=five")
    assert text.headers["content-disposition"] == 'attachment; filename="candidates.csv"'
    assert [line.count(one) for line, one in zip(text.text.splitlines()[1:], ids, strict=True)] == [1, 1]
    assert sdf.count("$$$$") == 2
    assert table.column("candidate_id").to_pylist() == ids
    assert wrong.status_code == 422
    assert "is no candidate's id" in wrong.text.replace("&#39;", "'")


def test_a_molecule_tells_its_life(filled: Site) -> None:
    with filled.database.transaction() as connection:
        (one,) = find(held(connection), CandidateQuery(ranges={"gap_ev": Range(low=4.01, high=4.03)}))
    with filled.client() as client:
        text = client.get(f"/candidates/{one['candidate_id']}").text
        conformers = re.findall(r'name="geometry" value="([^"]+)"', text)
        sdf = client.get(f"/geometry/{conformers[0]}.sdf").text
        drawing = client.get(f"/draw/{one['molecule_id']}.svg")
        similar = client.get(f"/candidates/{one['candidate_id']}/similar", params={"smiles": one["smiles"]}).text
    assert "<code>CCC=O</code>" in text
    assert "regrown from CC=O, 40% of it redrawn" in text
    assert ["4.020" in text, "3.980" in text, "4.080" in text] == [True, True, True]  # certificate, label, prediction
    for word in ("Proposed", "Scored", "Queued", "Computed", "Certified"):
        assert word in text
    assert len(conformers) == 3
    assert "V2000" in sdf
    assert drawing.headers["content-type"].startswith("image/svg")
    assert "O=Cc1ccco1" not in similar
    assert ">CCC=O<" not in similar  # it is no neighbour of itself


def test_orbitals_and_spectra_are_shown_where_there_are_any(filled: Site) -> None:
    cube = b"a cube\n" * 1000
    spectrum = {"wavenumbers_cm1": [-40.0, 1700.0], "ir_intensities_km_mol": [1.0, 300.0], "excitations": []}
    with filled.database.transaction() as connection:
        (one,) = find(held(connection), CandidateQuery(ranges={"gap_ev": Range(low=4.01, high=4.03)}))
        row = connection.execute(
            "UPDATE calculations SET result = %s WHERE level = 'certificate' RETURNING id", (Jsonb(spectrum),)
        ).fetchone()
        assert row is not None
        for name in ("homo.cube", "lumo.cube"):
            connection.execute(
                "INSERT INTO calculation_files VALUES (%s, %s, %s, %s, %s)",
                (row["id"], name, gzip.compress(cube), len(cube), hashlib.sha256(cube).hexdigest()),
            )
    with filled.client() as client:
        text = client.get(f"/candidates/{one['candidate_id']}").text
        file = client.get(f"/files/{row['id']}/homo.cube")
        missing = client.get(f"/files/{row['id']}/other.cube")
    assert '<input type="radio" name="orbital" value="homo">' in text
    assert '"infrared": [[1700.0, 300.0]]' in text  # an imaginary mode is no line
    assert file.content == cube
    assert missing.status_code == 404


def test_a_restarted_services_former_process_is_not_shown(filled: Site) -> None:
    with filled.database.transaction() as connection:
        for host, pid, age_s in (("here", 1, 600), ("here", 2, 1), ("there", 3, 600)):
            connection.execute(
                """INSERT INTO heartbeats (service, host, pid, activity, seen_at)
                   VALUES ('dft_worker', %s, %s, 'idle', now() - make_interval(secs => %s))""",
                (host, pid, age_s),
            )
    with filled.client() as client:
        text = client.get("/health").text
    processes = ("here</code>, 1<", "here</code>, 2<", "there</code>, 3<")
    assert [one in text for one in processes] == [False, True, True]
    assert 'data-state="silent"' in text


def test_a_campaign_is_started_from_the_form(site: Site) -> None:
    with site.operator() as client:
        token = form_of(client, "/campaigns/new")
        values = {"name": "mine", "target.value": "4.2", "budget.dft_jobs": "5", "constraints.elements": ["C", "O"]}
        answer = client.post("/campaigns/new", data={"csrf_token": token, "retraining.models": "surrogate", **values})
    assert answer.status_code == 200
    assert answer.url.path == "/campaigns/mine"
    with site.database.transaction() as connection:
        created = campaigns.by_name(connection, "mine")
    assert created is not None
    assert created.config.target.window.middle == 4.2
    assert created.config.constraints.elements == ("C", "O")


def test_a_wrong_form_comes_back_filled(site: Site) -> None:
    with site.operator() as client:
        token = form_of(client, "/campaigns/new")
        values = {"name": "mine", "target.value": "400", "constraints.elements": "C", "retraining.models": "surrogate"}
        answer = client.post("/campaigns/new", data={"csrf_token": token, **values})
    assert answer.status_code == 422
    assert 'value="mine"' in answer.text
    assert 'value="400"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    with site.database.transaction() as connection:
        assert campaigns.every(connection) == []


def test_a_taken_name_is_said_beside_it(filled: Site) -> None:
    with filled.operator() as client:
        values = {"csrf_token": form_of(client, "/campaigns/new"), "name": NAME, "target.value": "5"}
        answer = client.post(
            "/campaigns/new", data={**values, "constraints.elements": "C", "retraining.models": "surrogate"}
        )
    assert answer.status_code == 422
    assert re.search(r'id="f-name-problem">[^<]*exists already', answer.text)


def test_pause_resume_retarget_stop(filled: Site) -> None:
    with filled.operator() as client:
        token = form_of(client, f"/campaigns/{NAME}")
        for state in ("paused", "running"):
            assert (
                client.post(f"/campaigns/{NAME}/state", data={"csrf_token": token, "state": state}).status_code == 200
            )
            assert state_of(filled, NAME) == state
        aimed = client.post(f"/campaigns/{NAME}/target", data={"csrf_token": token, "target": "gap 3.6 ± 0.05 eV"})
        assert '<strong data-stage="hits">1</strong>' in aimed.text
        odd = client.post(f"/campaigns/{NAME}/target", data={"csrf_token": token, "target": "gap -1 +- 0.05"})
        assert odd.status_code == 422
        budget = {"csrf_token": token, "dft_jobs": "77", "wall_time": "2h", "wanted_hits": ""}
        longer = client.post(f"/campaigns/{NAME}/budget", data=budget)
        assert 'name="dft_jobs" type="number" min="1" required value="77"' in longer.text
        assert client.post(f"/campaigns/{NAME}/budget", data={**budget, "wall_time": "soon"}).status_code == 422
        client.post(f"/campaigns/{NAME}/state", data={"csrf_token": token, "state": "stopped"})
        assert state_of(filled, NAME) == "stopped"
        late = client.post(f"/campaigns/{NAME}/state", data={"csrf_token": token, "state": "running"})
    assert late.status_code == 409
    assert "it cannot become running" in late.text


def test_a_campaign_is_cloned_and_its_file_downloaded(filled: Site) -> None:
    with filled.operator() as client:
        token = form_of(client, f"/campaigns/{NAME}")
        made = client.post(f"/campaigns/{NAME}/clone", data={"csrf_token": token, "new": "again"})
        assert made.url.path == "/campaigns/again"
        taken = client.post(f"/campaigns/{NAME}/clone", data={"csrf_token": token, "new": "again"})
        assert taken.status_code == 409
        file = client.get("/campaigns/again/campaign.yaml")
    assert file.headers["content-disposition"] == 'attachment; filename="again.yaml"'
    config = parse_campaign(yaml.safe_load(file.text))
    with filled.database.transaction() as connection:
        assert campaigns.named(connection, "again").config == config
        first = campaigns.named(connection, NAME).config
    assert config.model_copy(update={"name": first.name, "seed": first.seed}) == first


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (False, {}),
        (True, {"Origin": "http://evil.example"}),
        (True, {"Sec-Fetch-Site": "cross-site"}),
        (True, {"Origin": "null"}),
    ],
)
def test_a_form_of_another_site_is_refused(filled: Site, token: bool, headers: dict[str, str]) -> None:
    with filled.operator() as client:
        own = form_of(client, f"/campaigns/{NAME}")
        data = {"csrf_token": own if token else "x" * 43, "state": "stopped"}
        answer = client.post(f"/campaigns/{NAME}/state", data=data, headers=headers)
    assert answer.status_code == 403
    assert state_of(filled, NAME) == "running"


def test_who_has_nothing_but_a_cookie_and_a_form_token_changes_nothing(filled: Site, tmp_path: Path) -> None:
    """Any program of any user of the machine can get both, by asking for a page."""
    app = create_app(Context(filled.database, Settings(home=tmp_path), DashboardSettings()))
    routes = {
        (method, re.sub(r"\{(\w+)\}", lambda found: NAME if found[1] == "name" else "1", path))
        for path, methods in _routes(app.routes)
        for method in methods - {"GET", "HEAD", "OPTIONS", "TRACE"}
        if "{path:path}" not in path
    }
    assert len(routes) > 9
    values = {
        "name": "mine",
        "target.value": "4",
        "target": "gap 4.5 ± 0.1 eV",
        "state": "stopped",
        "token": "no",
        "dft_jobs": "7",
        "wall_time": "1h",
        "new": "clone",
    }
    values |= {"event_id": "00000000-0000-4000-8000-000000000000", "consumer": "trainer", "constraints.elements": "C"}

    def events() -> object:
        with filled.database.transaction() as connection:
            return connection.execute("SELECT count(*) AS n FROM outbox").fetchone()

    before, found = events(), {}
    with filled.client() as client:
        form = form_of(client, "/campaigns/new")
        for method, path in sorted(routes):
            content = {"json": values} if path.startswith("/api/") else {"data": values | {"csrf_token": form}}
            found[path] = client.request(method, path, **content).status_code  # type: ignore[arg-type]
    free = {"/sign-in": 422, "/sign-out": 200}
    assert {path: status for path, status in found.items() if status != 401} == free
    assert events() == before


def test_a_one_time_address_signs_one_browser_in(filled: Site) -> None:
    key = filled.key()
    with filled.client() as mine, filled.client() as theirs:
        assert mine.get("/sign-in", params={"key": key, "to": f"/campaigns/{NAME}"}).url.path == f"/campaigns/{NAME}"
        again = mine.get("/sign-in", params={"key": key})
        assert (again.status_code, again.url.path) == (200, "/")  # it is signed in
        late = theirs.get("/sign-in", params={"key": key})
        assert late.status_code == 422
        assert "gapsmith dashboard" in late.text
        theirs.cookies.set(security.COOKIE, key)  # a key is not a session
        data = {"csrf_token": form_of(theirs, "/campaigns/new"), "state": "stopped"}
        assert theirs.post(f"/campaigns/{NAME}/state", data=data).status_code == 401
        data["csrf_token"] = form_of(mine, "/campaigns/new")
        assert mine.post(f"/campaigns/{NAME}/state", data=data).status_code == 200
    assert state_of(filled, NAME) == "stopped"


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a?b", ""]
)
def test_a_sign_in_leads_nowhere_else(filled: Site, to: str) -> None:
    with filled.client() as client:
        answer = client.get("/sign-in", params={"key": filled.key(), "to": to}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def _routes(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Path and methods of all routes, those of included routers too."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from _routes(inner.routes, prefix + route.include_context.prefix)
        elif methods := getattr(route, "methods", None):
            yield prefix + route.path, methods


def test_a_cookie_alone_is_no_form(filled: Site) -> None:
    with filled.client() as client:
        client.get("/campaigns/new")
        answer = client.post(f"/campaigns/{NAME}/state", data={"state": "stopped"})
    assert answer.status_code == 403
    (cookie,) = client.cookies.jar
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "strict"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/campaigns/vanished", 404, "no campaign is called"),
        ("/candidates/00000000-0000-4000-8000-000000000000", 404, "no candidate has the id"),
        ("/candidates/five", 422, "cannot be used"),
        ("/models/surrogate:9", 404, "there is no version"),
        ("/nowhere", 404, "nothing is at this address"),
        ("/draw/123456.svg", 404, "no molecule has the number"),
        ("/candidates?smarts=C((", 422, "smarts"),
        ("/candidates?gap_ev_min=5&gap_ev_max=4", 422, "backwards"),
        ("/candidates?colour=red", 422, "colour"),
        ("/candidates?campaign=vanished", 422, "no campaign is called"),
        ("/candidates?cursor=abc", 422, "cursor"),
        ("/candidates?fields=gap", 422, "is not a column"),
        ("/?start=-1", 422, "cannot be used"),
    ],
)
def test_what_is_wrong_is_a_sentence(filled: Site, path: str, status: int, words: str) -> None:
    with filled.client() as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert words in answer.text.lower().replace("&#39;", "'")
    assert answer.text.rstrip().endswith("</html>")
    assert "Traceback" not in answer.text


def test_a_stopped_database_is_a_sentence(postgres_url: str, tmp_path: Path) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", timeout_s=0.5)
    with nowhere, serving(nowhere, Settings(home=tmp_path)) as site, site.client() as client:
        for path in ("/", "/campaigns/any", "/candidates", "/models", "/health"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert "cannot be reached" in answer.text
            assert answer.text.rstrip().endswith("</html>")
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert "gapsmith_database_up 0.0" in client.get("/metrics").text


def test_what_breaks_is_told_without_its_innards(filled: Site) -> None:
    with filled.database.transaction() as connection:
        connection.execute('UPDATE campaigns SET config = \'{"name": "secret-inside"}\'')
    with filled.client() as client:
        answer = client.get(f"/campaigns/{NAME}")
    assert answer.status_code == 500
    assert "secret-inside" not in answer.text
    assert "under the number" in answer.text


def test_metrics_count_requests_and_the_state_of_the_system(filled: Site) -> None:
    with filled.client() as client:
        client.get("/models")
        client.get("/campaigns/vanished")
        text = client.get("/metrics").text
    assert 'gapsmith_http_requests_total{method="GET",route="/models",status="200"} 1.0' in text
    assert 'route="/campaigns/{name}",status="404"} 1.0' in text
    assert 'gapsmith_campaigns{state="running"} 1.0' in text
    assert "gapsmith_database_up 1.0" in text


def test_limits_of_size(filled: Site) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 50_000

    with filled.client() as client:
        assert client.post("/campaigns/new", content=b"x" * 1_100_000).status_code == 413
        assert client.post("/campaigns/new", content=slowly(), headers=FORM).status_code == 413
        assert client.get("/healthz").status_code == 200


def test_another_name_for_this_machine_is_refused(filled: Site) -> None:
    with filled.client() as client:
        assert client.get("/", headers={"Host": "rebound.example.org"}).status_code == 421


def test_static_files_last(filled: Site) -> None:
    with filled.client() as client:
        (address,) = re.findall(r'href="(/static/app\.css[^"]+)"', client.get("/").text)
        assert "immutable" in client.get(address).headers["cache-control"]
        assert client.get("/static/app.css").headers["cache-control"] == "no-cache"
        assert client.get("/static/../app.py").status_code == 404


def test_dead_letters_are_offered_again(filled: Site) -> None:
    with filled.database.transaction() as connection:
        event = connection.execute("SELECT id FROM outbox LIMIT 1").fetchone()
        assert event is not None
        inbox.refuse(connection, event["id"], "trainer", "it did not understand")
    with filled.operator() as client:
        assert "it did not understand" in client.get("/health").text
        data = {"csrf_token": form_of(client, "/health"), "event_id": str(event["id"]), "consumer": "trainer"}
        again = client.post("/health/replay", data=data)
        twice = client.post("/health/replay", data=data)
    assert "every event could be handled" in again.text
    assert twice.status_code == 422
    with filled.database.transaction() as connection:
        assert inbox.take(connection, event["id"], "trainer")


def test_beyond_loopback_a_browser_signs_in(filled: Site, tmp_path: Path) -> None:
    with filled.database.transaction() as connection:
        viewer = tokens.create(connection, "viewer", Role.VIEWER)
        operator = tokens.create(connection, "operator", Role.OPERATOR)
    settings = Settings(home=tmp_path)
    with serving(filled.database, settings, DashboardSettings(host="0.0.0.0")) as site, site.client() as client:
        closed = client.get("/")
        assert closed.status_code == 401
        assert 'type="password"' in closed.text
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.get(f"/live/campaigns/{NAME}").status_code == 401
        form = form_of(client, "/sign-in")
        assert client.post("/sign-in", data={"csrf_token": form, "token": "wrong"}).status_code == 422
        assert client.post("/sign-in", data={"csrf_token": form, "token": viewer}).url.path == "/"
        assert client.get(f"/campaigns/{NAME}").status_code == 200
        change = {"csrf_token": form_of(client, f"/campaigns/{NAME}"), "state": "paused"}
        assert client.post(f"/campaigns/{NAME}/state", data=change).status_code == 403
        assert state_of(filled, NAME) == "running"
        client.post("/sign-in", data={"csrf_token": form, "token": operator})
        assert client.post(f"/campaigns/{NAME}/state", data=change).status_code == 200
        assert state_of(filled, NAME) == "paused"
        client.post("/sign-out", data={"csrf_token": form})
        assert client.get("/").status_code == 401


def test_many_at_once(filled: Site) -> None:
    with filled.client() as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.get(f"/campaigns/{NAME}").status_code, range(48)))
    assert answers == [200] * 48


def test_a_new_label_is_on_the_next_page(filled: Site) -> None:
    with filled.client() as client:
        assert '<strong data-stage="dft">4</strong>' in client.get(f"/campaigns/{NAME}").text
        with filled.database.transaction() as connection:
            row = connection.execute(
                "SELECT id, campaign_id, relaxed_conformer_id AS conformer FROM candidates WHERE state = 'scored' LIMIT 1"
            ).fetchone()
            assert row is not None
            label(connection, row["campaign_id"], row["id"], row["conformer"], 7.0)
        new = '<strong data-stage="dft">5</strong>'
        assert wait_until(lambda: new in client.get(f"/campaigns/{NAME}").text, 60.0)
