"""What every page of a running dashboard shares."""

from dataclasses import dataclass, field

from gapsmith.dashboard.context import Context
from gapsmith.dashboard.live import Hub
from gapsmith.dashboard.shared import Shared
from gapsmith.store.database import Database


@dataclass(frozen=True)
class Site:
    """The context, and what is computed once for all browsers."""

    context: Context
    hub: Hub
    shared: Shared = field(default_factory=Shared)

    @property
    def database(self) -> Database:
        """The database."""
        return self.context.database
