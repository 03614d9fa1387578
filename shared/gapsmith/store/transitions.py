"""Transitions of states that the database allows: those of ``core.lifecycle``, and no others."""

from gapsmith.core.lifecycle import TRANSITIONS


def statements() -> list[str]:
    """SQL that makes the database refuse every other change of state; a migration runs it whenever they change."""
    made = [
        """CREATE OR REPLACE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               RAISE EXCEPTION '% %: it cannot go from % to %', TG_TABLE_NAME, OLD.id, OLD.state, NEW.state
                   USING ERRCODE = 'check_violation';
           END $$"""
    ]
    for table, arrows in TRANSITIONS.items():
        allowed = ", ".join(f"('{state}', '{after}')" for state, afters in arrows.items() for after in afters)
        made += [
            f"DROP TRIGGER IF EXISTS {table}_transitions ON {table}",
            # a condition costs a comparison, and the function is called for what is refused alone
            f"""CREATE TRIGGER {table}_transitions BEFORE UPDATE OF state ON {table} FOR EACH ROW
                WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN ({allowed}))
                EXECUTE FUNCTION refuse_transition()""",
        ]
    return made
