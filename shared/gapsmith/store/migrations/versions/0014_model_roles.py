"""A model has a role, an architecture and a domain; what was called its kind is its role."""

from alembic import op

revision = "0014"
down_revision = "0013"

SQL = """
ALTER TABLE models RENAME COLUMN kind TO role;
ALTER TABLE promotions RENAME COLUMN kind TO role;
ALTER TABLE training_runs RENAME COLUMN kind TO role;
ALTER TABLE models ADD COLUMN architecture text,     -- an entry point of the group gapsmith.trainables
                   ADD COLUMN domain jsonb;          -- gapsmith.core.model_domain: elements, heavy atoms, properties
UPDATE models SET architecture = CASE role WHEN 'generator' THEN 'masked_diffusion' ELSE 'equivariant_gnn' END,
    domain = '{"elements": ["H", "C", "N", "O", "F"], "heavy_atoms": [1, 9],
               "properties": {"gap": {"level": "B3LYP/6-31G(2df,p)", "unit": "eV"}}}';
ALTER TABLE models ALTER COLUMN architecture SET NOT NULL, ALTER COLUMN domain SET NOT NULL;

CREATE OR REPLACE FUNCTION models_changed_places() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


def upgrade() -> None:
    """Rename, add, and let the trigger look at the new name."""
    op.execute(SQL)
