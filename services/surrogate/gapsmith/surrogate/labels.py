"""DFT labels of campaigns, at the geometries that the surrogate saw."""

from itertools import groupby

from gapsmith.data.molecules import Molecules
from gapsmith.stack.connect import open_database
from gapsmith.store import labels
from gapsmith.surrogate.data import from_geometries


def campaign_labels() -> dict[str, Molecules]:
    """All of them by the title of their level of theory, of the database that is named or the embedded one.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    with open_database() as database, database.transaction() as connection:
        found = sorted(labels.collect(connection), key=lambda one: one.level)  # stable: oldest first within a level
    levels = {level: list(some) for level, some in groupby(found, lambda one: one.level)}
    return {
        level: from_geometries([(one.numbers, one.coordinates) for one in some], [one.targets for one in some])
        for level, some in levels.items()
    }
