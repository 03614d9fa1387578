"""The database refuses changes of state that the lifecycle does not know."""

from alembic import op

from gapsmith.store.transitions import statements

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create a trigger for each table with states."""
    for statement in statements():
        op.execute(statement)


def downgrade() -> None:
    """States would not be checked."""
    raise RuntimeError("0015 cannot be taken back")
