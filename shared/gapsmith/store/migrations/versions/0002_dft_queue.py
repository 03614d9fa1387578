"""The DFT queue: levels of theory as data, every attempt with its story, files of results."""

from alembic import op

revision = "0002"
down_revision = "0001"

CHANGES = """
CREATE TABLE levels (                                -- of theory, as they were asked for
    version text PRIMARY KEY,                        -- hash of what decides a result
    name text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE calculations
    ADD COLUMN level_version text REFERENCES levels,
    ADD COLUMN queue text NOT NULL DEFAULT 'dft' CHECK (queue IN ('xtb', 'dft')),
    ADD COLUMN transients integer NOT NULL DEFAULT 0,   -- attempts that failed for a passing reason
    ADD COLUMN progress text,                        -- what it does now, in words
    ADD COLUMN host text,                            -- that computed the result
    ADD COLUMN rearranged text,                      -- bonds that broke or formed in its relaxation
    ADD COLUMN findings text[] NOT NULL DEFAULT '{}';
DROP INDEX calculations_by_state;
CREATE INDEX calculations_open ON calculations (queue, priority DESC, created_at) WHERE state = 'queued';
CREATE INDEX calculations_running ON calculations (lease_expires_at) WHERE state = 'running';
CREATE INDEX calculations_newest ON calculations (created_at DESC, id);
CREATE INDEX calculations_by_state ON calculations (state, created_at DESC, id);

CREATE TABLE attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    calculation_id uuid NOT NULL REFERENCES calculations ON DELETE CASCADE,
    owner text NOT NULL,                             -- of the lease
    host text NOT NULL,
    outcome text NOT NULL DEFAULT 'running'
        CHECK (outcome IN ('running', 'done', 'failed', 'lost', 'released', 'cancelled')),
    failure_class text,
    reason text,
    rung text,                                       -- of the SCF ladder that converged
    log_tail text,
    cpu_s double precision,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX attempts_by_calculation ON attempts (calculation_id, id);
CREATE INDEX attempts_by_host ON attempts (host, ended_at DESC);
CREATE UNIQUE INDEX attempts_running ON attempts (calculation_id) WHERE outcome = 'running';

CREATE TABLE calculation_files (
    calculation_id uuid NOT NULL REFERENCES calculations ON DELETE CASCADE,
    name text NOT NULL,
    content bytea NOT NULL,                          -- gzip
    size_bytes bigint NOT NULL,                      -- unpacked
    sha256 text NOT NULL,                            -- of the unpacked content
    PRIMARY KEY (calculation_id, name)
);
ALTER TABLE calculation_files ALTER COLUMN content SET STORAGE EXTERNAL;   -- packed already
"""


def upgrade() -> None:
    """Create and change."""
    op.execute(CHANGES)


def downgrade() -> None:
    """Results would lose what they stand on."""
    raise RuntimeError("0002 cannot be taken back")
