"""Who may command over HTTP, what commands do, and what is left of a token."""

import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from api_application import application, client_of
from api_bridge import Bridge
from click.testing import CliRunner
from fastapi import Response
from fastapi.testclient import TestClient
from many_candidates import FIRST, METHANE, SECOND, fill
from starlette.requests import Request

from gapsmith.client import Client, ConflictError, InvalidRequestError, NotFoundError, TokenError
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.levels import shipped
from gapsmith.core.settings import Settings
from gapsmith.core.settings import settings as process_settings
from gapsmith.dashboard import security
from gapsmith.dashboard.cli import token as command
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.stack import dashboard as address
from gapsmith.stack import owner
from gapsmith.store import calculations, candidates, tokens
from gapsmith.store.database import Database
from gapsmith.store.tokens import Role

pytestmark = pytest.mark.service
DOCUMENT = {"name": "third", "target": {"value": 5.0, "tolerance": 0.2}, "budget": {"dft_jobs": 10}}


@pytest.fixture
def api(database: Database) -> Iterator[TestClient]:
    fill(database, most=20)
    with client_of(application(database)) as client:
        yield client


def token_of(database: Database, role: Role, name: str = "ada") -> str:
    with database.transaction() as connection:
        return tokens.create(connection, name, role)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_campaigns_are_commanded_by_operators(api: TestClient, database: Database) -> None:
    with Client("http://127.0.0.1", token_of(database, Role.OPERATOR), transport=Bridge(api)) as client:
        campaign = client.campaigns.start(DOCUMENT)
        assert (campaign.name, campaign.state) == ("third", "running")
        assert campaign.document["config"]["budget"]["dft_jobs"] == 10
        assert campaign.pause().state == "paused"
        assert campaign.resume().state == "running"
        assert campaign.retarget({"value": 4.5, "tolerance": 0.3}).document["target"][0]["value"] == 4.5
        with pytest.raises(TimeoutError, match="still running"):
            campaign.wait(timeout_s=0.2, every_s=0.1)
        longer = campaign.extend(dft_jobs=77, wall_time="2h").document["config"]["budget"]
        assert (longer["dft_jobs"], longer["wall_time"]) == (77, 7200.0)
        with pytest.raises(InvalidRequestError, match="say what changes"):
            campaign.extend()
        with pytest.raises(InvalidRequestError, match="wall_time"):
            campaign.extend(wall_time="soon")
        assert campaign.stop().wait(timeout_s=120).ended
        with pytest.raises(ConflictError, match="stopped for good"):
            campaign.extend(dft_jobs=78)
        assert campaign.document["stop_reason"] == "stopped by its user"
        assert "third" in repr(campaign)
        assert "<table>" in campaign._repr_html_()
        with pytest.raises(ConflictError, match="'third' is stopped"):
            campaign.resume()
        with pytest.raises(ConflictError, match="exists already"):
            client.campaigns.start(DOCUMENT)
        with pytest.raises(NotFoundError, match="did you mean 'first'"):
            client.campaigns.get("frist")
        assert [one["name"] for one in client.campaigns.list()] == ["third", SECOND, FIRST]
        told = [one["data"]["state"] for one in client.events(campaign="third")]
        assert told == ["running", "paused", "running", "running", "running", "stopped"]  # retargeted, extended
        assert {one["source"] for one in client.events(campaign="third")} == {"gapsmith/api/ada"}


def test_a_new_target_changes_what_is_a_hit(api: TestClient, database: Database) -> None:
    with Client("http://127.0.0.1", token_of(database, Role.OPERATOR), transport=Bridge(api)) as client:
        gap = next(iter(client.candidates.search(campaign=FIRST, state="labelled", sort="-gap")))["gap_ev"]
        client.campaigns.get(FIRST).retarget({"value": gap, "tolerance": 0.001})
        assert [row["gap_ev"] for row in client.candidates.search(campaign=FIRST, state="hit")] == [gap]


