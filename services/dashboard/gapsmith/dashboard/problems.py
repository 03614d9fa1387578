"""What went wrong, as a page with one plain sentence; never a stack trace, never half a page."""

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from gapsmith.core.errors import ErrorCode, GapsmithError
from gapsmith.dashboard.api.problems import answer, explain
from gapsmith.dashboard.rendering import page, render


def install(app: FastAPI) -> None:
    """Make an application's pages tell the problems that are to be expected; the guard sees to all others."""
    for kind in (GapsmithError, psycopg.Error, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, told)


async def told(request: Request, error: Exception) -> Response:
    """The page of an error, or its problem document where a program asked."""
    if request.url.path.startswith("/api/"):
        return answer(request, error)
    told = explain(request, error)
    status = error.status_code if isinstance(error, HTTPException) else told.code.status
    sentence = sentences(told.detail, told.advice)
    if request.headers.get("hx-request") == "true":
        return HTMLResponse(render("problem_inline.html", title=told.code.summary, sentence=sentence), status)
    if told.code is ErrorCode.UNAUTHENTICATED and request.method == "GET":
        return page(request, "sign_in.html", status=status, problem=None)
    return page(request, "problem.html", status=status, title=told.code.summary, sentence=sentence)


def sentences(*texts: str) -> str:
    """Messages as sentences: a capital at the start, a full stop at the end; empty ones are left out."""
    said = (text.strip() for text in texts)
    return " ".join(
        f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".") for text in said if text
    )
