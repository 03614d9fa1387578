"""Candidates with what questions filter and sort by, and predictions."""

# What a question may filter or sort by stands in one table, kept up to date by triggers, so that one index leads to a page.
TABLES = """
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
    reason_code text,                                          -- of the reason, to count by
    reason text,                                               -- of rejected, failed, withdrawn
    triage_id uuid REFERENCES calculations,
    certificate_id uuid REFERENCES calculations,
    label_value double precision,                              -- of the target's main property: DFT at the xTB geometry
    certified_value double precision,                          -- DFT at the DFT geometry
    violation double precision,                                -- of the campaign's target, by the values that count
    outcome text CHECK (outcome IN ('hit_by_label', 'hit_by_certificate', 'missed')),  -- core.lifecycle.Outcome
    heavy_atoms integer,                                       -- of the molecule
    sa_score double precision,                                 -- of the molecule
    xtb_gap_ev double precision,                               -- of the relaxed geometry
    geometry text,                                             -- method of the best one there is
    out_of_distribution boolean,                               -- by the live model, else by the newest that judged it
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX candidates_one_per_molecule ON candidates (campaign_id, molecule_id)
    WHERE molecule_id IS NOT NULL AND state <> 'rejected';
CREATE INDEX candidates_by_state ON candidates (campaign_id, state);
CREATE INDEX candidates_by_triage ON candidates (triage_id);
CREATE INDEX candidates_by_certificate ON candidates (certificate_id);
CREATE INDEX candidates_by_molecule ON candidates (molecule_id);
CREATE INDEX candidates_by_parent ON candidates (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE predictions (
    candidate_id uuid NOT NULL REFERENCES candidates,
    model_id uuid NOT NULL REFERENCES models,
    properties jsonb NOT NULL,                       -- by property: mean, standard deviation, ends of the 90 % interval
    correlations jsonb NOT NULL DEFAULT '{}',        -- of the errors of pairs of properties, as "gap homo"
    out_of_distribution boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (candidate_id, model_id)
);
CREATE INDEX predictions_by_model ON predictions (model_id, candidate_id);
"""

FUNCTIONS = """
CREATE FUNCTION candidates_copy_properties() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT m.heavy_atoms, m.sa_score INTO NEW.heavy_atoms, NEW.sa_score FROM molecules m WHERE m.id = NEW.molecule_id;
    SELECT f.method INTO NEW.geometry FROM conformers f
    WHERE f.id = coalesce(NEW.certified_conformer_id, NEW.relaxed_conformer_id, NEW.conformer_id);
    RETURN NEW;
END $$;
CREATE TRIGGER candidates_copy_properties
    BEFORE INSERT OR UPDATE OF molecule_id, conformer_id, relaxed_conformer_id, certified_conformer_id ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_copy_properties();

CREATE FUNCTION candidates_copy_xtb_gap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT (f.properties ->> 'gap')::float8 INTO NEW.xtb_gap_ev FROM conformers f WHERE f.id = NEW.relaxed_conformer_id;
    RETURN NEW;
END $$;
CREATE TRIGGER candidates_copy_xtb_gap BEFORE INSERT OR UPDATE OF relaxed_conformer_id ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_copy_xtb_gap();

-- candidates_copy_predictions is defined in store.candidates, for the properties that are registered.
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
                    WHERE n.role = NEW.role AND n.version > NEW.version);
    IF cardinality(judged) > 0 THEN  -- campaigns are locked before candidates, as everywhere
        PERFORM 1 FROM campaigns WHERE state IN ('running', 'paused') ORDER BY id FOR NO KEY UPDATE;
        PERFORM candidates_copy_predictions(judged);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER models_changed_places AFTER UPDATE OF state ON models FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND 'live' IN (OLD.state, NEW.state)) EXECUTE FUNCTION models_changed_places();
"""
