"""Settings with servers: those that are named, or the embedded ones, which are started if they do not run."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gapsmith.core.terminal import echo

if TYPE_CHECKING:
    from gapsmith.core.model_domain import ModelDomain
    from gapsmith.core.settings import Settings
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store.database import Connection, Database

T = TypeVar("T")


def connected_settings(*, quiet: bool = False) -> "Settings":
    """The settings, with the embedded stack's addresses where no server is named; starts it if it does not run.

    Args:
        quiet: do not say on standard error that servers are started.

    Raises:
        UnavailableError: the servers do not come up.
    """
    from gapsmith.core.settings import settings

    own = settings()
    if own.postgres_url and own.kafka_bootstrap and own.celery_broker_url:
        return own
    from gapsmith.stack.stack import EmbeddedStack

    stack = EmbeddedStack.of(own)
    if (found := stack.find()) is not None:
        return found.apply(own)
    if not quiet:
        echo("starting the embedded servers; 'gapsmith down' stops them", err=True)
    connected = stack.up().apply(own)
    bring_up_to_date(connected)
    return connected


def open_database(*, connections: int = 1) -> "Database":
    """The database that is named, or the embedded one, whose server is started if it does not run.

    Raises:
        UnavailableError: the server does not come up.
    """
    from gapsmith.core.settings import settings
    from gapsmith.store.database import Database

    own = settings()
    return Database.from_settings(own if own.postgres_url else connected_settings(), connections=connections)


@contextmanager
def connected() -> "Iterator[Connection]":
    """A transaction of ``open_database``; raises UnavailableError."""
    with open_database() as database, database.transaction() as connection:
        yield connection


def bring_up_to_date(connected: "Settings") -> str:
    """Apply missing migrations; returns the revision."""
    from gapsmith.store.migrate import migrate as apply

    assert connected.postgres_url is not None  # of connected settings
    return apply(connected.postgres_url.get_secret_value())


def known_domains() -> "dict[str, ModelDomain]":
    """What the live models know, by name, if servers run; else what the shipped ones know. Starts nothing."""
    from gapsmith.store.models import live_domains
    from gapsmith.training.shipped import shipped_domains

    return if_running(live_domains) or shipped_domains()


def live_weights(role: str) -> Path:
    """Weights of the model that is live, if servers run; else the shipped ones. Starts nothing."""
    from gapsmith.core.settings import settings
    from gapsmith.store.models import live
    from gapsmith.training.shipped import shipped

    found = if_running(lambda connection: live(connection, role))
    return shipped(role, settings()) if found is None else Path(found.path)


def if_running(ask: "Callable[[Connection], T]") -> "T | None":
    """What a database that runs answers; None if none runs, or it is of another schema. Starts nothing."""
    from psycopg.errors import UndefinedColumn, UndefinedTable

    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.settings import settings
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store.database import Database

    own = settings()
    if own.postgres_url is None and (found := EmbeddedStack.of(own).find()) is not None:
        own = found.apply(own)
    if own.postgres_url is None:
        return None
    try:
        with Database.from_settings(own, connections=1) as database, database.transaction() as connection:
            return ask(connection)
    except (UndefinedTable, UndefinedColumn, UnavailableError):  # of an older schema, or not up: creating checks again
        return None


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Structured logs of this process go to a file: the terminal belongs to the progress."""
    import structlog

    from gapsmith.core.logs import unfailing

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(file=unfailing(file)),
        )
        try:
            yield
        finally:
            structlog.reset_defaults()


@contextmanager
def foreground(home: Path, what: str) -> Iterator[str | None]:
    """Be the one command in the foreground that runs a home's services: None, or in words who is.

    Raises:
        InputError: the home folder cannot be written.
    """
    from gapsmith.core.errors import InputError
    from gapsmith.stack.state import make_home

    make_home(home)
    path = home / "run.lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise InputError(f"GAPSMITH_HOME {home} cannot be written: {error.strerror}; choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "just starting"
            return
        with contextlib.suppress(OSError):  # a full disk: the lock is held, and another command is told less
            file.truncate(0)
            file.write(f"process {os.getpid()}, {what}\n")
            file.flush()
        yield None


@contextmanager
def using(stack: "EmbeddedStack") -> Iterator[None]:
    """Use a home's servers. If they do not run, they are to run for commands in the foreground only: the last one stops them.

    Raises:
        InputError: the home folder cannot be written.
    """
    from gapsmith.stack.state import make_home

    make_home(stack.home)
    with (stack.home / "users.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # waits while the last one stops them
        if stack.find() is None:
            _for_a_while(stack).touch()
        try:
            yield
        finally:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another one uses them
            else:
                if _for_a_while(stack).exists():
                    stack.down()
                    _for_a_while(stack).unlink(missing_ok=True)


def stay(stack: "EmbeddedStack") -> None:
    """Let servers run on after the commands that use them; raises InputError if the home folder cannot be used."""
    from gapsmith.stack.state import make_home

    make_home(stack.home)
    _for_a_while(stack).unlink(missing_ok=True)


def _for_a_while(stack: "EmbeddedStack") -> Path:
    return stack.home / "for-a-while"
