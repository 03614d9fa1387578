"""Problem documents (RFC 9457): every error of the API, and never a stack trace."""

import difflib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gapsmith.core import crash
from gapsmith.core.errors import ErrorCode, GapsmithError

log = structlog.get_logger()
MEDIA_TYPE: Final = "application/problem+json"


class TooMany(GapsmithError):
    """Too many requests: 429.

    Args:
        wait_s: seconds until the next one is welcome.
    """

    code = ErrorCode.TOO_MANY

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many requests; ask again in {wait_s:.0f} s")
        self.wait_s = wait_s


class WrongField(BaseModel):
    """A value that cannot be used."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document."""

    type: str = Field(description="urn:gapsmith:problem:<code>")
    code: str = Field(description="stable name of the kind of error")
    title: str
    status: int
    detail: str = Field(description="what is wrong, where, and what to do")
    advice: str = Field("", description="what helps in general with errors of this code")
    errors: list[WrongField] = Field(default_factory=list, description="of each wrong field, where there are several")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of problems that a route may answer with."""
    return {
        status: {"description": ErrorCode.of_status(status).summary, "content": {MEDIA_TYPE: {"schema": _schema()}}}
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


class Explanation(NamedTuple):
    """An exception in words."""

    code: ErrorCode
    detail: str
    advice: str
    errors: list[WrongField]


def answer(request: Request, error: Exception) -> Response:
    """The problem document of an error."""
    told = explain(request, error)
    headers: dict[str, str] = dict(getattr(error, "headers", None) or {})
    if told.code is ErrorCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany):
        headers["Retry-After"] = f"{max(error.wait_s, 1):.0f}"
    if told.code.status == 503:
        headers["Retry-After"] = "5"
    status = error.status_code if isinstance(error, HTTPException) else told.code.status
    found = Problem(
        type=f"urn:gapsmith:problem:{told.code}",
        code=told.code,
        title=told.code.summary,
        status=status,
        detail=told.detail,
        advice=told.advice,
        errors=told.errors,
    )
    return JSONResponse(found.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def explain(request: Request, error: Exception) -> Explanation:
    """Code and words of an error; one that was not expected is logged under a number."""
    match error:
        case RequestValidationError():
            errors = [_wrong(request, one) for one in error.errors()[:20]]
            return Explanation(ErrorCode.INPUT, "; ".join(f"{one.field}: {one.message}" for one in errors), "", errors)
        case HTTPException(status_code=404):  # a page that is not there says more by itself
            return Explanation(ErrorCode.NOT_FOUND, "nothing is at this address", "", [])
        case HTTPException():
            return Explanation(ErrorCode.of_status(error.status_code), str(error.detail), "", [])
        case GapsmithError():
            return Explanation(error.code, str(error), error.advice, [])
        case psycopg.OperationalError():
            return Explanation(ErrorCode.UNAVAILABLE, "Postgres does not answer", ErrorCode.UNAVAILABLE.advice, [])
        case _:
            number = crash.record(error).number
            log.error("request failed", number=number, path=request.url.path, exc_info=error)
            detail = f"this could not be answered; the dashboard's log has the details under the number {number}"
            return Explanation(ErrorCode.INTERNAL, detail, "", [])


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
