"""The whole web application: pages, API, live streams and what machines ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import Depends, FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gapsmith.dashboard import api, probes, problems
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.limits import Limits
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.guard import Guard
from gapsmith.dashboard.live import Hub
from gapsmith.dashboard.metrics import Metrics
from gapsmith.dashboard.pages import access, campaigns, candidates, commands, health, loop, models, molecule
from gapsmith.dashboard.rendering import STATIC
from gapsmith.dashboard.security import is_loopback
from gapsmith.dashboard.site import Site

_LIMITS: Final = Limits()


class KeptFiles(StaticFiles):
    """Static files under addresses that change with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file that browsers may keep for ever if its address has its digest."""
        response = await super().get_response(path, scope)
        lasting = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if lasting else "no-cache"
        return response


def create_app(context: Context, limits: Limits = _LIMITS) -> FastAPI:
    """The application; nothing is asked of the database until the first request.

    Args:
        context: of the dashboard.
        limits: how often one may ask.
    """
    hub, metrics = Hub(context.database), Metrics(context.database)
    site = Site(context, hub)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub.start(asyncio.get_running_loop())
        yield
        hub.stop()

    app = FastAPI(
        title="gapsmith",
        version=version("gapsmith"),
        summary="Watch the discovery loop, question the database of candidates.",
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.site = site
    problems.install(app)
    app.mount("/static", KeptFiles(directory=str(STATIC)), name="static")
    asked = Access(context, limits)
    app.include_router(api.router(context, asked))
    paced = Depends(asked.page)
    looking = [paced, Depends(access.viewer(context))]
    for one in (commands, campaigns, loop, candidates, molecule, models, health):
        app.include_router(one.router(site), dependencies=looking)
    app.include_router(access.router(site), dependencies=[paced])
    app.include_router(probes.router(context.database))
    app.include_router(probes.measured(metrics, hub), dependencies=looking)
    app.add_middleware(Guard, metrics=metrics, told=problems.told, loopback=is_loopback(context.dashboard.host))
    return app
