"""The embedded servers, for every test that asks for ``postgres_url``, ``database`` or ``settings``.

One Postgres serves the whole run. Each test gets its own database, copied from a migrated template, and its own broker
and Valkey, so that no test sees another one's events. Whoever kills the run leaves no server behind.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:  # servers' libraries are imported by the tests that use them, not by the unit tests
    from gapsmith.core.settings import Settings
    from gapsmith.store.database import Database

# Tracebacks as plain text, as services write them; structlog's own default draws every frame's variables, for many seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(),
    ]
)
hypothesis_settings.register_profile("gapsmith", deadline=None)  # speed is measured in benchmarks/
hypothesis_settings.register_profile("quick", deadline=None, max_examples=20)  # of `make unit`
hypothesis_settings.load_profile("gapsmith")
pytest_plugins = ["rabbitmq_node", "skipped_tests"]

SERVICE_FIXTURES = {"postgres_server", "postgres_url", "settings", "database", "service_folder"}
TEMPLATE = "gapsmith_template"

# Waits until the test run has ended, however it ended, and stops what still runs in its folder.
GUARD = """
import shutil, sys
from pathlib import Path
from signal import SIGKILL
from gapsmith.stack.processes import end, working_in
from gapsmith.stack.stack import EmbeddedStack
folder = Path(sys.argv[1])
sys.stdin.read()
for program in ("beam.smp", "epmd"):  # RabbitMQ
    end(working_in(folder / "rabbitmq", program), first=SIGKILL)
for home in [folder, *(path.parent for path in folder.glob("*/stack.lock"))]:
    EmbeddedStack(home).down()
shutil.rmtree(folder, ignore_errors=True)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need servers."""
    for item in items:
        if SERVICE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.service)


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder with a short name; every stack that is started in it ends with the run, even after kill -9."""
    folder = Path(tempfile.mkdtemp(prefix="gapsmith-tests-"))
    guard = subprocess.Popen([sys.executable, "-c", GUARD, str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(120)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(service_folder: Path) -> Iterator[str]:
    """URL of the run's Postgres with a migrated template database."""
    import psycopg

    from gapsmith.stack.postgres import Postgres
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store.migrate import migrate

    nowhere = {"kafka": "127.0.0.1:1", "celery": "redis://127.0.0.1:1/0"}
    stack = EmbeddedStack(service_folder, nowhere)
    url = stack.up().postgres_url
    (port,) = (server.port for server in stack.status() if server.name == "postgres")
    assert port is not None
    admin = Postgres(service_folder).admin_address(port)
    with psycopg.connect(admin, autocommit=True, connect_timeout=60) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # tests need speed; a power cut may have their data
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("ALTER ROLE gapsmith CREATEDB")  # a database for each test
        connection.execute(
            "GRANT SET ON PARAMETER session_replication_role TO gapsmith"
        )  # states without their history
    with psycopg.connect(url, autocommit=True, connect_timeout=60) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(_with_database(url, TEMPLATE))
    yield url
    stack.down()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database with the current schema, for one test."""
    with _new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(postgres_server: str) -> "Iterator[Database]":
    """Connections to a database for all tests of a module."""
    from gapsmith.store.database import Database

    with _new_database(postgres_server) as url, Database(url) as opened:
        yield opened


@contextmanager
def _new_database(server: str) -> Iterator[str]:
    import psycopg

    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True, connect_timeout=60) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _with_database(server, name)
    with psycopg.connect(server, autocommit=True, connect_timeout=60) as connection:
        for _ in range(60):  # an autovacuum worker, which only a superuser may end, is done within seconds
            with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse):
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
                break
            time.sleep(1.0)
        else:
            raise AssertionError(f"database {name} is still in use")


@pytest.fixture
def settings(postgres_url: str, service_folder: Path) -> "Iterator[Settings]":
    """Settings of one test: its database, its broker, its Valkey and its home folder."""
    from gapsmith.core.settings import Settings
    from gapsmith.stack.stack import EmbeddedStack

    home = service_folder / uuid4().hex[:8]
    stack = EmbeddedStack(home, {"postgres": postgres_url})
    yield stack.up().apply(Settings(home=home))
    stack.down()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def database(postgres_url: str) -> "Iterator[Database]":
    """Connections to the test's database."""
    from gapsmith.store.database import Database

    with Database(postgres_url) as opened:
        yield opened


def _with_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"
