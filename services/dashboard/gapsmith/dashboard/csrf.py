"""Forms only from our own pages: the same origin, and a token that a form and a SameSite cookie both carry."""

import secrets
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Form, Request
from fastapi.responses import Response

from gapsmith.core.errors import ErrorCode, InputError

COOKIE: Final = "gapsmith_form"
LENGTH: Final = 32  # bytes of randomness


class ForeignForm(InputError):
    """A form that does not come from one of our pages."""

    code = ErrorCode.FORBIDDEN


def token_of(request: Request) -> str:
    """The token of this browser, or a new one."""
    known = request.cookies.get(COOKIE, "")
    return known if len(known) >= LENGTH else secrets.token_urlsafe(LENGTH)


def remember(response: Response, token: str, *, secure: bool) -> None:
    """Set the cookie; no script can read it, and no other site's request carries it."""
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")


def check(request: Request, csrf_token: Annotated[str, Form()] = "") -> None:
    """A dependency of every route that changes something; raises ForeignForm."""
    here = request.headers.get("host", "")
    origin = request.headers.get("origin")
    same_site = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    same_origin = origin is None or urlsplit(origin).netloc == here
    known = request.cookies.get(COOKIE, "")
    if not (same_site and same_origin and known and secrets.compare_digest(known.encode(), csrf_token.encode())):
        raise ForeignForm(
            "this form is too old, or does not come from this dashboard; open the page again and send it once more"
        )
