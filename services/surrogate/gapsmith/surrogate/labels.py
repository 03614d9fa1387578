"""DFT labels of campaigns, at the geometries that the surrogate saw."""

from gapsmith.core.settings import Settings
from gapsmith.store import labels
from gapsmith.store.database import Database
from gapsmith.surrogate.data import Molecules, from_geometries


def campaign_labels(settings: Settings) -> Molecules:
    """All of them; raises UnavailableError if no database is named or it cannot be reached."""
    with Database.from_settings(settings, connections=1) as database, database.transaction() as connection:
        found = labels.collect(connection)
    return from_geometries([(one.numbers, one.coordinates) for one in found], [one.targets for one in found])
