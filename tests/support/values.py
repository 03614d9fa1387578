"""Values of properties for rows that tests store."""

from psycopg.types.json import Jsonb

from gapsmith.core import properties
from gapsmith.core.properties import Estimate


def estimate(mean: float, std: float) -> Estimate:
    """A prediction with the interval of a Gaussian."""
    return Estimate(mean, std, mean - 1.645 * std, mean + 1.645 * std)


def predicted(mean: float, std: float, name: str = "gap") -> Jsonb:
    """A column of ``predictions``."""
    return Jsonb({name: estimate(mean, std)._asdict()})


def computed(gap_ev: float, homo_ev: float = -7.0, **more: object) -> Jsonb:
    """A column of ``calculations``: what follows from a result."""
    return Jsonb(properties.computed({"gap_ev": gap_ev, "homo_ev": homo_ev, "lumo_ev": homo_ev + gap_ev, **more}))
