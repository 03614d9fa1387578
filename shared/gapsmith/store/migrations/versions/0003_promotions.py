"""When which model was live and by whose decision, so that a rollback knows what came before."""

from alembic import op

revision = "0003"
down_revision = "0002"

CHANGES = """
CREATE TABLE promotions (                            -- the newest of a kind tells of its live model
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    model_id uuid NOT NULL REFERENCES models,
    previous_id bigint REFERENCES promotions,        -- where a rollback from here leads
    how text NOT NULL CHECK (how IN ('shipped', 'promoted', 'rolled back')),
    source text NOT NULL,                            -- a service, or user@host
    reason text,                                     -- that a person gave
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX promotions_newest ON promotions (kind, id DESC);
CREATE INDEX promotions_by_model ON promotions (model_id, id DESC);

-- Until now a trained model went live as it was registered, and shipped weights never took its place.
INSERT INTO promotions (kind, model_id, how, source, created_at)
SELECT m.kind, m.id, CASE WHEN m.parent_id IS NULL THEN 'shipped' ELSE 'promoted' END,
       CASE WHEN m.parent_id IS NULL THEN m.kind ELSE 'trainer' END, m.created_at
FROM models m
WHERE m.state = 'live' OR m.state = 'retired' AND (m.parent_id IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM models t WHERE t.kind = m.kind AND t.parent_id IS NOT NULL AND t.state IN ('live', 'retired')
                             AND t.version < m.version))
ORDER BY m.state = 'live', m.version;
UPDATE promotions p SET previous_id = before.id
FROM (SELECT id AS of, lag(id) OVER (PARTITION BY kind ORDER BY id) AS id FROM promotions) AS before
WHERE before.of = p.id;
"""


def upgrade() -> None:
    """Create, and fill from the states that models have."""
    op.execute(CHANGES)


def downgrade() -> None:
    """Nobody would know any more which model was live when."""
    raise RuntimeError("0003 cannot be taken back")
