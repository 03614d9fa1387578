"""``/candidates``: pages, files, one of them, its geometries."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from gapsmith.core import output
from gapsmith.core.errors import NotFound
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.answers import UNCHANGED, answered
from gapsmith.dashboard.api.models import CandidateDetail, CandidatePage, candidate_detail
from gapsmith.dashboard.api.parameters import PAGE, CandidateParameters
from gapsmith.dashboard.api.problems import ProblemRoute, TooMany, documented
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.security import Principal
from gapsmith.store.candidate_story import CandidateStory, Geometry, story
from gapsmith.store.database import Connect, held
from gapsmith.store.query import CandidateQuery, page
from gapsmith.store.query_files import Export

SECONDS: Final = 8.0  # that a page may take
STATEMENT_MS: Final = 60_000  # that a part of a file may take
MOST_EXPORTS: Final = 2  # at once: each keeps a connection
MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "sdf": "chemical/x-mdl-sdfile",
    "parquet": "application/vnd.apache.parquet",
    "xyz": "chemical/x-xyz",
}
_FILES: Final = {MEDIA[kind].partition(";")[0]: {"schema": {"type": "string"}} for kind in ("csv", "sdf", "parquet")}
_GEOMETRIES: Final = {MEDIA[kind]: {"schema": {"type": "string"}} for kind in ("sdf", "xyz")}


def router(context: Context, access: Access) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/candidates", tags=["candidates"], route_class=ProblemRoute)
    slots = threading.BoundedSemaphore(MOST_EXPORTS)

    @routes.get(
        "",
        response_model=CandidatePage,
        responses={200: {"content": _FILES}, **UNCHANGED, **documented()},
        summary="Question the candidates",
    )
    def listed(
        request: Request,
        asked: Annotated[CandidateParameters, Query()],
        principal: Annotated[Principal, Depends(access.viewer)],
    ) -> Response:
        """A page (format=json), or everything as a file (csv, sdf, parquet), which is streamed."""
        query = asked.query()
        if asked.format != "json":
            access.export(principal, request)
            parts = _exported(context, query, asked.format, slots)
            headers = {"Content-Disposition": f'attachment; filename="candidates.{asked.format}"'}
            return StreamingResponse(chain([next(parts)], parts), media_type=MEDIA[asked.format], headers=headers)
        found = page(
            context.database.transaction, query, size=query.limit or PAGE, cursor=asked.cursor, seconds=SECONDS
        )
        following = None
        if found.cursor is not None:
            address = request.url.include_query_params(cursor=found.cursor)
            following = {"Link": f'<{address.path}?{address.query}>; rel="next"'}
        return answered(request, {"items": found.rows, "next": found.cursor}, headers=following)

    @routes.get(
        "/{candidate_id}",
        response_model=CandidateDetail,
        responses={**UNCHANGED, **documented(404)},
        dependencies=[Depends(access.viewer)],
        summary="Everything of one candidate",
    )
    def shown(request: Request, candidate_id: UUID) -> Response:
        """Properties as predicted and as computed, geometries, calculations, and how it came about."""
        return answered(request, candidate_detail(_story(context, candidate_id)))

    @routes.get(
        "/{candidate_id}/geometry",
        responses={200: {"content": _GEOMETRIES}, **documented(404)},
        dependencies=[Depends(access.viewer)],
        summary="A geometry as a file",
        response_class=Response,
    )
    def geometry(
        candidate_id: UUID,
        kind: Literal["best", "generated", "relaxed", "certified"] = "best",
        format: Literal["sdf", "xyz"] = "sdf",
    ) -> Response:
        """As generated, relaxed with GFN2-xTB, or with DFT; the best is the last of these."""
        found = _story(context, candidate_id)
        chosen = [one for one in found.geometries if kind in ("best", one.kind)]
        if not chosen:
            there = ", ".join(one.kind for one in found.geometries)
            raise NotFound(f"kind: candidate {candidate_id} has no {kind} geometry; there is: {there}")
        text = _sdf(found, chosen[-1]) if format == "sdf" else _xyz(found, chosen[-1])
        return Response(text, media_type=MEDIA[format])

    return routes


def _exported(context: Context, query: CandidateQuery, kind: str, slots: threading.BoundedSemaphore) -> Iterator[bytes]:
    """A file in pieces; raises before the first piece if the question is wrong.

    All pieces are of one state of the database, unless the question is about a substructure.
    """
    if not slots.acquire(blocking=False):
        raise TooMany(10)
    try:
        with ExitStack() as block:
            connect: Connect = partial(context.database.snapshot, STATEMENT_MS)
            if query.smarts is None:  # otherwise no connection is kept while molecules are compared with the pattern
                connect = held(block.enter_context(connect()))
            empty = True
            for part in Export(connect, query, kind).parts():
                yield part
                empty = False
            if empty:
                yield b""
    finally:
        slots.release()


def _story(context: Context, candidate_id: UUID) -> CandidateStory:
    with context.database.transaction() as connection:
        return story(connection, candidate_id)


def _sdf(found: CandidateStory, geometry: Geometry) -> str:
    tags = {"smiles": found.row["smiles"], "geometry": geometry.kind, "method": geometry.method}
    return output.sdf_record(geometry.molecule, found.row["inchikey"], tags)


def _xyz(found: CandidateStory, geometry: Geometry) -> str:
    return output.xyz(geometry.molecule, f"{found.row['smiles']} {geometry.kind} {geometry.method}")
