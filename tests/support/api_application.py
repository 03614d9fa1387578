"""The REST API as an application of its own, on a real database, asked without a network."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from gapsmith.core.settings import Settings
from gapsmith.dashboard import api
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.limits import Limits, Rate
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.store.database import Database

PATIENT = Limits(*[Rate(10_000.0, 10_000)] * 5)


def application(database: Database, limits: Limits = PATIENT, *, host: str = "127.0.0.1") -> FastAPI:
    """The API of a dashboard that listens at an address."""
    app = FastAPI(title="gapsmith", version="1", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    context = Context(database, Settings(), DashboardSettings(host=host))
    app.include_router(api.router(context, Access(context, limits)))
    return app


def client_of(app: FastAPI, *, address: str = "127.0.0.1") -> TestClient:
    """Somebody at an address who asks it; what the application does not handle is an answer with status 500."""
    return TestClient(app, base_url="http://127.0.0.1", client=(address, 50000), raise_server_exceptions=False)
