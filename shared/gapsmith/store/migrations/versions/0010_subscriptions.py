"""Who consumes what, so that no event is forgotten before all who want it have handled it."""

from alembic import op

revision = "0010"
down_revision = "0009"

CHANGES = """
CREATE TABLE subscriptions (
    consumer text NOT NULL,
    topic text NOT NULL,
    PRIMARY KEY (consumer, topic)
);
INSERT INTO subscriptions SELECT DISTINCT i.consumer, o.topic FROM inbox i JOIN outbox o ON o.id = i.event_id;
"""


def upgrade() -> None:
    """Create, and fill from what was handled."""
    op.execute(CHANGES)


def downgrade() -> None:
    """Drop."""
    op.execute("DROP TABLE subscriptions")
