"""One campaign: the loop at work."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from gapsmith.core.campaign import as_file
from gapsmith.core.domain import Level
from gapsmith.dashboard.pages.views import Regions, View, follow
from gapsmith.dashboard.reading.charts import charts
from gapsmith.dashboard.reading.loop import Loop, loop
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.site import Site
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database

REGIONS = ("state", "figures", "flow", "work", "models", "feed")


@dataclass(frozen=True)
class Stage:
    """A step of the flow, with what got so far and what did not."""

    name: str
    count: int
    rate: str | None  # in words
    lost: str | None  # in words
    waiting: str | None  # in words
    hint: str  # what the step is


def view(site: Site, name: str) -> View:
    """A campaign's page."""
    return View(f"loop/{name}", name, lambda: _regions(site.database, name))


def _regions(database: Database, name: str) -> Regions:
    one = loop(database, name)
    values = {"now": one, "p": one.results.progress, "campaign": one.results.campaign, "stages": stages(one)}
    found = {region: render(f"loop/{region}.html", **values) for region in REGIONS}
    found["services"] = render("services_note.html", workers=one.workers)
    found["charts"] = one.charts
    return found


def stages(one: Loop) -> list[Stage]:
    """From drawing to certified hits."""
    p, pace, campaign = one.results.progress, one.pace, one.results.campaign
    running = not one.results.campaign.state.ended
    refused = ", ".join(f"{reason} {count}" for reason, count in list(p.rejected_by_reason.items())[:3])
    drawing = one.tasks.get("generator", 0)
    scored = p.waiting + p.dft_queued + p.dft_running + p.dft_done

    def rate(value: float) -> str | None:
        return f"{value:.1f} / min" if running and value >= 0.05 else None

    found = [
        Stage("Drawn", p.sampled, None, None, "drawing" if drawing else None, "molecules sampled by the generator"),
        Stage(
            "Proposed",
            max(p.sampled - p.rejected, 0),
            rate(pace.proposed),
            f"{p.rejected} refused: {refused}" if p.rejected else None,
            f"{p.waiting_to_score} to score" if p.waiting_to_score else None,
            "valid, allowed and new in this campaign, and not broken by the relaxation",
        ),
        Stage(
            "Scored",
            scored,
            rate(pace.scored),
            None,
            f"{p.waiting} waiting" if p.waiting else None,
            "relaxed with GFN2-xTB, gap predicted by the surrogate",
        ),
        Stage(
            "DFT",
            p.dft_done,
            rate(pace.labelled),
            f"{p.dft_failed} failed" if p.dft_failed else None,
            _open(p.dft_running, p.dft_queued),
            f"labelled by {campaign.levels[Level.TRIAGE].theory}",
        ),
        Stage(
            "Hits",
            p.hits,
            None,
            f"{p.missed_hits} missed" if p.missed_hits else None,
            None,
            "inside the target window; missed is what its certificate showed to be outside",
        ),
    ]
    if p.certifies:
        waiting = f"{p.certificates_open} open" if p.certificates_open else None
        found.append(
            Stage(
                "Certified",
                p.certified_hits,
                None,
                None,
                waiting,
                f"inside the window by {campaign.levels[Level.CERTIFICATE].theory}",
            )
        )
    return found


def _open(running: int, queued: int) -> str | None:
    words = [f"{running} running" if running else "", f"{queued} queued" if queued else ""]
    return ", ".join(word for word in words if word) or None


def router(site: Site) -> APIRouter:
    """``/campaigns/{name}``, its stream and the numbers of its charts."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/campaigns/{name}", name="loop")
    async def shown(request: Request, name: str) -> HTMLResponse:
        after = site.hub.sequence
        campaign = await site.shared.get(
            f"campaign/{name}", lambda: _campaign(site.database, name), version=after, most_s=1.0
        )
        regions = await view(site, name).soon(site)
        file = as_file(campaign.config)
        return page(
            request, "loop/index.html", campaign=campaign, file=file, regions=regions, after=after if regions else -1
        )

    @routes.get("/campaigns/{name}/campaign.yaml")
    async def file(name: str) -> Response:
        campaign = await site.shared.get(
            f"campaign/{name}", lambda: _campaign(site.database, name), version=site.hub.sequence, most_s=1.0
        )
        disposition = {"Content-Disposition": f'attachment; filename="{campaign.name}.yaml"'}
        return Response(as_file(campaign.config), media_type="application/yaml", headers=disposition)

    @routes.get("/live/campaigns/{name}")
    async def stream(request: Request, name: str, after: str | None = None) -> Response:
        return follow(site, view(site, name), request, after)

    @routes.get("/campaigns/{name}/charts.json")
    async def numbers(name: str) -> Response:
        found = await site.shared.get(
            f"charts/{name}", lambda: charts(site.database, name), version=site.hub.sequence, most_s=5.0
        )
        return JSONResponse(found)

    return routes


def _campaign(database: Database, name: str) -> Campaign:
    with database.transaction() as connection:
        return campaigns.named(connection, name)
