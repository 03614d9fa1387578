"""What a person can change: start, clone, pause, resume and stop a campaign, and change its target and its budget."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from gapsmith.core.campaign import changed_budget, changed_target, cloned
from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.core.wanted import read_text
from gapsmith.dashboard import csrf
from gapsmith.dashboard.forms import empty_form, filled_form, read
from gapsmith.dashboard.pages import access
from gapsmith.dashboard.rendering import page
from gapsmith.dashboard.site import Site
from gapsmith.store import campaigns
from gapsmith.store.models import live_domains

SEE_OTHER = 303


def router(site: Site) -> APIRouter:
    """The commands, and the form of a new campaign."""
    routes = APIRouter(include_in_schema=False)
    operator = access.operator(site.context)
    ours = [Depends(csrf.check)]

    @routes.get("/campaigns/new")
    def form(request: Request) -> HTMLResponse:
        return page(request, "campaigns/new.html", form=empty_form(_elements(site)), wrong=False)

    @routes.post("/campaigns/new")
    async def start(request: Request) -> Response:
        sent = await request.form(max_files=0, max_fields=200)
        csrf.check(request, str(sent.get("csrf_token", "")))
        values = {name: [str(text) for text in sent.getlist(name)] for name in sent}
        return await run_in_threadpool(lambda: _start(site, request, values, operator(request)))

    @routes.post("/campaigns/{name}/state", dependencies=ours)
    def change(request: Request, name: str, state: Annotated[CampaignState, Form()]) -> Response:
        source = operator(request)
        reason = STOPPED_BY_USER if state is CampaignState.STOPPED else None
        with site.database.transaction() as connection:
            campaigns.set_state(connection, campaigns.named(connection, name).id, state, source=source, reason=reason)
        site.shared.outdate()
        return RedirectResponse(f"/campaigns/{name}", SEE_OTHER)

    @routes.post("/campaigns/{name}/target", dependencies=ours)
    def retarget(request: Request, name: str, target: Annotated[str, Form(max_length=4000)]) -> Response:
        source = operator(request)
        with site.database.transaction() as connection:
            one = campaigns.named(connection, name)
            wanted = changed_target(one.config, [read_text(line) for line in target.splitlines() if line.strip()])
            campaigns.retarget(connection, one.id, wanted, source=source)
        site.shared.outdate()
        return RedirectResponse(f"/campaigns/{name}", SEE_OTHER)

    @routes.post("/campaigns/{name}/budget", dependencies=ours)
    def extend(
        request: Request,
        name: str,
        dft_jobs: Annotated[int, Form(gt=0)],
        wall_time: Annotated[str, Form()],
        wanted_hits: Annotated[str, Form()] = "",
    ) -> Response:
        source = operator(request)
        budget = {"dft_jobs": dft_jobs, "wall_time": wall_time, "wanted_hits": wanted_hits or None}
        with site.database.transaction() as connection:
            one = campaigns.named(connection, name)
            campaigns.extend(connection, one.id, changed_budget(one.config, budget), source=source)
        site.shared.outdate()
        return RedirectResponse(f"/campaigns/{name}", SEE_OTHER)

    @routes.post("/campaigns/{name}/clone", dependencies=ours)
    def clone(request: Request, name: str, new: Annotated[str, Form(max_length=64)]) -> Response:
        source = operator(request)
        with site.database.transaction() as connection:
            config = cloned(campaigns.named(connection, name).config, new.strip())
            campaigns.create(connection, config, source=source)
        site.shared.outdate()
        return RedirectResponse(f"/campaigns/{config.name}", SEE_OTHER)

    return routes


def _start(site: Site, request: Request, values: dict[str, list[str]], source: str) -> Response:
    elements = _elements(site)
    try:
        config = read(elements, values)
        with site.database.transaction() as connection:
            campaigns.create(connection, config, source=source)
    except InputError as error:
        return page(
            request, "campaigns/new.html", status=422, form=filled_form(elements, values, str(error)), wrong=True
        )
    site.shared.outdate()
    return RedirectResponse(f"/campaigns/{config.name}", SEE_OTHER)


def _elements(site: Site) -> list[str]:
    """Elements besides hydrogen that every live model knows."""
    with site.database.transaction() as connection:
        domains = list(live_domains(connection).values())
    return [one for one in domains[0].elements if one != "H" and all(one in other.elements for other in domains)]
