"""What the embedded stack writes down: passwords, running servers, and the lock that only one ``up`` holds."""

import contextlib
import fcntl
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.stack.processes import ProcessRecord


class ServerRecord(BaseModel):
    """One running server."""

    model_config = ConfigDict(frozen=True)
    process: ProcessRecord
    port: int
    token: str = ""  # what the server answers with so that it can be told from another one on the same port


class State(BaseModel):
    """All servers by name."""

    model_config = ConfigDict(frozen=True)
    servers: dict[str, ServerRecord] = {}

    @classmethod
    def read(cls, path: Path) -> "State":
        """Read the file; an absent or damaged one counts as empty, since running servers are found without it."""
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValidationError):
            return cls()

    def write(self, path: Path) -> None:
        """Replace the file at once, readable for its owner only."""
        write_private(path, self.model_dump_json(indent=2))


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically; raises UnavailableError if the disk is full or read-only."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}; free some space or check its folder") from error


def secret(path: Path, prefix: str = "") -> str:
    """A random password that is kept in a file of mode 0600, made at its first use."""
    if path.exists():
        return path.read_text().strip()
    password = prefix + secrets.token_urlsafe(32)
    write_private(path, password)
    return password


def make_home(home: Path) -> None:
    """Create the folder, for its owner only; raises InputError if it cannot be written, or others may write or read it."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = home.stat()
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        reason = "a file is there" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(
            f"cannot write to {home} ({reason}); set GAPSMITH_HOME to a folder that you may write to"
        ) from error
    if known.st_uid != os.geteuid():
        raise InputError(
            f"{home} belongs to another user (number {known.st_uid}); set GAPSMITH_HOME to a folder of yours"
        )
    if known.st_mode & 0o077:
        raise InputError(
            f"{home} can be opened by other users, and passwords lie in it: chmod 700 {shlex.quote(str(home))}"
        )


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float, busy: str) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when its holder dies.

    Raises:
        UnavailableError: with the text ``busy`` if another process holds it for longer than ``timeout_s``.
    """
    with path.open("a") as stream:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise UnavailableError(busy) from error
                time.sleep(0.05)
        yield
