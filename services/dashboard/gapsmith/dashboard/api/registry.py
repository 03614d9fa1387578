"""``/models`` and ``/events``: what was trained, and what happened."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import ModelState
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.answers import UNCHANGED, answered
from gapsmith.dashboard.api.models import EventPage, ModelLine, ModelList
from gapsmith.dashboard.api.problems import ProblemRoute, documented
from gapsmith.dashboard.context import Context
from gapsmith.store import campaigns, events, model_story
from gapsmith.store.model_story import Entry


def models_router(context: Context, access: Access) -> APIRouter:
    """``/models``."""
    routes = APIRouter(
        prefix="/models", tags=["models"], route_class=ProblemRoute, dependencies=[Depends(access.viewer)]
    )

    @routes.get("", response_model=ModelList, responses={**UNCHANGED, **documented()}, summary="Models, newest first")
    def listed(
        request: Request,
        role: Annotated[str | None, Query(max_length=100, description="such as surrogate or generator")] = None,
        state: Annotated[list[ModelState] | None, Query(max_length=4, description="any of these")] = None,
    ) -> Response:
        with context.database.transaction() as connection:
            found = model_story.listed(connection, role=role, states=[str(one) for one in state or ()])
        return answered(request, ModelList(items=[_line(one) for one in found]))

    @routes.get(
        "/{model}",
        response_model=ModelList,
        responses={**UNCHANGED, **documented(404)},
        summary="A model, what it was trained from, and so on to the shipped weights",
    )
    def lineage(request: Request, model: str) -> Response:
        """``model`` is a role (its live one), role:version, or how an id begins."""
        with context.database.transaction() as connection:
            found = model_story.lineage(connection, model_story.resolve(connection, model))
        return answered(request, ModelList(items=[_line(one) for one in found]))

    return routes


def _line(entry: Entry) -> ModelLine:
    values = asdict(entry)
    return ModelLine(**{name: values[name] for name in ModelLine.model_fields})


def events_router(context: Context, access: Access) -> APIRouter:
    """``/events``."""
    routes = APIRouter(
        prefix="/events", tags=["events"], route_class=ProblemRoute, dependencies=[Depends(access.viewer)]
    )

    @routes.get(
        "", response_model=EventPage, responses={**UNCHANGED, **documented(404)}, summary="Events, oldest first"
    )
    def listed(
        request: Request,
        after: Annotated[int, Query(ge=0, le=2**62, description="sequence of the last event seen")] = 0,
        campaign: Annotated[str | None, Query(max_length=100)] = None,
        type: Annotated[str | None, Query(max_length=100, description="CloudEvents type")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        if "\0" in (type or ""):
            raise InputError("type: no type has the character 0")
        with context.database.transaction() as connection:
            campaign_id = None if campaign is None else campaigns.named(connection, campaign).id
            found = events.after(connection, after, campaign_id=campaign_id, type=type, limit=limit + 1)
        lines = [*found[:limit]]
        return answered(request, EventPage(items=lines, next=lines[-1].sequence if len(found) > limit else None))

    return routes
