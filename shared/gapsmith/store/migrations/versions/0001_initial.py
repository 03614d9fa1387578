"""All tables. Units stand in column names; states are checked; ids are made by the services (uuid)."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE campaigns (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    config jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'paused', 'finished', 'stopped')),
    stop_reason text,
    elapsed_s double precision NOT NULL DEFAULT 0,   -- running time, pauses and outages not counted
    ticked_at timestamptz,                           -- until when elapsed_s counts
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);

CREATE TABLE molecules (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inchikey text NOT NULL UNIQUE,
    smiles text NOT NULL,                            -- canonical
    formula text NOT NULL,
    heavy_atoms integer NOT NULL,
    sa_score double precision NOT NULL,
    in_qm9 boolean NOT NULL,
    fingerprint bytea NOT NULL                       -- Morgan, radius 2, 2048 bits
);

CREATE TABLE conformers (
    id uuid PRIMARY KEY,
    molecule_id bigint REFERENCES molecules,         -- null while the generated graph is not accepted
    method text NOT NULL,                            -- generated, gfn2-xtb or a DFT level
    numbers bytea NOT NULL,                          -- (atoms,) uint8
    coordinates_angstrom bytea NOT NULL,             -- (atoms, 3) float64 little-endian
    bonds bytea NOT NULL,                            -- (bonds, 3) int16 little-endian
    charges bytea NOT NULL,                          -- (atoms,) int8
    energy_hartree double precision,
    xtb_gap_ev double precision,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE models (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    version integer NOT NULL,
    parent_id uuid REFERENCES models,
    state text NOT NULL CHECK (state IN ('candidate', 'live', 'retired', 'rejected')),
    path text NOT NULL,
    sha256 text NOT NULL,
    metrics jsonb NOT NULL DEFAULT '{}',
    labels integer NOT NULL DEFAULT 0,               -- campaign labels it was trained on
    verdict text,
    campaign_id uuid REFERENCES campaigns,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, version)
);
CREATE UNIQUE INDEX models_one_live ON models (kind) WHERE state = 'live';

CREATE TABLE candidates (
    id uuid PRIMARY KEY,
    campaign_id uuid NOT NULL REFERENCES campaigns,
    molecule_id bigint REFERENCES molecules,
    conformer_id uuid NOT NULL REFERENCES conformers,          -- as generated
    relaxed_conformer_id uuid REFERENCES conformers,           -- after GFN2-xTB
    certified_conformer_id uuid REFERENCES conformers,         -- after DFT
    model_id uuid REFERENCES models,                           -- generator that proposed it
    parent_id uuid REFERENCES candidates,                      -- what it was regrown from
    mask_fraction double precision,
    state text NOT NULL CHECK (state IN ('proposed', 'rejected', 'scored', 'selected', 'labelled', 'certified',
                                         'failed', 'withdrawn')),
    reason text,                                               -- of rejected, failed, withdrawn
    triage_id uuid,
    certificate_id uuid,
    gap_ev double precision,                                   -- DFT at the xTB geometry
    certified_gap_ev double precision,                         -- DFT at the DFT geometry
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX candidates_one_per_molecule ON candidates (campaign_id, molecule_id)
    WHERE molecule_id IS NOT NULL AND state <> 'rejected';
CREATE INDEX candidates_by_state ON candidates (campaign_id, state);

CREATE TABLE predictions (
    candidate_id uuid NOT NULL REFERENCES candidates,
    model_id uuid NOT NULL REFERENCES models,
    gap_ev double precision NOT NULL,
    gap_std_ev double precision NOT NULL CHECK (gap_std_ev > 0),
    out_of_distribution boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (candidate_id, model_id)
);

CREATE TABLE calculations (
    id uuid PRIMARY KEY,
    content_hash text NOT NULL UNIQUE,               -- structure, charge, spin, level of theory
    level text NOT NULL,
    campaign_id uuid REFERENCES campaigns,           -- that asked first
    conformer_id uuid NOT NULL REFERENCES conformers,
    charge integer NOT NULL DEFAULT 0,
    spin integer NOT NULL DEFAULT 0,                 -- unpaired electrons
    priority integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,               -- attempts that took their worker with them
    not_before timestamptz NOT NULL DEFAULT now(),
    lease_owner text,
    lease_expires_at timestamptz,
    rung text,                                       -- of the SCF ladder that converged
    gap_ev double precision,
    homo_ev double precision,
    lumo_ev double precision,
    energy_hartree double precision,
    dipole_debye double precision,
    result jsonb,                                    -- charges and whatever else the engine gave
    result_conformer_id uuid REFERENCES conformers,
    failure_class text,
    failure_reason text,
    wall_s double precision,
    cpu_s double precision,
    software jsonb,                                  -- versions: provenance, not identity
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX calculations_by_state ON calculations (state, priority DESC, created_at);
ALTER TABLE candidates ADD FOREIGN KEY (triage_id) REFERENCES calculations;
ALTER TABLE candidates ADD FOREIGN KEY (certificate_id) REFERENCES calculations;
CREATE INDEX candidates_by_triage ON candidates (triage_id);
CREATE INDEX candidates_by_certificate ON candidates (certificate_id);

CREATE TABLE tasks (                                 -- long work of a service, asked for by an event
    id uuid PRIMARY KEY,                             -- the event's id: an event makes one task
    service text NOT NULL,
    kind text NOT NULL,
    campaign_id uuid REFERENCES campaigns,
    payload jsonb NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    lease_owner text,
    lease_expires_at timestamptz,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX tasks_open ON tasks (service, state, priority DESC, created_at) WHERE state IN ('pending', 'running');

CREATE TABLE outbox (
    id uuid PRIMARY KEY,                             -- the CloudEvents id
    sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    topic text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    envelope jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published_at IS NULL;
CREATE INDEX outbox_by_topic ON outbox (topic, sequence);

CREATE TABLE inbox (
    event_id uuid NOT NULL,
    consumer text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    error text,                                      -- it went to the dead letters, and why
    PRIMARY KEY (event_id, consumer)
);

CREATE TABLE heartbeats (
    service text NOT NULL,
    instance text NOT NULL,
    pid integer NOT NULL,
    state text NOT NULL,                             -- what it does, for a person
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, instance)
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Nothing to go back to."""
    raise RuntimeError("0001 is the first migration")
