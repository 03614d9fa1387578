"""The API keeps what its OpenAPI document promises, whatever it is asked; commands included, on a real database."""

from typing import Any

import pytest
import schemathesis
from api_application import application, client_of
from hypothesis import HealthCheck, given, settings
from many_candidates import fill
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from gapsmith.store import tokens
from gapsmith.store.database import Database
from gapsmith.store.tokens import Role

EXAMPLES = 15
pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture(scope="module")
def operator(module_database: Database) -> tuple[Database, str]:
    """A database that the API may change, and a token for all of it."""
    fill(module_database, most=60)
    with module_database.transaction() as connection:
        token = tokens.create(connection, "contract", Role.OPERATOR)
    return module_database, token


@pytest.fixture(scope="module")
def operations(operator: tuple[Database, str]) -> dict[str, Any]:
    """Operations of the OpenAPI document by name, asked of the application in this process."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", application(operator[0]))
    named: dict[str, Any] = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        named[found.ok().label] = found.ok()
    return named


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
    "PUT /api/v1/campaigns/{name}/budget",
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
# in an address a list or an object in place of a text is a text, or nothing: refusals of these have a test of their own
TAKES_ANY_TEXT = ("GET /api/v1/events", "GET /api/v1/jobs", "GET /api/v1/models")


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
            excluded_checks=[
                positive_data_acceptance,  # that a text is a SMARTS or a cursor no schema can say
                *([negative_data_rejection] if name in TAKES_ANY_TEXT else []),
            ],
        )

    check()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("events?after=-1", 422),
        ("events?after=x", 422),
        ("events?limit=0", 422),
        ("events?limit=1001", 422),
        (f"events?type={'a' * 101}", 422),
        ("events?campaign=none", 404),
        ("jobs?state=lost", 422),
        ("jobs?limit=0", 422),
        ("jobs?limit=many", 422),
        (f"jobs?level={'a' * 101}", 422),
        ("models?state=lost", 422),
        (f"models?role={'a' * 101}", 422),
    ],
)
def test_what_cannot_be_asked_is_refused(operator: tuple[Database, str], asked: str, status: int) -> None:
    client = client_of(application(operator[0]))
    answer = client.get(f"/api/v1/{asked}", headers={"Authorization": f"Bearer {operator[1]}"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
