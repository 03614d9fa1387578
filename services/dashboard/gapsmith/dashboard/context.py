"""What every request of the dashboard needs."""

from dataclasses import dataclass

from gapsmith.core.settings import Settings
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.store.database import Database


@dataclass(frozen=True)
class Context:
    """The database and the settings of a running dashboard."""

    database: Database
    settings: Settings
    dashboard: DashboardSettings
