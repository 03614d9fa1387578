"""The REST API, ``/api/v1``: candidates, campaigns, jobs, models, events; commands for operators (``docs/api.md``)."""

from gapsmith.dashboard.api.routes import router

__all__ = ["router"]
