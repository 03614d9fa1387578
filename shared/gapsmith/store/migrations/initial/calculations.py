"""The queue of calculations: levels of theory as data, every attempt with its story, files of results."""

TABLES = """
CREATE TABLE levels (                                -- of theory, as they were asked for
    version text PRIMARY KEY,                        -- hash of what decides a result
    name text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE calculations (
    id uuid PRIMARY KEY,
    content_hash text NOT NULL UNIQUE,               -- structure, charge, spin, level of theory
    level text NOT NULL,
    level_version text REFERENCES levels,
    queue text NOT NULL DEFAULT 'dft' CHECK (queue IN ('xtb', 'dft')),
    campaign_id uuid REFERENCES campaigns,           -- that asked first
    conformer_id uuid NOT NULL REFERENCES conformers,
    charge integer NOT NULL DEFAULT 0,
    spin integer NOT NULL DEFAULT 0,                 -- unpaired electrons
    priority integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,               -- attempts that took their worker with them
    transients integer NOT NULL DEFAULT 0,           -- attempts that failed for a passing reason
    not_before timestamptz NOT NULL DEFAULT now(),
    lease_owner text,
    lease_expires_at timestamptz,
    progress text,                                   -- what it does now, in words
    host text,                                       -- that computed the result
    rung text,                                       -- of the SCF ladder that converged
    properties jsonb NOT NULL DEFAULT '{}',          -- value by property
    gap_ev double precision,
    homo_ev double precision,
    lumo_ev double precision,
    energy_hartree double precision,
    dipole_debye double precision,
    result jsonb,                                    -- charges and whatever else the engine gave
    result_conformer_id uuid REFERENCES conformers,
    rearranged text,                                 -- bonds that broke or formed in its relaxation
    findings text[] NOT NULL DEFAULT '{}',
    failure_class text,                              -- whether it is tried again
    failure_code text,                               -- of the reason, to count by and to find advice by
    failure_reason text,
    wall_s double precision,
    cpu_s double precision,
    software jsonb,                                  -- versions: provenance, not identity
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);
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
    failure_code text,
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
    content bytea STORAGE EXTERNAL NOT NULL,         -- gzip: packed already
    size_bytes bigint NOT NULL,                      -- unpacked
    sha256 text NOT NULL,                            -- of the unpacked content
    PRIMARY KEY (calculation_id, name)
);
"""
