"""What would occupy the dashboard: patterns that explode, clients that dawdle, callers that ask too often."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from dashboard_site import Site, serving

from gapsmith.core.settings import Settings
from gapsmith.dashboard import connections, guard
from gapsmith.dashboard.api.limits import Limits, Rate
from gapsmith.dashboard.pages import views
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.stack.processes import wait_until
from gapsmith.store import tokens
from gapsmith.store.database import Database
from gapsmith.store.tokens import Role

pytestmark = [pytest.mark.serial, pytest.mark.service]
WILDCARDS = ".".join("*" * 14)  # occupied the dashboard for 400 s
SLOW = f"{'~'.join('*' * 40)}~[N]"


@pytest.fixture
def site(database: Database, settings: Settings) -> Iterator[Site]:
    with serving(database, settings) as found:
        yield found


def test_patterns_that_explode_do_not_block_the_dashboard(site: Site) -> None:
    def ask(path: str) -> httpx.Response:
        with site.client() as client:
            return client.get(path)

    with ThreadPoolExecutor(20) as pool:
        wild = [pool.submit(ask, f"/candidates?smarts={WILDCARDS}") for _ in range(9)]
        wild += [pool.submit(ask, f"/api/v1/candidates?smarts={WILDCARDS}") for _ in range(9)]
        healthy = ask("/readyz")
        answers = [one.result() for one in wild]
    assert healthy.status_code == 200
    assert {one.status_code for one in answers} == {422}
    assert all("at most 3" in one.text for one in answers)


def test_no_connection_is_kept_while_molecules_are_compared(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from gapsmith.core.chemistry import substructure

    looking, go = threading.Event(), threading.Event()
    real = substructure.Substructure.matches

    def matches(self: substructure.Substructure, *arguments: object, **options: object) -> list[bool]:
        looking.set()
        go.wait(120)
        return real(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(substructure.Substructure, "matches", matches)
    with site.client() as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, "/api/v1/candidates?smarts=C&state=all")
        assert looking.wait(120)
        with site.database.transaction() as connection:
            rows = connection.execute(
                """SELECT count(*)::int AS n FROM pg_stat_activity
                   WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""
            ).fetchone()
        go.set()
        assert answer.result().status_code == 200
    assert rows == {"n": 0}


def test_a_client_that_sends_nothing_or_half_a_request_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(guard, "BODY_S", 0.5)
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\n"
    body = head.replace(b"GET /healthz", b"POST /sign-in") + form
    assert received(site, b"") == b""
    assert received(site, head) == b""
    assert received(site, head + b"\r\n" + head).count(b"HTTP/1.1 200") == 1
    assert b"HTTP/1.1 40" in received(site, body)


def received(site: Site, sent: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    with socket.create_connection(address(site), timeout=60) as client:
        client.sendall(sent)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
            if b"HTTP/1.1 40" in part:
                break
        return b"".join(parts)


def address(site: Site) -> tuple[str, int]:
    url = httpx.URL(site.url)
    assert url.port is not None
    return url.host, url.port


def test_one_address_opens_only_so_many_connections(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ADDRESS", 5)
    held = [socket.create_connection(address(site), timeout=60) for _ in range(5)]
    try:
        time.sleep(0.3)
        assert received(site, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    except ConnectionResetError:
        pass
    finally:
        for one in held:
            one.close()
    assert wait_until(lambda: healthy(site), 60.0)  # once it has seen that they are closed


def healthy(site: Site) -> bool:
    try:
        with site.client() as client:
            return client.get("/healthz").status_code == 200
    except httpx.TransportError:  # refused, for there are too many
        return False


def test_pages_and_forms_are_limited_like_the_api(database: Database, settings: Settings) -> None:
    limits = Limits(reading=Rate(0.1, 4), commands=Rate(0.1, 2), drawings=Rate(0.1, 3))
    with serving(database, settings, limits=limits) as site, site.client() as client:
        assert [client.get("/models").status_code for _ in range(5)] == [200] * 4 + [429]
        assert [client.post("/sign-in", data={"token": "x"}).status_code for _ in range(3)][-1] == 429
        assert [client.get("/draw/1.svg").status_code for _ in range(4)][-1] == 429
        assert client.get("/static/app.css").status_code == 200
        assert client.get("/healthz").status_code == 200


def test_a_stream_ends_when_its_token_is_revoked(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "TICK_S", 0.2)
    with database.transaction() as connection:
        secret = tokens.create(connection, "reader", Role.VIEWER)
    own = DashboardSettings(host="0.0.0.0", port=0)
    with serving(database, settings, own) as site, site.client() as client:
        with client.stream("GET", "/live/health", headers={"Authorization": f"Bearer {secret}"}) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert any(line.startswith("event:") for line in lines)
            with database.transaction() as connection:
                tokens.revoke(connection, "reader")
            rest = list(lines)
        assert "event: problem" in rest


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/draw/{10**30}.svg", 422),
        (f"/draw/1.svg?parent={10**30}", 422),
        ("/draw/-1.svg", 422),
        ("/candidates?page=%C2%B2", 200),
        (f"/candidates?page={'9' * 5000}", 200),
        ("/candidates?campaign=a%00b", 400),
        ("/campaigns/a%00b", 400),
        ("/api/v1/events?type=a%00b", 400),
        ("/api/v1/candidates?smarts=%ED%A0%80", 422),
        (f"/api/v1/candidates?limit={10**30}", 422),
        (f"/api/v1/events?after={10**30}", 422),
        (f"/?start={10**30}", 422),
    ],
)
def test_odd_requests_are_answered_without_a_failure(site: Site, path: str, status: int) -> None:
    with site.client() as client:
        assert client.get(path).status_code == status
