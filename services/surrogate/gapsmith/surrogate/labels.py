"""DFT labels of campaigns, at the geometries that the surrogate saw."""

from gapsmith.stack.connect import open_database
from gapsmith.store import labels
from gapsmith.surrogate.data import Molecules, from_geometries


def campaign_labels() -> Molecules:
    """All of them, of the database that is named or the embedded one; raises UnavailableError if it cannot be reached."""
    with open_database() as database, database.transaction() as connection:
        found = labels.collect(connection)
    return from_geometries([(one.numbers, one.coordinates) for one in found], [one.targets for one in found])
