"""What machines ask: is it alive, can it work, how does it fare."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from gapsmith.core.errors import UnavailableError
from gapsmith.dashboard.live import Hub
from gapsmith.dashboard.metrics import Metrics
from gapsmith.store.database import Database
from gapsmith.store.health import server


def router(database: Database) -> APIRouter:
    """``/healthz`` and ``/readyz``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/healthz")
    async def alive() -> Response:
        return PlainTextResponse("ok\n")

    @routes.get("/readyz")
    def ready() -> Response:
        try:
            with database.transaction() as connection:
                server(connection)  # says something only if the schema is there
        except UnavailableError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return PlainTextResponse("ready\n")

    return routes


def measured(metrics: Metrics, hub: Hub) -> APIRouter:
    """``/metrics``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/metrics")
    def text() -> Response:
        metrics.browsers.set(hub.readers)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
