"""Values of properties under their names, so that a new property needs no migration; ``store.projection`` makes columns."""

from alembic import op

revision = "0011"
down_revision = "0010"

# Of each property: mean, standard deviation and the ends of the 90 % interval, which old predictions take from a Gaussian.
PREDICTIONS = """
ALTER TABLE predictions ADD COLUMN properties jsonb;
UPDATE predictions SET properties = jsonb_build_object('gap', jsonb_build_object(
    'mean', gap_ev, 'std', gap_std_ev, 'low', greatest(gap_ev - 1.645 * gap_std_ev, 0), 'high', gap_ev + 1.645 * gap_std_ev));
ALTER TABLE predictions ALTER COLUMN properties SET NOT NULL, DROP COLUMN gap_ev, DROP COLUMN gap_std_ev;
"""
COMPUTED = """
ALTER TABLE calculations ADD COLUMN properties jsonb NOT NULL DEFAULT '{}';  -- value by property
ALTER TABLE conformers ADD COLUMN properties jsonb NOT NULL DEFAULT '{}';    -- the same, by the method of the geometry
UPDATE conformers SET properties = jsonb_build_object('gap', xtb_gap_ev) WHERE xtb_gap_ev IS NOT NULL;
"""
# The columns of properties are made and filled by store.projection, and so are all indexes that questions need.
COLUMNS = """
CREATE OR REPLACE FUNCTION candidates_copy_properties() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT m.heavy_atoms, m.sa_score INTO NEW.heavy_atoms, NEW.sa_score FROM molecules m WHERE m.id = NEW.molecule_id;
    SELECT f.method INTO NEW.geometry FROM conformers f
    WHERE f.id = coalesce(NEW.certified_conformer_id, NEW.relaxed_conformer_id, NEW.conformer_id);
    RETURN NEW;
END $$;
ALTER TABLE candidates DROP COLUMN xtb_gap_ev;
ALTER TABLE conformers DROP COLUMN xtb_gap_ev;
ALTER TABLE candidates RENAME COLUMN gap_ev TO label_value;             -- of the campaign's target: DFT at the xTB geometry
ALTER TABLE candidates RENAME COLUMN certified_gap_ev TO certified_value;  -- DFT at the DFT geometry
ALTER TABLE candidates RENAME COLUMN best_gap_ev TO value;                 -- the one that counts
ALTER TABLE campaigns RENAME COLUMN window_low_ev TO window_low;
ALTER TABLE campaigns RENAME COLUMN window_high_ev TO window_high;
DROP INDEX IF EXISTS candidates_by_creation, candidates_by_gap, candidates_by_predicted_gap, candidates_by_uncertainty,
    candidates_by_sa_score, candidates_by_heavy_atoms;
DROP FUNCTION candidates_copy_predictions(uuid[]) CASCADE;
ALTER TABLE candidates DROP COLUMN predicted_gap_ev, DROP COLUMN predicted_gap_std_ev;
"""


def upgrade() -> None:
    """Move values of the gap under its name."""
    for part in (PREDICTIONS, COMPUTED, COLUMNS):
        op.execute(part)


def downgrade() -> None:
    """Values of other properties would be lost."""
    raise RuntimeError("0011 cannot be taken back")
