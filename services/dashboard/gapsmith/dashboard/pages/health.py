"""Health: services, events that wait, dead letters, the database, workers."""

from contextlib import suppress
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gapsmith.bus.lag import behind
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.messages import EVENTS
from gapsmith.core.settings import Settings
from gapsmith.dashboard import csrf
from gapsmith.dashboard.pages import access
from gapsmith.dashboard.pages.views import Regions, View, follow
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.site import Site
from gapsmith.store import inbox
from gapsmith.store.database import Database
from gapsmith.store.health import DeadLetter, consumers, health, letters

LAG_EVERY_S: Final = 15.0
SEE_OTHER: Final = 303


def view(site: Site) -> View:
    """Everything that changes by itself."""
    return View("health", None, lambda: _regions(site.database))


def _regions(database: Database) -> Regions:
    with database.transaction() as connection:
        now = health(connection)
    return {name: render(f"health/{name}.html", now=now) for name in ("services", "events", "store")}


def _lag(settings: Settings, consumers: list[str]) -> dict[str, int] | None:
    """What Kafka says; None if it does not."""
    with suppress(UnavailableError):
        return behind(settings, consumers, sorted({event.TOPIC for event in EVENTS.values()}))
    return None


def router(site: Site) -> APIRouter:
    """``/health`` and its stream."""
    routes = APIRouter(include_in_schema=False)
    operator = access.operator(site.context)

    @routes.get("/health", name="health")
    async def shown(request: Request) -> HTMLResponse:
        after = site.hub.sequence
        regions = await view(site).soon(site)
        now = await site.shared.get("letters", lambda: _letters(site.database), version=after, most_s=2.0)
        return page(request, "health/index.html", regions=regions, letters=now, after=after if regions else -1)

    @routes.get("/live/health")
    async def stream(request: Request, after: str | None = None) -> Response:
        return follow(site, view(site), request, after)

    @routes.get("/health/lag")
    async def lag() -> HTMLResponse:
        settings = site.context.settings

        def ask() -> dict[str, int] | None:
            with site.database.transaction() as connection:
                names = [one.name for one in consumers(connection)]
            return _lag(settings, names)

        found = await site.shared.get("lag", ask, version=0, most_s=LAG_EVERY_S)
        return HTMLResponse(render("health/lag.html", lag=found, every_s=LAG_EVERY_S))

    @routes.post("/health/replay", dependencies=[Depends(csrf.check)])
    def replay(request: Request, event_id: Annotated[UUID, Form()], consumer: Annotated[str, Form()]) -> Response:
        operator(request)
        with site.database.transaction() as connection:
            if not inbox.offer_again(connection, event_id, consumer):
                raise InputError("this event is no dead letter any more, or is not stored; open the page again")
        site.shared.outdate()
        return RedirectResponse("/health", SEE_OTHER)

    return routes


def _letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as connection:
        return letters(connection)
