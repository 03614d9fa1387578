"""The database of candidates as a table."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from gapsmith.core import columns
from gapsmith.core.errors import InputError, NotFound
from gapsmith.core.lifecycle import CandidateState
from gapsmith.dashboard.api.candidates import MEDIA, SECONDS
from gapsmith.dashboard.drawing import svg
from gapsmith.dashboard.pages.question import Question, unknown
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.site import Site
from gapsmith.store import campaigns, candidates, query
from gapsmith.store.query_files import KINDS
from gapsmith.store.query_rows import Found

SIZE: Final = 50
STATES: Final = (
    ("", "all but rejected"),
    ("hit", "hits: DFT gap in the window"),
    ("labelled", "labelled by DFT"),
    ("certified", "certified"),
    *((str(state), str(state)) for state in CandidateState if state not in ("labelled", "certified")),
    ("all", "all, rejected ones too"),
)
FORMATS: Final = ("csv", "sdf", "parquet")
MOST_CHOSEN: Final = 1000  # candidates that are exported by their ids
API: Final = "/api/v1/candidates"
Number = Annotated[int, Field(ge=0, lt=2**63)]  # of a molecule


def router(site: Site) -> APIRouter:
    """``/candidates`` and the drawings."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/candidates", name="candidates")
    def listed(request: Request) -> HTMLResponse:
        asked = Question.of(request.query_params)
        values, status = _answer(site, asked, unknown(request.query_params))
        if request.headers.get("hx-request") == "true":
            headers = {"HX-Push-Url": asked.address(), "Vary": "HX-Request"} if asked.cursor is None else {}
            return HTMLResponse(render("candidates/results.html", **values), headers=headers)  # a problem is shown, too
        with site.database.transaction() as connection:
            names = [one.name for one in campaigns.every(connection)][::-1]
        filters = {"names": names, "ranges": columns.RANGES, "states": STATES, "all": columns.ALL}
        return page(request, "candidates/index.html", status=status, **filters, **values)

    @routes.get("/candidates/export.{kind}")
    def exported(kind: str, ids: Annotated[str, Query(max_length=37 * MOST_CHOSEN)]) -> Response:
        if kind not in FORMATS:
            raise NotFound(f"there is no export as {kind!r}; there is: {', '.join(FORMATS)}")
        chosen = [Found(_uuid(text), None, None) for text in dict.fromkeys(ids.split(",")) if text]
        content = b"".join(KINDS[kind](site.database.transaction, query.CandidateQuery().columns, iter([chosen])))
        headers = {"Content-Disposition": f'attachment; filename="candidates.{kind}"'}
        return Response(content, headers=headers, media_type=MEDIA[kind])

    @routes.get("/draw/{molecule_id}.svg")
    def drawn(molecule_id: Number, parent: Number | None = None) -> Response:
        with site.database.transaction() as connection:
            smiles = candidates.smiles(connection, [molecule_id, parent or molecule_id])
        if molecule_id not in smiles:
            raise NotFound(f"no molecule has the number {molecule_id}")
        drawing = svg(smiles[molecule_id], smiles.get(parent) if parent else None)
        return Response(drawing, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=86400"})

    return routes


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InputError(f"ids: {text!r} is no candidate's id") from error


def _answer(site: Site, asked: Question, strange: Any) -> tuple[dict[str, Any], int]:
    """What the results show, and the status of the page."""
    values: dict[str, Any] = {
        "asked": asked,
        "columns": [columns.BY_NAME[name] for name in asked.columns if name in columns.BY_NAME and name != "smiles"],
        "rows": [],
        "following": None,
        "size": SIZE,
        "problem": None,
        "exports": {name: asked.address(API, format=name, fields=None) for name in FORMATS},
    }
    try:
        if strange:
            raise InputError(f"nothing here is called {', '.join(strange[:3])}; take it out of the address")
        found = query.page(site.database.transaction, asked.query(), size=SIZE, cursor=asked.cursor, seconds=SECONDS)
    except InputError as error:
        return {**values, "problem": str(error)}, 422
    values["rows"] = found.rows
    if found.cursor is not None:
        values["following"] = asked.address(cursor=found.cursor, page=str(asked.page + 1))
    return values, 200
