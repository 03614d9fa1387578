"""Who may look at pages and who may send their forms; signing in and out."""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from gapsmith.core.errors import InputError
from gapsmith.dashboard import csrf, security
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.rendering import page
from gapsmith.dashboard.site import Site
from gapsmith.store.tokens import Role

SEE_OTHER = 303
OUR_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+/?)*")


def viewer(context: Context) -> Callable[[Request], None]:
    """A dependency of pages; raises Unauthenticated."""

    def allowed(request: Request) -> None:
        security.authorised(context, request)

    return allowed


def operator(context: Context) -> Callable[[Request], str]:
    """A dependency of forms, after ``csrf.check``: how the events name who sent it; raises Unauthenticated, Forbidden."""

    def allowed(request: Request) -> str:
        principal = security.authorised(context, request, Role.OPERATOR, own_form=True)
        return f"dashboard/{principal.name}"

    return allowed


def router(site: Site) -> APIRouter:
    """``/sign-in`` and ``/sign-out``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/sign-in")
    def form(request: Request, key: str = "", to: str = "/") -> Response:
        if not key:
            return page(request, "sign_in.html", problem=None)
        response = RedirectResponse(to if OUR_PATH.fullmatch(to) else "/", SEE_OTHER)
        try:
            security.sign_in(site.context, key, response, secure=request.url.scheme == "https")
        except InputError as error:
            if not security.signed_in(site.context, request):  # with this very key, perhaps, and opens it again
                return page(request, "sign_in.html", status=422, problem=str(error))
        return response

    @routes.post("/sign-in", dependencies=[Depends(csrf.check)])
    def begin(request: Request, token: Annotated[str, Form()]) -> Response:
        response = RedirectResponse("/", SEE_OTHER)
        try:
            security.sign_in(site.context, token, response, secure=request.url.scheme == "https")
        except InputError as error:
            return page(request, "sign_in.html", status=422, problem=str(error))
        return response

    @routes.post("/sign-out", dependencies=[Depends(csrf.check)])
    def end(request: Request) -> Response:
        response = RedirectResponse("/sign-in", SEE_OTHER)
        security.sign_out(site.context, request, response)
        return response

    return routes
