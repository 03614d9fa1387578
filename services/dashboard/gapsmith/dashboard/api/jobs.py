"""``/jobs``: the DFT queue, one job, again and never mind."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter

from gapsmith.core.errors import FailureClass, InputError
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.answers import UNCHANGED, answered
from gapsmith.dashboard.api.models import JobChange, JobPage
from gapsmith.dashboard.api.problems import ProblemRoute, documented
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.security import Principal
from gapsmith.store import jobs
from gapsmith.store.job_story import Story, story
from gapsmith.store.jobs import JobFilter, JobState

PAGE: Final = 50
_STORY: Final = TypeAdapter(Story)


def router(context: Context, access: Access) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ProblemRoute)
    Operator = Annotated[Principal, Depends(access.operator)]

    @routes.get(
        "",
        response_model=JobPage,
        responses={**UNCHANGED, **documented()},
        dependencies=[Depends(access.viewer)],
        summary="DFT jobs, newest first",
    )
    def listed(
        request: Request,
        state: Annotated[list[JobState] | None, Query(max_length=6, description="any of these")] = None,
        level: Annotated[str | None, Query(max_length=100, description="of theory, by name")] = None,
        campaign: Annotated[str | None, Query(max_length=100)] = None,
        failure_class: FailureClass | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
        cursor: Annotated[str | None, Query(max_length=100, description="'next' of the page before")] = None,
    ) -> Response:
        wanted = JobFilter(states=tuple(state or ()), level=level, campaign=campaign, failure_class=failure_class)
        if any("\0" in (text or "") for text in (level, campaign)):
            raise InputError("level, campaign: no name has the character 0")
        with context.database.transaction() as connection:
            try:
                last = jobs.resolve(connection, [cursor])[0] if cursor else None
            except InputError as error:
                raise InputError("cursor: it is not one that an answer gave; start again without it") from error
            try:
                found = jobs.listed(connection, wanted, limit=limit + 1, before=last)
            except InputError as error:
                raise InputError(str(error).removeprefix("--")) from error
            counts = {str(name): count for name, count in jobs.counts(connection, wanted).items()}
        following = str(found[limit - 1].id) if len(found) > limit else None
        return answered(request, JobPage(items=found[:limit], next=following, counts=counts))

    @routes.get(
        "/{job_id}",
        response_model=Story,
        responses={**UNCHANGED, **documented(404)},
        dependencies=[Depends(access.viewer)],
        summary="Everything of one job: level, structure, results, attempts, files",
    )
    def shown(request: Request, job_id: str) -> Response:
        """``job_id`` may be how an id begins."""
        with context.database.transaction() as connection:
            found = story(connection, jobs.resolve(connection, [job_id])[0])
        return answered(request, found, kind=_STORY)

    def command(change: Any, words: str) -> None:
        @routes.post(
            f"/{{job_id}}/{change.__name__}",
            name=change.__name__,
            response_model=JobChange,
            responses=documented(404),
            summary=words,
        )
        def changed(principal: Operator, job_id: str) -> JobChange:
            with context.database.transaction() as connection:
                wanted = JobFilter(ids=(jobs.resolve(connection, [job_id])[0],))
                return JobChange(changed=[one.id for one in change(connection, wanted, source=principal.source)])

    command(jobs.retry, "Queue a failed or cancelled job again, with fresh budgets of attempts")
    command(jobs.cancel, "Cancel a queued or running job")
    return routes
