"""What stands before every route: who asks, whether they may, and how often."""

from typing import Final

from fastapi import Request
from fastapi.security import HTTPBearer

from gapsmith.dashboard.api.limits import Buckets, Limits
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.security import LOCAL, Principal, Unauthenticated, authorised
from gapsmith.store.tokens import Role

BEARER: Final = HTTPBearer(  # for the documentation only: ``authorised`` reads the header
    auto_error=False, description="of 'gapsmith token create'; to look, on the server's own machine, none is needed"
)


class Access:
    """Dependencies of routes.

    Args:
        context: of the dashboard.
        limits: of each caller.
    """

    def __init__(self, context: Context, limits: Limits) -> None:
        self._context = context
        self._reading, self._commands = Buckets(limits.reading), Buckets(limits.commands)
        self._exports, self._refused = Buckets(limits.exports), Buckets(limits.refused)
        self._drawings = Buckets(limits.drawings)

    def viewer(self, request: Request) -> Principal:
        """Who may look; raises Unauthenticated, Forbidden, TooMany, UnavailableError."""
        return self._admit(request, Role.VIEWER, self._reading)

    def operator(self, request: Request) -> Principal:
        """Who may change things; raises like ``viewer``."""
        return self._admit(request, Role.OPERATOR, self._commands)

    def export(self, principal: Principal, request: Request) -> None:
        """Count an export, which costs more than a page; raises TooMany."""
        self._exports.take(_caller(principal, request))

    def page(self, request: Request) -> None:
        """Count a request for a page, a part of one, or by a form of one; raises TooMany."""
        if request.method == "POST":
            buckets = self._commands
        else:
            buckets = self._drawings if request.url.path.startswith("/draw/") else self._reading
        buckets.take(_address(request))

    def _admit(self, request: Request, role: Role, buckets: Buckets) -> Principal:
        try:
            principal = authorised(self._context, request, role)
        except Unauthenticated:
            self._refused.take(_address(request))
            raise
        buckets.take(_caller(principal, request))
        return principal


def _caller(principal: Principal, request: Request) -> str:
    return _address(request) if principal.name == LOCAL else f"token {principal.name}"


def _address(request: Request) -> str:
    return f"address {request.client.host if request.client else ''}"
