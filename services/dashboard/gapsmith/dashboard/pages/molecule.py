"""One candidate: its structure, its properties, its life."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from gapsmith.core import properties
from gapsmith.core.columns import MAIN, predicted_names
from gapsmith.core.output import sdf_record
from gapsmith.dashboard.reading.molecule import candidate
from gapsmith.dashboard.rendering import page, render
from gapsmith.dashboard.site import Site
from gapsmith.store import calculation_files, conformers, query
from gapsmith.store.job_story import Story
from gapsmith.store.query import CandidateQuery

SIMILAR: Final = 12
LASTING: Final = {
    "Cache-Control": "private, max-age=86400, immutable"
}  # a geometry and a file of a result never change
GEOMETRIES: Final = {"generated": "generated", "relaxed": "GFN2-xTB", "certified": "DFT"}


def spectra(job: Story | None) -> Mapping[str, Any] | None:
    """Lines of the infrared and the absorption spectrum, for the chart."""
    if job is None:
        return None
    strengths = job.extra.get("ir_intensities_km_mol") or []
    waves = job.extra.get("wavenumbers_cm1") or []
    return {
        "level": job.level,
        "infrared": [[wave, strength] for wave, strength in zip(waves, strengths, strict=False) if wave > 0],
        "absorption": [
            [one["wavelength_nm"], one["oscillator_strength"]] for one in job.extra.get("excitations") or []
        ],
    }


def router(site: Site) -> APIRouter:
    """``/candidates/{id}``, geometries and files."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/candidates/{candidate_id}", name="molecule")
    def shown(request: Request, candidate_id: UUID) -> HTMLResponse:
        with site.database.transaction() as connection:
            one = candidate(connection, candidate_id)
        return page(
            request,
            "molecule/index.html",
            one=one,
            row=one.story.row,
            properties=one.story.properties,
            spectra=spectra(one.spectra),
            labels=GEOMETRIES,
            geometries={str(each.conformer_id): _geometry(each.conformer_id) for each in one.story.geometries},
            orbitals={
                each.name: {
                    "cube": f"/files/{each.calculation_id}/{each.file}",
                    "geometry": _geometry(each.conformer_id),
                }
                for each in one.orbitals
            },
        )

    @routes.get("/candidates/{candidate_id}/similar")
    def similar(candidate_id: UUID, smiles: str, property: str = MAIN) -> HTMLResponse:
        kind = properties.get(property)
        predicted, _ = predicted_names(kind)
        fields = ("candidate_id", "molecule_id", "smiles", "similarity", kind.column, predicted)
        asked = CandidateQuery.ask(similar_to=smiles, fields=fields)
        found = query.page(site.database.transaction, asked, size=SIMILAR + 20, seconds=5.0)
        others: dict[int, dict[str, Any]] = {}
        for row in found.rows:
            if row["candidate_id"] != candidate_id and row["smiles"] != smiles:
                others.setdefault(row["molecule_id"], row)
        rows = list(others.values())[:SIMILAR]
        return HTMLResponse(render("molecule/similar.html", rows=rows, kind=kind, predicted=predicted))

    @routes.get("/geometry/{conformer_id}.sdf")
    def geometry(conformer_id: UUID) -> Response:
        with site.database.transaction() as connection:
            found = conformers.get(connection, conformer_id)
        record = sdf_record(found.molecule, str(conformer_id), {"method": found.method})
        return Response(record, headers=LASTING, media_type="chemical/x-mdl-sdfile")

    @routes.get("/files/{calculation_id}/{name}")
    def content(calculation_id: UUID, name: str) -> Response:
        with site.database.transaction() as connection:
            packed = calculation_files.packed(connection, calculation_id, name)
        headers = {**LASTING, "Content-Encoding": "gzip"}  # as it is stored
        return Response(packed, headers=headers, media_type="text/plain; charset=utf-8")

    return routes


def _geometry(conformer_id: UUID) -> str:
    return f"/geometry/{conformer_id}.sdf"
