"""Codes beside the reasons of candidates and campaigns, to count by."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Reasons that were stored before get the code that their text tells."""
    op.execute("ALTER TABLE campaigns ADD COLUMN stop_code text")
    op.execute("ALTER TABLE candidates ADD COLUMN reason_code text")
    op.execute("""UPDATE campaigns SET stop_code = CASE
        WHEN stop_reason LIKE '% wanted % were found' THEN 'hits_found'
        WHEN stop_reason LIKE 'the wall time %' THEN 'wall_time'
        WHEN stop_reason LIKE 'the budget %' THEN 'dft_budget'
        WHEN stop_reason LIKE 'nothing more %' THEN 'nothing_more_found'
        ELSE 'stopped_by_user' END WHERE stop_reason IS NOT NULL""")
    op.execute("""UPDATE candidates SET reason_code = CASE
        WHEN state = 'rejected' THEN reason
        WHEN state = 'failed' THEN split_part(reason, ':', 1)
        WHEN state = 'withdrawn' AND reason = 'cancelled by its user' THEN 'cancelled'
        WHEN state = 'withdrawn' THEN 'campaign_ended'
        WHEN reason LIKE 'certificate failed%' THEN 'certificate_failed'
        WHEN reason LIKE 'certificate withdrawn%' THEN 'certificate_withdrawn'
        WHEN reason LIKE 'certificate: %' THEN 'certificate_rearranged'
        ELSE 'certificate_cancelled' END WHERE reason IS NOT NULL""")


def downgrade() -> None:
    """Counts would be lost."""
    raise RuntimeError("0013 cannot be taken back")
