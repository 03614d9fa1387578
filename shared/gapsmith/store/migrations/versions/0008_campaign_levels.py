"""Campaigns keep the levels of theory that they began with: by role the title and the whole definition."""

import json

import sqlalchemy
from alembic import op

from gapsmith.core.domain import Level
from gapsmith.core.levels import shipped
from gapsmith.store.campaigns import pinned

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Campaigns that are there already are taken to have used the shipped levels."""
    levels = json.dumps({role: pinned(shipped()[role]) for role in Level})
    op.execute("ALTER TABLE campaigns ADD COLUMN levels jsonb")
    op.execute(sqlalchemy.text("UPDATE campaigns SET levels = CAST(:levels AS jsonb)").bindparams(levels=levels))
    op.execute("ALTER TABLE campaigns ALTER COLUMN levels SET NOT NULL")


def downgrade() -> None:
    """Labels would not say what they were computed with."""
    raise RuntimeError("0008 cannot be taken back")
