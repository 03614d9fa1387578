"""The database refuses changes of state that the lifecycle does not know."""

from alembic import op

from gapsmith.store.transitions import statements

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create a trigger for each table with states."""
    for statement in statements():
        op.execute(statement)


def downgrade() -> None:
    """States would not be checked."""
    raise RuntimeError("0012 cannot be taken back")