def test_wrong_documents_are_explained(api: TestClient, database: Database) -> None:
    headers = bearer(token_of(database, Role.OPERATOR))
    for document, message in (
        ({**DOCUMENT, "targte": 1}, "targte: there is no such name here; did you mean target?"),
        ({**DOCUMENT, "budget": {"dft_job": 1}}, "budget.dft_job: there is no such name here; did you mean dft_jobs?"),
        ({"name": "third"}, "target: "),
        ({**DOCUMENT, "target": {"value": -1}}, "target.0.value: "),
        ({**DOCUMENT, "target": [{"value": 4}, {"valeu": 1}]}, "target.1.valeu: there is no such name here"),
        ({**DOCUMENT, "constraints": {"required_smarts": ["C("]}}, "constraints.required_smarts: 'C('"),
    ):
        answer = api.post("/api/v1/campaigns", json=document, headers=headers)
        assert answer.status_code == 422
        assert message in answer.json()["detail"]
    broken = api.post("/api/v1/campaigns", content=b"{", headers=headers)
    assert (broken.status_code, broken.json()["errors"][0]["field"]) == (422, "body")
    assert api.put(f"/api/v1/campaigns/{FIRST}/target", json={"value": 99}, headers=headers).status_code == 422


def add_job(database: Database, state: str) -> UUID:
    with database.transaction() as connection:
        conformer = candidates.add_conformer(connection, METHANE, method="gfn2-xtb", molecule_id=None)
        job = calculations.request(
            connection,
            content_hash=uuid4().hex,
            level=shipped()["triage"],
            conformer_id=conformer,
            campaign_id=None,
        )
        connection.execute("SET LOCAL session_replication_role = replica")  # by no way that a calculation takes
        connection.execute("UPDATE calculations SET state = %s, finished_at = now() WHERE id = %s", (state, job.id))
    return job.id


def test_jobs_are_listed_retried_and_cancelled(api: TestClient, database: Database) -> None:
    ids = [add_job(database, state) for state in ("failed", "queued", "done")]
    with Client("http://127.0.0.1", token_of(database, Role.OPERATOR), transport=Bridge(api)) as client:
        assert [UUID(job["id"]) for job in client.jobs.list()][:3] == ids[::-1]
        assert [UUID(job["id"]) for job in client.jobs.list(state="failed")] == [ids[0]]
        assert client.jobs.get(ids[0])["state"] == "failed"
        assert client.jobs.retry(ids[0]) is True
        assert client.jobs.cancel(str(ids[1])[:13]) is True
        assert client.jobs.cancel(ids[2]) is False
        assert [client.jobs.get(one)["state"] for one in ids] == ["queued", "cancelled", "done"]
        with pytest.raises(NotFoundError, match="no job has an id"):
            client.jobs.get("ffffffff")
    first = api.get("/api/v1/jobs", params={"limit": 2}).json()
    rest = api.get("/api/v1/jobs", params={"limit": 2, "cursor": first["next"]}).json()
    assert [UUID(job["id"]) for job in first["items"] + rest["items"]][:3] == ids[::-1]
    for wrong in ({"campaign": "gone"}, {"level": "none"}, {"cursor": "zz"}, {"state": "happy"}):
        assert api.get("/api/v1/jobs", params=wrong).status_code == 422


def test_models_and_events_are_listed(api: TestClient) -> None:
    found = api.get("/api/v1/models").json()["items"]
    assert [(one["role"], one["version"], one["state"]) for one in found] == [
        ("surrogate", 1, "rejected"),
        ("surrogate", 0, "live"),
    ]
    assert api.get("/api/v1/models/surrogate").json()["items"][0]["version"] == 0
    assert api.get("/api/v1/models", params={"role": "toaster"}).status_code == 422
    first = api.get("/api/v1/events", params={"limit": 1}).json()
    assert first["items"][0]["type"] == "gapsmith.campaign.changed.v1"
    assert first["items"][0]["campaign"] == FIRST
    rest = api.get("/api/v1/events", params={"after": first["next"]}).json()
    assert rest["next"] is None
    assert [one["campaign"] for one in rest["items"]] == [SECOND]


