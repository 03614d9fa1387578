"""``/campaigns``: all of them, one, and commands."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Request, Response

from gapsmith.core.campaign import CampaignConfig, changed_budget
from gapsmith.core.errors import Conflict
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.core.target import Target
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.answers import UNCHANGED, answered
from gapsmith.dashboard.api.models import CampaignDetail, CampaignLine, CampaignList, NewBudget, PinnedLevel
from gapsmith.dashboard.api.problems import ProblemRoute, documented
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.security import Principal
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection
from gapsmith.store.models import live_domains
from gapsmith.store.progress import Counts, counts, progress

COMMANDS: Final = {
    "pause": (CampaignState.PAUSED, "Propose and compute nothing new; what runs is finished"),
    "resume": (CampaignState.RUNNING, "Go on with a paused campaign"),
    "stop": (CampaignState.STOPPED, "End a campaign for good; its results stay"),
}


def router(context: Context, access: Access) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/campaigns", tags=["campaigns"], route_class=ProblemRoute)
    Operator = Annotated[Principal, Depends(access.operator)]

    @routes.get(
        "",
        response_model=CampaignList,
        responses={**UNCHANGED, **documented()},
        dependencies=[Depends(access.viewer)],
        summary="All campaigns, newest first",
    )
    def listed(request: Request) -> Response:
        with context.database.transaction() as connection:
            lines = [
                CampaignLine(**_line(one, counts(connection, one.id))) for one in reversed(campaigns.every(connection))
            ]
        return answered(request, CampaignList(items=lines))

    @routes.get(
        "/{name}",
        response_model=CampaignDetail,
        responses={**UNCHANGED, **documented(404)},
        dependencies=[Depends(access.viewer)],
        summary="One campaign: its document and where it stands",
    )
    def shown(request: Request, name: str) -> Response:
        with context.database.transaction() as connection:
            return answered(request, _detail(connection, campaigns.named(connection, name)))

    @routes.post(
        "",
        status_code=201,
        response_model=CampaignDetail,
        responses=documented(400, 409),
        summary="Start a campaign",
    )
    def start(principal: Operator, document: Annotated[CampaignConfig, Body()], response: Response) -> CampaignDetail:
        """The body is a campaign file as JSON (docs/campaign.md)."""
        from gapsmith.core.chemistry.screening import check_constraints
        from gapsmith.core.model_domain import within

        with context.database.transaction() as connection:
            domains = live_domains(connection)
        check_constraints(within(document.constraints, domains.values()))
        with context.database.transaction() as connection:
            if campaigns.by_name(connection, document.name) is not None:
                raise Conflict(f"name: a campaign called {document.name!r} exists already; choose another name")
            created = campaigns.create(connection, document, source=principal.source)
            response.headers["Location"] = f"/api/v1/campaigns/{created.name}"
            return _detail(connection, created)

    def command(action: str) -> None:
        state, words = COMMANDS[action]

        @routes.post(
            f"/{{name}}/{action}",
            name=f"{action}_campaign",
            response_model=CampaignDetail,
            responses=documented(404, 409),
            summary=words,
        )
        def change(principal: Operator, name: str) -> CampaignDetail:
            reason = STOPPED_BY_USER if state is CampaignState.STOPPED else None
            with context.database.transaction() as connection:
                one = _open(connection, name, state)
                campaigns.set_state(connection, one.id, state, source=principal.source, reason=reason)
                return _detail(connection, campaigns.get(connection, one.id))

    for action in COMMANDS:
        command(action)

    @routes.put(
        "/{name}/target",
        response_model=CampaignDetail,
        responses=documented(400, 404, 409),
        summary="Give a campaign another target; what was found so far counts by it",
    )
    def retarget(principal: Operator, name: str, target: Annotated[Target, Body()]) -> CampaignDetail:
        with context.database.transaction() as connection:
            one = _open(connection, name, None)
            campaigns.retarget(connection, one.id, target, source=principal.source)
            return _detail(connection, campaigns.get(connection, one.id))

    @routes.put(
        "/{name}/budget",
        response_model=CampaignDetail,
        responses=documented(400, 404, 409),
        summary="Go on with a campaign, finished or not, with another budget",
    )
    def extend(principal: Operator, name: str, budget: NewBudget) -> CampaignDetail:
        with context.database.transaction() as connection:
            one = campaigns.named(connection, name)
            new = changed_budget(one.config, budget.model_dump(exclude_none=True))
            campaigns.extend(connection, one.id, new, source=principal.source)
            return _detail(connection, campaigns.get(connection, one.id))

    return routes


def _open(connection: Connection, name: str, wanted: CampaignState | None) -> Campaign:
    """A campaign that can be changed; raises NotFound, Conflict."""
    found = campaigns.named(connection, name)
    if found.state.ended and found.state is not wanted:
        raise Conflict(f"campaign {name!r} is {found.state}: it cannot be changed any more; start a new one")
    return found


def _line(one: Campaign, counts: Counts) -> dict[str, Any]:
    return {
        "name": one.name,
        "id": one.id,
        "state": str(one.state),
        "stop_reason": one.stop_reason,
        "stop_code": one.stop_code,
        "target": one.config.target,
        "elapsed_s": one.elapsed_s,
        "created_at": one.created_at,
        "ended_at": one.ended_at,
        "candidates": counts.by_state,
    }


def _detail(connection: Connection, one: Campaign) -> CampaignDetail:
    now = progress(connection, one.id)
    return CampaignDetail(
        **_line(one, now),
        config=one.config,
        levels={
            role: PinnedLevel(title=level.title, version=level.version, definition=level)
            for role, level in one.levels.items()
        },
        progress=now,
    )
