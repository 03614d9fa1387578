"""What a process works on stands in columns."""

from alembic import op

revision = "0007"
down_revision = "0006"

CHANGES = """
DROP TABLE heartbeats;  -- every process writes its own again within seconds
CREATE TABLE heartbeats (
    service text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL DEFAULT '{}',             -- that a DFT worker takes jobs from
    activity text NOT NULL,                          -- for people
    campaign_id uuid,                                -- whose task is in work
    calculation_ids uuid[] NOT NULL DEFAULT '{}',    -- in work
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, host, pid)
);
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(CHANGES)


def downgrade() -> None:
    """Columns cannot be put back into a text."""
    raise RuntimeError("0007 cannot be undone")
