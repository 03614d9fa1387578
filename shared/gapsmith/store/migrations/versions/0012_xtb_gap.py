"""The GFN2-xTB gap beside each candidate, to filter and to sort by."""

from alembic import op

revision = "0012"
down_revision = "0011"

COLUMN = """
ALTER TABLE candidates ADD COLUMN xtb_gap_ev double precision;  -- of the relaxed geometry
CREATE FUNCTION candidates_copy_xtb_gap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT (f.properties ->> 'gap')::float8 INTO NEW.xtb_gap_ev FROM conformers f WHERE f.id = NEW.relaxed_conformer_id;
    RETURN NEW;
END $$;
CREATE TRIGGER candidates_copy_xtb_gap BEFORE INSERT OR UPDATE OF relaxed_conformer_id ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_copy_xtb_gap();
UPDATE candidates SET relaxed_conformer_id = relaxed_conformer_id WHERE relaxed_conformer_id IS NOT NULL;
"""


def upgrade() -> None:
    """Add and fill it; its index follows from ``core.columns``."""
    op.execute(COLUMN)


def downgrade() -> None:
    """Queries would miss it."""
    raise RuntimeError("0012 cannot be taken back")
