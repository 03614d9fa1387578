"""Problem documents (RFC 9457): every error of the API, and never a stack trace."""

import difflib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import uuid4

import psycopg
import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gapsmith.core.errors import GapsmithError, InputError, UnavailableError
from gapsmith.dashboard.security import Forbidden, Unauthenticated

log = structlog.get_logger()
MEDIA_TYPE: Final = "application/problem+json"


class NotFound(InputError):
    """There is no such thing, or not any more: 404."""


class Conflict(InputError):
    """It cannot be done in the state that things are in: 409."""


class TooMany(GapsmithError):
    """Too many requests: 429.

    Args:
        wait_s: seconds until the next one is welcome.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many requests; ask again in {wait_s:.0f} s")
        self.wait_s = wait_s


class WrongField(BaseModel):
    """A value that cannot be used."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document."""

    type: str = Field(description="urn:gapsmith:problem:<name>")
    title: str
    status: int
    detail: str = Field(description="what is wrong, where, and what to do")
    errors: list[WrongField] = Field(default_factory=list, description="of each wrong field, where there are several")


NAMES: Final = {
    400: ("malformed-request", "The request cannot be read"),
    401: ("token-needed", "A valid token is needed"),
    403: ("forbidden", "The token's role is not enough"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "That cannot be done here"),
    409: ("conflict", "That cannot be done now"),
    413: ("too-large", "The request is too large"),
    422: ("invalid-request", "The request cannot be understood"),
    429: ("too-many-requests", "Too many requests"),
    500: ("internal-error", "Something broke here"),
    503: ("unavailable", "The database cannot be reached"),
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of problems that a route may answer with."""
    return {
        status: {"description": NAMES[status][1], "content": {MEDIA_TYPE: {"schema": _schema()}}}
        for status in (*statuses, 401, 403, 422, 429, 500, 503)
    }


@cache
def _schema() -> dict[str, Any]:
    """JSON schema of a problem document in one piece."""
    found = Problem.model_json_schema()
    found["properties"]["errors"]["items"] = found.pop("$defs")["WrongField"]
    return found


class ProblemRoute(APIRoute):
    """A route whose errors are problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with every exception told."""
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                return answer(request, error)

        return told


def answer(request: Request, error: Exception) -> Response:
    """The problem document of an error."""
    status, detail, errors = _explained(request, error)
    if status == 500:
        number = uuid4().hex[:8]
        detail = f"{detail}; the dashboard's log has the details under the number {number}"
        log.error("request failed", number=number, path=request.url.path, exc_info=error)
    headers: dict[str, str] = dict(getattr(error, "headers", None) or {})
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany):
        headers["Retry-After"] = f"{max(error.wait_s, 1):.0f}"
    if status == 503:
        headers["Retry-After"] = "5"
    return document(status, detail, errors=errors, headers=headers)


def document(
    status: int, detail: str, *, errors: list[WrongField] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document."""
    name, title = NAMES.get(status, ("problem", "That did not work"))
    kind = f"urn:gapsmith:problem:{name}"
    found = Problem(type=kind, title=title, status=status, detail=detail, errors=errors or [])
    return JSONResponse(found.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def _explained(request: Request, error: Exception) -> tuple[int, str, list[WrongField]]:
    match error:
        case RequestValidationError():
            errors = [_wrong(request, one) for one in error.errors()[:20]]
            return 422, "; ".join(f"{one.field}: {one.message}" for one in errors), errors
        case Unauthenticated():
            return 401, str(error), []
        case Forbidden():
            return 403, str(error), []
        case NotFound():
            return 404, str(error), []
        case Conflict():
            return 409, str(error), []
        case TooMany():
            return 429, str(error), []
        case InputError():
            return 422, str(error), []
        case UnavailableError():
            return 503, str(error), []
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return 503, "the database is of an earlier version; bring it up to date with: gapsmith migrate", []
        case psycopg.errors.QueryCanceled():
            return 422, "that takes too long; ask for less at once, for example within one campaign", []
        case psycopg.OperationalError():
            return 503, "Postgres does not answer; 'gapsmith status' tells more", []
        case HTTPException():
            return error.status_code, str(error.detail), []
        case GapsmithError():
            return 500, str(error), []
        case _:
            return 500, "this could not be answered", []


def _wrong(request: Request, problem: Mapping[str, Any]) -> WrongField:
    """One finding of pydantic; an unknown parameter with the nearest known one."""
    where = [str(part) for part in problem["loc"] if part not in ("query", "body", "path")]
    field, message = ".".join(where) or "body", str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _parameters(request, where, body=problem["loc"][0] == "body")
        near = difflib.get_close_matches(where[-1], known, n=1)
        message = (
            f"there is no such name here; {f'did you mean {near[0]}?' if near else 'there is: ' + ', '.join(known)}"
        )
    elif problem["type"] == "json_invalid":
        field, message = "body", f"it is not JSON: {problem.get('ctx', {}).get('error', message)}"
    return WrongField(field=field, message=message)


def _parameters(request: Request, where: Sequence[str], *, body: bool) -> list[str]:
    """Names that would be known at a place of the address or of the body."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    found: list[str] = []
    for one in getattr(dependant, "body_params" if body else "query_params", []):
        model: Any = one.field_info.annotation
        for part in where[:-1]:
            model = getattr(model, "model_fields", {}).get(part)
            model = getattr(model, "annotation", None)
        found += list(getattr(model, "model_fields", None) or ([] if body else [one.alias]))
    return found
