"""Trainings with their course and their energy: of campaigns, and those that a person started."""

from alembic import op

revision = "0004"
down_revision = "0003"

CHANGES = """
CREATE TABLE training_runs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,                              -- of model
    campaign_id uuid REFERENCES campaigns,           -- that asked for it; null: a person did
    model_id uuid REFERENCES models,                 -- that came out, once it is registered
    state text NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'stopped')),
    reason text,                                     -- of failed and stopped
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),   -- when it was last heard of
    finished_at timestamptz,
    host text NOT NULL,
    processes integer NOT NULL CHECK (processes > 0),
    backend text NOT NULL,                           -- single, horovod or torch
    device text NOT NULL,
    directory text,                                  -- of its TensorBoard files
    planned_steps integer,                           -- null: it is ended by time
    steps integer NOT NULL DEFAULT 0,                -- done
    elapsed_s double precision NOT NULL DEFAULT 0,   -- of training, all attempts together
    energy_kwh double precision,
    energy_method text,
    energy_measured boolean,                         -- false: estimated, wholly or in part
    config jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX training_runs_newest ON training_runs (started_at DESC, id);
CREATE INDEX training_runs_by_model ON training_runs (model_id);
CREATE INDEX training_runs_by_campaign ON training_runs (campaign_id, started_at DESC);

CREATE TABLE training_metrics (
    run_id uuid NOT NULL REFERENCES training_runs ON DELETE CASCADE,
    step integer NOT NULL,
    elapsed_s double precision NOT NULL,
    losses jsonb NOT NULL,                           -- running means by name; null: not finite
    rate double precision,                           -- learning rate
    samples_per_s double precision,                  -- of all processes together
    energy_kwh double precision,                     -- so far
    PRIMARY KEY (run_id, step)
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(CHANGES)


def downgrade() -> None:
    """What trainings cost is not kept anywhere else."""
    raise RuntimeError("0004 cannot be taken back")
