"""What went wrong, as a page with one plain sentence; never a stack trace, never half a page."""

from typing import Final
from uuid import uuid4

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from gapsmith.core.errors import GapsmithError, InputError, UnavailableError
from gapsmith.dashboard.api.problems import answer
from gapsmith.dashboard.csrf import ForeignForm
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.security import Forbidden, Unauthenticated

log = structlog.get_logger()

TITLES: Final = {
    401: "Sign in first",
    403: "That form was not taken",
    404: "There is no such page",
    405: "That cannot be done here",
    409: "That cannot be done now",
    413: "That is too large",
    422: "That cannot be understood",
    500: "Something broke here",
    503: "The database cannot answer",
}


class Missing(InputError):
    """What was asked for is not there, or not any more."""


def install(app: FastAPI) -> None:
    """Make an application's pages tell the problems that are to be expected; the guard sees to all others."""
    for kind in (GapsmithError, psycopg.Error, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, told)


async def told(request: Request, error: Exception) -> Response:
    """The page of an error, or its problem document where a program asked."""
    if request.url.path.startswith("/api/"):
        return answer(request, error)
    status, sentence = explained(error)
    if status == 500:
        number = uuid4().hex[:8]
        sentence = f"{sentence} The log of the dashboard has the details under the number {number}."
        log.error("request failed", number=number, path=request.url.path, exc_info=error)
    title = TITLES.get(status, "That did not work")
    if request.headers.get("hx-request") == "true":
        return HTMLResponse(render("problem_inline.html", title=title, sentence=sentence), status)
    if status == 401 and request.method == "GET":
        return page(request, "sign_in.html", status=status, problem=None)
    return page(request, "problem.html", status=status, title=title, sentence=sentence)


def explained(error: Exception) -> tuple[int, str]:
    """Status and sentence of an error."""
    match error:
        case Unauthenticated():
            return 401, _sentence(error)
        case ForeignForm() | Forbidden():
            return 403, _sentence(error)
        case Missing():
            return 404, _sentence(error)
        case InputError():
            return 422, _sentence(error)
        case UnavailableError():
            return 503, f"{_sentence(error)} The page comes back by itself when it does; 'gapsmith status' tells more."
        case GapsmithError():
            return 500, _sentence(error)
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return 503, "The database is of an earlier version. Bring it up to date with: gapsmith migrate"
        case psycopg.errors.QueryCanceled():
            return 422, "That question takes too long. Ask for less at once, for example within one campaign."
        case psycopg.OperationalError():
            return 503, "Postgres does not answer. The page comes back by itself when it does."
        case RequestValidationError():
            wrong = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:5])
            return 422, f"This address has a value that cannot be used: {wrong}."
        case HTTPException(status_code=404):
            return 404, "Nothing is at this address. The links above lead to everything there is."
        case HTTPException():
            return error.status_code, _sentence(error.detail)
        case _:
            return 500, "This page could not be made."


def _sentence(error: object) -> str:
    text = str(error).strip()
    text = f"{text[:1].upper()}{text[1:]}"
    return text if text.endswith((".", "!", "?")) else f"{text}."
