"""All campaigns: where each stands."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from gapsmith.dashboard.pages.views import Regions, View, follow
from gapsmith.dashboard.reading.loop import Workers, workers
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.site import Site
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database
from gapsmith.store.progress import Progress, progress

PAGE: Final = 20  # campaigns at once


@dataclass(frozen=True)
class Line:
    """A campaign and where it stands."""

    campaign: Campaign
    progress: Progress


def view(site: Site, start: int) -> View:
    """The list from some place on, newest first."""
    return View(f"campaigns/{start}", None, lambda: _regions(site.database, start))


def _regions(database: Database, start: int) -> Regions:
    lines, more, there = _lines(database, start)
    return {
        "campaigns": render("campaigns/list.html", lines=lines, start=start, more=more, size=PAGE),
        "services": render("services_note.html", workers=there),
    }


def _lines(database: Database, start: int) -> tuple[list[Line], bool, Workers]:
    with database.transaction() as connection:
        everything = campaigns.every(connection)[::-1]
        chosen = everything[start : start + PAGE]
        lines = [Line(one, progress(connection, one.id)) for one in chosen]
        return lines, len(everything) > start + PAGE, workers(connection)


def router(site: Site) -> APIRouter:
    """``/`` and its stream."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/", name="campaigns")
    async def listed(request: Request, start: Annotated[int, Query(ge=0, le=100_000)] = 0) -> HTMLResponse:
        after = site.hub.sequence
        regions = await view(site, start).soon(site)
        return page(request, "campaigns/index.html", regions=regions, after=after if regions else -1, start=start)

    @routes.get("/live/campaigns")
    async def stream(
        request: Request, start: Annotated[int, Query(ge=0, le=100_000)] = 0, after: str | None = None
    ) -> Response:
        return follow(site, view(site, start), request, after)

    return routes