COMMAND = f"/api/v1/campaigns/{FIRST}/pause"


def test_on_loopback_looking_is_free_and_commanding_is_not(api: TestClient, database: Database) -> None:
    assert api.get("/api/v1/campaigns").status_code == 200
    refused = api.post(COMMAND)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    viewer = api.post(COMMAND, headers=bearer(token_of(database, Role.VIEWER)))
    assert viewer.status_code == 403
    assert "'ada' is a viewer's" in viewer.json()["detail"]
    assert api.post(COMMAND, headers=bearer(token_of(database, Role.OPERATOR, "bob"))).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer gapsmith_no", "Bearer nonsense", "Basic YTpi", "Bearer", f"Bearer gapsmith_{'x' * 10_000}"]
)
def test_a_wrong_token_is_refused_even_where_none_is_needed(api: TestClient, header: str) -> None:
    assert api.get("/api/v1/campaigns", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("how", ["beyond", "listens", "proxy"])
def test_beyond_loopback_everything_needs_a_token(database: Database, how: str) -> None:
    api = client_of(
        application(database, host="0.0.0.0" if how == "listens" else "127.0.0.1"),
        address="192.0.2.7" if how == "beyond" else "127.0.0.1",
    )
    headers = {"X-Forwarded-For": "192.0.2.7"} if how == "proxy" else {}
    for path in ("campaigns", "candidates", "candidates?format=csv", "jobs", "models", "events"):
        assert api.get(f"/api/v1/{path}", headers=headers).status_code == 401
    viewer = headers | bearer(token_of(database, Role.VIEWER))
    assert api.get("/api/v1/campaigns", headers=viewer).status_code == 200


def test_guessing_is_slowed_down(database: Database) -> None:
    from gapsmith.dashboard.api.limits import Limits, Rate

    api = client_of(application(database, Limits(refused=Rate(0.1, 3))))
    tries = [api.get("/api/v1/campaigns", headers=bearer(f"gapsmith_{n}")).status_code for n in range(5)]
    assert tries == [401, 401, 401, 429, 429]


def test_the_command_line_makes_lists_and_revokes_tokens(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    process_settings.cache_clear()
    run = CliRunner().invoke
    made = run(command, ["create", "ada", "--role", "operator", "--valid-for", "30d"])
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("gapsmith_")
    assert api.post(COMMAND, headers=bearer(secret)).status_code == 200
    listed = run(command, ["list"]).stdout
    assert "ada" in listed
    assert secret not in listed
    again = run(command, ["create", "ada"])
    assert isinstance(again.exception, InputError)
    assert "already" in str(again.exception)
    assert isinstance(run(command, ["create", "eve", "--valid-for", "soon"]).exception, InputError)
    assert run(command, ["revoke", "ada"]).exit_code == 0
    assert api.post(COMMAND, headers=bearer(secret)).status_code == 401
    assert "there is: ada" in str(run(command, ["revoke", "eve"]).exception)
    process_settings.cache_clear()
    with database.transaction() as connection:
        stored = connection.execute("SELECT api_tokens::text AS row FROM api_tokens").fetchall()
    assert secret.removeprefix("gapsmith_") not in str(stored)


def test_a_token_ends_by_itself(api: TestClient, database: Database) -> None:
    secret = token_of(database, Role.OPERATOR)
    with database.transaction() as connection:
        connection.execute("UPDATE api_tokens SET expires_at = now() - interval '1 second'")
    assert api.post(COMMAND, headers=bearer(secret)).status_code == 401


def request_with(cookie: str = "", address: str = "127.0.0.1") -> Request:
    headers = [(b"cookie", f"{security.COOKIE}={cookie}".encode())] if cookie else []
    return Request({"type": "http", "headers": headers, "client": (address, 1), "method": "GET", "path": "/"})


def test_a_browser_signs_in_with_a_token_and_out_again(database: Database) -> None:
    context = Context(database, Settings(), DashboardSettings(host="0.0.0.0"))
    with pytest.raises(security.Unauthenticated):
        security.authorised(context, request_with())
    with pytest.raises(InputError, match="token: it is not valid"):
        security.sign_in(context, "gapsmith_wrong", Response(), secure=True)
    secret = token_of(database, Role.OPERATOR)
    answer = Response()
    security.sign_in(context, secret, answer, secure=True)
    header = answer.headers["set-cookie"]
    assert all(word in header for word in ("HttpOnly", "Secure", "SameSite=strict"))
    session = header.partition("=")[2].partition(";")[0]
    assert session not in secret
    asked = request_with(session, "192.0.2.7")
    assert security.authorised(context, asked).name == "ada"
    assert security.authorised(context, asked, Role.OPERATOR, own_form=True).source == "api/ada"
    with pytest.raises(security.Unauthenticated):  # another site's form would carry the cookie, too
        security.authorised(context, asked, Role.OPERATOR)
    security.sign_out(context, asked, Response())
    with pytest.raises(security.Unauthenticated):
        security.authorised(context, asked)
    security.sign_in(context, secret, answer, secure=True)
    with database.transaction() as connection:
        tokens.revoke(connection, "ada")
        assert connection.execute("SELECT count(*) AS n FROM api_sessions").fetchone() == {"n": 0}


def test_our_own_forms_need_a_session_on_loopback_too(database: Database) -> None:
    context = Context(database, Settings(), DashboardSettings())
    assert security.authorised(context, request_with()).role is Role.VIEWER
    for host in ("127.0.0.1", "192.0.2.7"):
        with pytest.raises(security.Unauthenticated):
            security.authorised(context, request_with(address=host), Role.OPERATOR, own_form=True)


def test_the_client_takes_the_owners_token_to_the_owners_dashboard_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path))
    with Client() as client:
        assert repr(client) == "Client('http://127.0.0.1:8700')"
    address.write(tmp_path, "http://127.0.0.1:8765")
    with database.transaction() as connection:
        secret = owner.register(connection, tmp_path)
        assert owner.register(connection, tmp_path) == secret
        found = tokens.of_secret(connection, secret)
    assert found is not None
    assert found.role is Role.OPERATOR
    assert stat.S_IMODE((tmp_path / "owner.token").stat().st_mode) == 0o600
    sent = {}

    def answer(request: httpx.Request) -> httpx.Response:
        sent[str(request.url.copy_with(path="/"))] = request.headers.get("authorization")
        return httpx.Response(200, json={"items": []})

    for url in (None, "http://127.0.0.1:8765/", "http://127.0.0.1:8700", "http://localhost:8765"):
        with Client(url, transport=httpx.MockTransport(answer)) as client:
            client.models()
    bearer = f"Bearer {secret}"
    assert sent == {
        "http://127.0.0.1:8765/": bearer,
        "http://127.0.0.1:8700/": None,
        "http://localhost:8765/": None,
    }


def test_the_client_says_what_is_wrong(api: TestClient, database: Database) -> None:
    with Client("http://127.0.0.1", transport=Bridge(api)) as client:
        with pytest.raises(InvalidRequestError, match="gap_ev: 4:3 runs backwards") as caught:
            list(client.candidates.search(gap_ev=(4, 3)))
        assert caught.value.status == 422
        assert isinstance(caught.value, InputError)
        with pytest.raises(TokenError, match="operator's token"):
            client.campaigns.get(FIRST).pause()
        with pytest.raises(InputError, match="gap_ev: '3:4' is no range"):
            client.candidates.search(gap_ev="3:4")  # type: ignore[arg-type]
        assert len(list(client.candidates.search(limit=7))) == 7
        assert client.candidates.search(gap_ev=(29, None)).first() is None
        assert "no candidate" in client.candidates.search(gap_ev=(29, None))._repr_html_()
    with (
        Client("http://127.0.0.1:9", timeout_s=2) as client,
        pytest.raises(UnavailableError, match="gapsmith dashboard"),
    ):
        client.campaigns.list()
    assert "secret" not in repr(Client("http://127.0.0.1", "secret"))
