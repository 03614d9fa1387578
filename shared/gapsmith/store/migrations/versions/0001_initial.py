"""The whole schema. Units stand in column names; states are checked; ids are made by the services (uuid).

The columns of properties in ``candidates``, their indexes and the functions that fill them are made by ``store.projection``.
"""

from alembic import op

from gapsmith.store.migrations.initial import calculations, candidates, models, molecules, services
from gapsmith.store.transitions import statements

revision = "0001_initial"
down_revision = None

SCHEMA = (
    molecules.TABLES,
    molecules.KEYS,
    models.TABLES,
    calculations.TABLES,
    candidates.TABLES,
    candidates.FUNCTIONS,
    services.WORK,
    services.EVENTS,
    services.TOKENS,
)


def upgrade() -> None:
    """Create everything."""
    for part in (*SCHEMA, *statements()):
        op.execute(part)


def downgrade() -> None:
    """Nothing to go back to."""
    raise RuntimeError("0001_initial is the first migration")
