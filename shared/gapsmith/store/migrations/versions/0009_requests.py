"""What was asked of the generator and the trainer, and what was drawn, in tables of their own: the outbox may be pruned."""

from alembic import op

revision = "0009"
down_revision = "0008"

CHANGES = """
CREATE TABLE requests (
    id uuid PRIMARY KEY,                             -- the event's
    campaign_id uuid NOT NULL REFERENCES campaigns,
    service text NOT NULL,                           -- that is asked: generator or trainer
    parents integer NOT NULL DEFAULT 0,              -- to regrow
    labels integer NOT NULL DEFAULT 0,               -- that there were
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX requests_by_campaign ON requests (campaign_id, service);

CREATE TABLE draws (
    id uuid PRIMARY KEY,                             -- the event's
    campaign_id uuid NOT NULL REFERENCES campaigns,
    sampled integer NOT NULL,                        -- molecules drawn
    proposed integer NOT NULL,                       -- of them, those that go on to the surrogate
    refused jsonb NOT NULL DEFAULT '{}',             -- number by reason of those that were no molecule at all
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX draws_by_campaign ON draws (campaign_id);

INSERT INTO requests (id, campaign_id, service, parents, labels, created_at)
SELECT o.id, g.id, CASE WHEN o.topic = 'gapsmith.training.requested' THEN 'trainer' ELSE 'generator' END,
       coalesce(jsonb_array_length(o.envelope #> '{data,parents}'), 0),
       coalesce((o.envelope #>> '{data,labels}')::integer, 0), o.created_at
FROM outbox o JOIN campaigns g ON g.id::text = o.key
WHERE o.topic IN ('gapsmith.generate.requested', 'gapsmith.training.requested');

INSERT INTO draws (id, campaign_id, sampled, proposed, refused, created_at)
SELECT o.id, g.id, (o.envelope #>> '{data,sampled}')::integer, jsonb_array_length(o.envelope #> '{data,candidate_ids}'),
       o.envelope #> '{data,refused}', o.created_at
FROM outbox o JOIN campaigns g ON g.id::text = o.key WHERE o.topic = 'gapsmith.candidates.proposed';

ALTER TABLE tasks ADD COLUMN started_at timestamptz; -- its last attempt
ALTER TABLE tasks DROP CONSTRAINT tasks_state_check;
ALTER TABLE tasks ADD CONSTRAINT tasks_state_check
    CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled'));
"""


def upgrade() -> None:
    """Create, and fill from the outbox."""
    op.execute(CHANGES)


def downgrade() -> None:
    """What was pruned from the outbox would be lost."""
    raise RuntimeError("0009 cannot be taken back")
