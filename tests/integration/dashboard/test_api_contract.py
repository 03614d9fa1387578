"""The API keeps what its OpenAPI document promises, whatever it is asked; commands included, on a real database."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import schemathesis
from api_application import application
from hypothesis import HealthCheck, given, settings
from many_candidates import fill
from psycopg import sql
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gapsmith.store import tokens
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate
from gapsmith.store.tokens import Role

EXAMPLES = 15
pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture(scope="module")
def operator(postgres_server: str) -> Iterator[tuple[Database, str]]:
    """A database that the API may change, and a token for all of it."""
    name = f"contract_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True, connect_timeout=10) as link:
        link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = f"{postgres_server.rpartition('/')[0]}/{name}"
    migrate(url)
    with Database(url) as database:
        fill(database, most=60)
        with database.transaction() as connection:
            token = tokens.create(connection, "contract", Role.OPERATOR)
        yield database, token


@pytest.fixture(scope="module")
def operations(operator: tuple[Database, str]) -> dict[str, Any]:
    """Operations of the OpenAPI document by name, asked of the application in this process."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", application(operator[0]))
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


OPERATIONS = (
    "GET /api/v1/candidates",
    "GET /api/v1/candidates/{candidate_id}",
    "GET /api/v1/candidates/{candidate_id}/geometry",
    "GET /api/v1/campaigns",
    "POST /api/v1/campaigns",
    "GET /api/v1/campaigns/{name}",
    "POST /api/v1/campaigns/{name}/pause",
    "POST /api/v1/campaigns/{name}/resume",
    "POST /api/v1/campaigns/{name}/stop",
    "PUT /api/v1/campaigns/{name}/target",
    "GET /api/v1/jobs",
    "GET /api/v1/jobs/{job_id}",
    "POST /api/v1/jobs/{job_id}/retry",
    "POST /api/v1/jobs/{job_id}/cancel",
    "GET /api/v1/models",
    "GET /api/v1/models/{model}",
    "GET /api/v1/events",
)


TAKES_NOTHING = ("GET /api/v1/campaigns",)  # that could be wrong


def test_the_document_has_all_operations_and_no_others(operations: dict[str, Any]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or name not in TAKES_NOTHING
    ],
)
def test_every_operation_does_what_it_promises(
    operations: dict[str, Any], operator: tuple[Database, str], name: str, mode: GenerationMode
) -> None:
    @given(case=operations[name].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    def check(case: Any) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {operator[1]}"},
            excluded_checks=[positive_data_acceptance],  # that a text is a SMARTS or a cursor no schema can say
        )

    check()
