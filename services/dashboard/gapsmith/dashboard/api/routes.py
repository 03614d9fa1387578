"""All routes of the API under one address, and what is answered where there is none."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from gapsmith.core.errors import NotFound
from gapsmith.dashboard.api import campaigns, candidates, jobs, registry
from gapsmith.dashboard.api.access import BEARER, Access
from gapsmith.dashboard.api.problems import answer
from gapsmith.dashboard.context import Context

PREFIX: Final = "/api/v1"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def router(context: Context, access: Access) -> APIRouter:
    """The API.

    Args:
        context: of the dashboard.
        access: who may ask, and how often.
    """
    routes = APIRouter(prefix=PREFIX, dependencies=[Depends(BEARER)])
    parts = (
        candidates.router(context, access),
        campaigns.router(context, access),
        jobs.router(context, access),
        registry.models_router(context, access),
        registry.events_router(context, access),
    )
    for part in parts:
        routes.include_router(part)
    known = [
        (compile_path(f"{PREFIX}{route.path}")[0], route.methods or set())
        for part in parts
        for route in part.routes
        if isinstance(route, APIRoute)
    ]

    @routes.api_route("/{path:path}", methods=list(METHODS), include_in_schema=False)
    def nothing(request: Request, path: str) -> Response:
        found = {method for pattern, methods in known if pattern.match(request.url.path) for method in methods}
        allowed = sorted(found)
        if allowed:
            detail = f"{request.method} is not known here; there is: {', '.join(allowed)}"
            return answer(request, HTTPException(405, detail, headers={"Allow": ", ".join(allowed)}))
        return answer(request, NotFound(f"nothing is at {request.url.path}; {PREFIX}/openapi.json says what there is"))

    return routes
