"""Who may look and who may change things: tokens, sessions of browsers, and what is free on one's own machine.

On loopback nobody needs a token to look, and commands need an operator's token or session there, too: any program of any
user of the machine could send them. Beyond loopback everything needs a token, or a session that began with one.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from gapsmith.core.errors import ErrorCode, GapsmithError
from gapsmith.dashboard.context import Context
from gapsmith.store import tokens
from gapsmith.store.tokens import PREFIX, SESSION, Role

COOKIE: Final = "gapsmith_session"
MOST_SECRET: Final = 200  # characters; ours are shorter
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Unauthenticated(GapsmithError):
    """Nobody knows who asks."""

    code = ErrorCode.UNAUTHENTICATED


class Forbidden(GapsmithError):
    """Who asks may not do this."""

    code = ErrorCode.FORBIDDEN


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    name: str  # of the token; "local" for anybody on this machine
    role: Role

    @property
    def source(self) -> str:
        """How the log and the events name it."""
        return f"api/{self.name}"


LOCAL: Final = "local"


def authorised(context: Context, request: Request, role: Role = Role.VIEWER, *, own_form: bool = False) -> Principal:
    """Who asks, if they may do what needs a role.

    Args:
        context: of the dashboard.
        request: with a bearer token, a session's cookie, or neither.
        role: that is needed.
        own_form: it is a form of our own pages (``csrf.check`` has passed), for which a session's cookie counts, too.

    Raises:
        Unauthenticated: there is no valid token.
        Forbidden: its role is not enough.
        UnavailableError: the database cannot be reached.
    """
    principal = _known(context, request, cookie=own_form or role is Role.VIEWER)
    if principal is None:
        if not local(context, request):
            raise Unauthenticated("this needs a token; 'gapsmith token create NAME' makes one on the server's machine")
        principal = Principal(LOCAL, Role.VIEWER)
    if not principal.role.allows(role):
        if principal.name == LOCAL:
            raise Unauthenticated(
                "to change anything, sign in: open the address that 'gapsmith dashboard' prints here"
                if own_form
                else "commands need an operator's token, here too: 'gapsmith token create NAME --role operator' makes one"
            )
        raise Forbidden(f"the token {principal.name!r} is a {principal.role}'s: this needs an {role}'s")
    return principal


def _known(context: Context, request: Request, *, cookie: bool) -> Principal | None:
    """Who a token or a cookie belongs to; raises Unauthenticated for one that is not valid."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme:
        found = None
        if scheme.lower() == "bearer" and secret.startswith(PREFIX) and len(secret) <= MOST_SECRET:
            with context.database.transaction() as connection:
                found = tokens.of_secret(connection, secret.strip())
        if found is None:
            raise Unauthenticated("this token is not valid (any more); 'gapsmith token list' shows which are")
        return Principal(found.name, found.role)
    session = request.cookies.get(COOKIE, "")
    if cookie and 0 < len(session) <= MOST_SECRET:
        with context.database.transaction() as connection:
            found = tokens.of_session(connection, session)
        return None if found is None else Principal(found.name, found.role)
    return None


def local(context: Context, request: Request) -> bool:
    """Whether a request comes from this machine to a server that only this machine reaches, and not through a proxy."""
    client = request.client.host if request.client else ""
    return (
        is_loopback(context.dashboard.host)
        and is_loopback(client)
        and not any(name in request.headers for name in _FORWARDED)
    )


def is_loopback(host: str) -> bool:
    """Whether an address is heard on its own machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def sign_in(context: Context, secret: str, response: Response, *, secure: bool) -> None:
    """Begin a browser's session with a token or a one-time key; raises InputError if it is not valid."""
    begin = tokens.begin_session if secret.strip().startswith(PREFIX) else tokens.redeem
    with context.database.transaction() as connection:
        session = begin(connection, secret[:MOST_SECRET].strip())
    age = round(SESSION.total_seconds())
    response.set_cookie(COOKIE, session, max_age=age, httponly=True, samesite="strict", secure=secure, path="/")


def signed_in(context: Context, request: Request) -> bool:
    """Whether a browser has a session."""
    return "authorization" not in request.headers and _known(context, request, cookie=True) is not None


def sign_out(context: Context, request: Request, response: Response) -> None:
    """End a browser's session."""
    with context.database.transaction() as connection:
        tokens.end_session(connection, request.cookies.get(COOKIE, "")[:MOST_SECRET])
    response.delete_cookie(COOKIE, path="/")
