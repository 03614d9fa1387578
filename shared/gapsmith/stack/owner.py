"""How the owner of a home folder signs in to its dashboard: by a token in the folder, or an address that works once."""

from pathlib import Path
from urllib.parse import urlencode

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack import dashboard
from gapsmith.stack.state import secret
from gapsmith.store import tokens
from gapsmith.store.database import Connection, Database


def register(connection: Connection, home: Path) -> str:
    """The owner's token, which is made and stored at the first use; one that was revoked stays revoked."""
    token = secret(_file(home), tokens.PREFIX)
    tokens.ensure(connection, f"owner {tokens.fingerprint(token)}", tokens.Role.OPERATOR, token)
    return token


def sign_in_address(connected: Settings, url: str, path: str = "/") -> str:
    """Address of a page that signs a browser in as the owner, once; the dashboard's own if that is not possible now.

    Args:
        connected: settings with servers.
        url: of the dashboard.
        path: of the page to show.
    """
    try:
        with Database.from_settings(connected, connections=1) as database, database.transaction() as connection:
            key = tokens.one_time_key(connection, register(connection, connected.home))
    except (InputError, UnavailableError):
        return url + path.rstrip("/")
    return f"{url}/sign-in?{urlencode({'key': key} | ({} if path == '/' else {'to': path}), safe='/')}"


def running_dashboard(home: Path) -> tuple[str, str] | None:
    """Address of the home's running dashboard and the owner's token, which no other address may be sent."""
    url = dashboard.url(home)
    try:
        return None if url is None else (url, _file(home).read_text().strip())
    except OSError:
        return None


def _file(home: Path) -> Path:
    return home / "owner.token"
