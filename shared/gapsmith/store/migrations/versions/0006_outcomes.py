"""What a hit is, in one view; ends of target windows as columns, so that no query adds or subtracts."""

from alembic import op

revision = "0006"
down_revision = "0005"

# numeric reads JSON's numbers as they are written, so that 4.1 - 0.1 is 4.0 exactly, as in core.domain.Window.
WINDOWS = """
ALTER TABLE campaigns ADD COLUMN window_low_ev double precision, ADD COLUMN window_high_ev double precision;
UPDATE campaigns SET
    window_low_ev = (config #>> '{target,value}')::numeric - (config #>> '{target,tolerance}')::numeric,
    window_high_ev = (config #>> '{target,value}')::numeric + (config #>> '{target,tolerance}')::numeric;
ALTER TABLE campaigns ALTER COLUMN window_low_ev SET NOT NULL, ALTER COLUMN window_high_ev SET NOT NULL;
"""

# The rule of core.lifecycle.Outcome: of candidates with a DFT label, and null for those that were outside all along.
OUTCOMES = """
CREATE VIEW candidate_outcomes AS
SELECT c.id AS candidate_id, c.campaign_id,
       CASE WHEN c.certified_gap_ev BETWEEN g.window_low_ev AND g.window_high_ev THEN 'hit_by_certificate'
            WHEN c.gap_ev BETWEEN g.window_low_ev AND g.window_high_ev
                THEN CASE WHEN c.certified_gap_ev IS NULL THEN 'hit_by_label' ELSE 'missed' END
       END AS outcome,
       c.best_gap_ev AS value
FROM candidates c JOIN campaigns g ON g.id = c.campaign_id
WHERE c.best_gap_ev IS NOT NULL;
"""


def upgrade() -> None:
    """Create, and fill from the campaigns' targets."""
    op.execute(WINDOWS)
    op.execute(OUTCOMES)


def downgrade() -> None:
    """Readers would have no hits."""
    raise RuntimeError("0006 cannot be taken back")
