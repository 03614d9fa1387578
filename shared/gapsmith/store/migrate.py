"""Bring a database's schema up to date with Alembic; several processes may do so at once."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from gapsmith.core.errors import Conflict, UnavailableError
from gapsmith.core.paths import home
from gapsmith.store import projection
from gapsmith.store.database import address, unreachable

LOCK = 7_041_776_001  # advisory lock: an arbitrary constant


def migrate(url: str) -> str:
    """Apply what is missing and return the revision.

    Raises:
        UnavailableError: the server is not there or refuses.
        Conflict: the database is of a development version whose migrations no longer exist.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as lock:
            lock.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
            try:
                with engine.begin() as connection:
                    scripts = ScriptDirectory.from_config(config)
                    head = scripts.get_current_head() or ""
                    current = MigrationContext.configure(connection).get_current_revision()
                    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
                        raise Conflict(_too_old(url, current))
                    if current != head:
                        config.attributes["connection"] = connection
                        command.upgrade(config, "head")
            finally:
                engine.dispose()
            with psycopg.connect(url, row_factory=dict_row, connect_timeout=10) as connection:
                projection.refresh(connection)
            return head
    except psycopg.OperationalError as error:
        raise UnavailableError(unreachable(url, str(error))) from error


def _too_old(url: str, revision: str) -> str:
    return (
        f"the database at {address(url)} belongs to an earlier development version of gapsmith (its schema is at revision "
        f"{revision}, which this version does not know) and cannot be brought up to date; name an empty database in "
        "GAPSMITH_POSTGRES_URL, or, if it is the embedded one, run 'gapsmith down' and move the folder 'postgres' out of "
        f"{home()}"
    )
