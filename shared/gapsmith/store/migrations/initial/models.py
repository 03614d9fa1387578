"""Models, which of them was live when, and trainings."""

TABLES = """
CREATE TABLE models (
    id uuid PRIMARY KEY,
    role text NOT NULL,
    version integer NOT NULL,
    parent_id uuid REFERENCES models,
    architecture text NOT NULL,                      -- an entry point of the group gapsmith.trainables
    domain jsonb NOT NULL,                           -- gapsmith.core.model_domain: elements, heavy atoms, properties
    state text NOT NULL CHECK (state IN ('candidate', 'live', 'retired', 'rejected')),
    path text NOT NULL,
    sha256 text NOT NULL,
    metrics jsonb NOT NULL DEFAULT '{}',
    labels integer NOT NULL DEFAULT 0,               -- campaign labels it was trained on
    verdict text,
    campaign_id uuid REFERENCES campaigns,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (role, version)
);
CREATE UNIQUE INDEX models_one_live ON models (role) WHERE state = 'live';

CREATE TABLE promotions (                            -- the newest of a role tells of its live model
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role text NOT NULL,
    model_id uuid NOT NULL REFERENCES models,
    previous_id bigint REFERENCES promotions,        -- where a rollback from here leads
    how text NOT NULL CHECK (how IN ('shipped', 'promoted', 'rolled back')),
    source text NOT NULL,                            -- a service, or user@host
    reason text,                                     -- that a person gave
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX promotions_newest ON promotions (role, id DESC);
CREATE INDEX promotions_by_model ON promotions (model_id, id DESC);

CREATE TABLE training_runs (                         -- of campaigns, and those that a person started
    id uuid PRIMARY KEY,
    role text NOT NULL,                              -- of the model
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
