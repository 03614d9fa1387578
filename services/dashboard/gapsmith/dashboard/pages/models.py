"""Models: lineage, verdicts, metrics, trainings."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from gapsmith.dashboard.reading.models import listed, model
from gapsmith.dashboard.rendering import page
from gapsmith.dashboard.site import Site
from gapsmith.store import training_runs

RUNS = 20


def router(site: Site) -> APIRouter:
    """``/models`` and ``/models/{name}``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/models", name="models")
    def everything(request: Request) -> HTMLResponse:
        with site.database.transaction() as connection:
            roles, runs = listed(connection), training_runs.recent(connection, limit=RUNS)
        return page(request, "models/index.html", roles=roles, runs=runs)

    @routes.get("/models/{name}", name="model")
    def one(request: Request, name: str) -> HTMLResponse:
        with site.database.transaction() as connection:
            found = model(connection, name)
        points = [[point.step, loss] for point in found.points if (loss := _loss(point.losses)) is not None]
        return page(request, "models/one.html", one=found, entry=found.entry, points=points)

    return routes


def _loss(losses: Mapping[str, float | None]) -> float | None:
    return losses.get("loss", next(iter(losses.values()), None))
