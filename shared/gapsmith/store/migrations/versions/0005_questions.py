"""What questions about candidates need to be answered at once: columns to sort and filter by, fingerprints, API tokens."""

from alembic import op

revision = "0005"
down_revision = "0004"

# What a question may filter or sort by stands in one table, kept up to date by triggers, so that one index leads to a page.
COLUMNS = """
ALTER TABLE candidates
    ADD COLUMN heavy_atoms integer,                  -- of the molecule
    ADD COLUMN sa_score double precision,            -- of the molecule
    ADD COLUMN xtb_gap_ev double precision,          -- of the relaxed geometry
    ADD COLUMN geometry text,                        -- method of the best one there is
    ADD COLUMN predicted_gap_ev double precision,    -- by the live model, else by the newest that judged it
    ADD COLUMN predicted_gap_std_ev double precision,
    ADD COLUMN out_of_distribution boolean,
    ADD COLUMN best_gap_ev double precision GENERATED ALWAYS AS (coalesce(certified_gap_ev, gap_ev)) STORED;

CREATE FUNCTION candidates_copy_properties() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT m.heavy_atoms, m.sa_score INTO NEW.heavy_atoms, NEW.sa_score FROM molecules m WHERE m.id = NEW.molecule_id;
    SELECT f.xtb_gap_ev INTO NEW.xtb_gap_ev FROM conformers f WHERE f.id = NEW.relaxed_conformer_id;
    SELECT f.method INTO NEW.geometry FROM conformers f
    WHERE f.id = coalesce(NEW.certified_conformer_id, NEW.relaxed_conformer_id, NEW.conformer_id);
    RETURN NEW;
END $$;
CREATE TRIGGER candidates_copy_properties
    BEFORE INSERT OR UPDATE OF molecule_id, conformer_id, relaxed_conformer_id, certified_conformer_id ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_copy_properties();

CREATE FUNCTION candidates_copy_predictions(judged uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE candidates c
    SET predicted_gap_ev = p.gap_ev, predicted_gap_std_ev = p.gap_std_ev, out_of_distribution = p.out_of_distribution
    FROM (SELECT DISTINCT ON (p.candidate_id) p.candidate_id, p.gap_ev, p.gap_std_ev, p.out_of_distribution
          FROM predictions p JOIN models m ON m.id = p.model_id WHERE p.candidate_id = ANY(judged)
          ORDER BY p.candidate_id, (m.state = 'live') DESC, m.version DESC) p
    WHERE c.id = p.candidate_id AND (c.predicted_gap_ev, c.predicted_gap_std_ev, c.out_of_distribution)
        IS DISTINCT FROM (p.gap_ev, p.gap_std_ev, p.out_of_distribution)
$$;
CREATE FUNCTION predictions_were_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM candidates_copy_predictions(ARRAY(SELECT DISTINCT candidate_id FROM added));
    RETURN NULL;
END $$;
CREATE TRIGGER predictions_were_added AFTER INSERT ON predictions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION predictions_were_added();

-- A promotion changes what counts for candidates that a newer model has judged, too: after a rollback, hence for few.
CREATE FUNCTION models_changed_places() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE judged uuid[];
BEGIN
    judged := ARRAY(SELECT DISTINCT own.candidate_id FROM models n JOIN predictions newer ON newer.model_id = n.id
                    JOIN predictions own ON own.candidate_id = newer.candidate_id AND own.model_id = NEW.id
                    WHERE n.kind = NEW.kind AND n.version > NEW.version);
    IF cardinality(judged) > 0 THEN  -- campaigns are locked before candidates, as everywhere
        PERFORM 1 FROM campaigns WHERE state IN ('running', 'paused') ORDER BY id FOR NO KEY UPDATE;
        PERFORM candidates_copy_predictions(judged);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER models_changed_places AFTER UPDATE OF state ON models FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND 'live' IN (OLD.state, NEW.state)) EXECUTE FUNCTION models_changed_places();

CREATE INDEX predictions_by_model ON predictions (model_id, candidate_id);
UPDATE candidates SET conformer_id = conformer_id;   -- the trigger does it
SELECT candidates_copy_predictions(ARRAY(SELECT DISTINCT candidate_id FROM predictions));

CREATE INDEX candidates_by_molecule ON candidates (molecule_id);
CREATE INDEX candidates_by_parent ON candidates (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX outbox_by_key ON outbox (key, sequence);
"""

# Each index holds all that a question may ask of a candidate, so that whatever is passed over is not looked up. A state comes
# first: what some state never has is then known at once, where statistics of single columns would mislead the planner.
SORTED = {
    "created_at": "creation",
    "best_gap_ev": "gap",
    "predicted_gap_ev": "predicted_gap",
    "predicted_gap_std_ev": "uncertainty",
    "xtb_gap_ev": "xtb_gap",
    "sa_score": "sa_score",
    "heavy_atoms": "heavy_atoms",
}


def index(column: str, name: str) -> str:
    """One of them, for sorting and filtering by a column."""
    others = ", ".join(
        ["campaign_id", "molecule_id", *(other for other in SORTED if other not in (column, "created_at"))]
    )
    return f"CREATE INDEX candidates_by_{name} ON candidates (state, {column}, id) INCLUDE ({others})"


# Apart from the molecules, for they are read by the million.
FINGERPRINTS = """
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
INSERT INTO substructure_keys (molecule_id) SELECT id FROM molecules;
"""

TOKENS = """
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('viewer', 'operator')),
    sha256 bytea NOT NULL UNIQUE,                    -- of the token, which has 256 random bits and is stored nowhere
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    used_at timestamptz                              -- last, to the minute
);
CREATE TABLE api_sessions (                          -- of browsers that signed in with a token
    sha256 bytea PRIMARY KEY,                        -- of the cookie
    token_id uuid NOT NULL REFERENCES api_tokens ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX api_sessions_by_token ON api_sessions (token_id);
"""


def upgrade() -> None:
    """Create, and fill from what is there; fingerprints are computed when they are first asked for."""
    for part in (COLUMNS, *(index(column, name) for column, name in SORTED.items()), FINGERPRINTS, TOKENS):
        op.execute(part)


def downgrade() -> None:
    """Tokens would be lost."""
    raise RuntimeError("0005 cannot be taken back")
