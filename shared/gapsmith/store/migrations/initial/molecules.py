"""Campaigns, molecules and their geometries."""

TABLES = """
CREATE TABLE campaigns (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    config jsonb NOT NULL,
    levels jsonb NOT NULL,                           -- of theory that it began with: title and definition by role
    earlier_targets jsonb NOT NULL DEFAULT '[]',     -- until when and what, oldest first
    state text NOT NULL CHECK (state IN ('running', 'paused', 'finished', 'stopped')),
    stop_code text,                                  -- of the reason, to count by
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
    properties jsonb NOT NULL DEFAULT '{}',          -- value by property, by the method of the geometry
    created_at timestamptz NOT NULL DEFAULT now()
);
"""

# Apart from the molecules, for they are read by the million.
KEYS = """
CREATE TABLE substructure_keys (
    molecule_id bigint PRIMARY KEY REFERENCES molecules ON DELETE CASCADE,
    keys bit(640)                                    -- null until they are computed
);
CREATE INDEX substructure_keys_missing ON substructure_keys (molecule_id) WHERE keys IS NULL;

CREATE TABLE similarity_keys (
    molecule_id bigint PRIMARY KEY REFERENCES molecules ON DELETE CASCADE,
    morgan bit(2048) NOT NULL,                       -- molecules.fingerprint
    bits smallint[] NOT NULL                         -- places of its ones
);
CREATE INDEX similarity_keys_bits ON similarity_keys USING gin (bits);
CREATE INDEX similarity_keys_ones ON similarity_keys (cardinality(bits));

CREATE FUNCTION molecules_need_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO substructure_keys (molecule_id) SELECT id FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER molecules_need_keys AFTER INSERT ON molecules REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION molecules_need_keys();
"""
