"""Which model is live, by a person's decision: promote one, or go back to the one before."""

from uuid import UUID

from gapsmith.core.errors import CheckpointError, Conflict
from gapsmith.store import models
from gapsmith.store.database import Connection
from gapsmith.store.models import Model, check, current_promotion, get, go_live, live, lock


def promote(
    connection: Connection, model_id: UUID, *, who: str, reason: str | None, force: bool = False
) -> Model | None:
    """Make a model live because a person says so; returns the one that was live.

    Args:
        connection: in a transaction.
        model_id: of the model.
        who: user@host.
        reason: stored with the model's verdict.
        force: even if the gate rejected it.

    Raises:
        Conflict: it is live already, or was rejected and there is no ``force``.
        CheckpointError: its weights are missing, damaged or of another role.
    """
    lock(connection, get(connection, model_id).role)
    model = get(connection, model_id)
    check_promotable(model, force=force)
    before = live(connection, model.role)
    words = _decision("promoted", who, reason)
    verdict = "; ".join(filter(None, (model.verdict, words)))
    models.promote(connection, model_id, verdict, source=who, reason=reason)
    return before


def check_promotable(model: Model, *, force: bool) -> None:
    """Raise what ``promote`` does if a person may not make the model live."""
    if model.state == "live":
        raise Conflict(f"{model.name} is live already")
    if model.state == "rejected" and not force:
        raise Conflict(f"{model.name} did not pass the gate: {model.verdict}; to promote it all the same: --force")
    check(model)


def rollback(connection: Connection, role: str, *, leave: UUID, who: str, reason: str | None) -> Model:
    """Go back to the model that was live before, and from there to the one before that; returns it.

    Args:
        connection: in a transaction.
        role: of model.
        leave: the live one, as far as the caller knows.
        who: user@host.
        reason: stored with the verdict of the model that is left.

    Raises:
        Conflict: nothing was live before, or another model went live in the meantime.
        CheckpointError: the weights to go back to are missing, damaged or of another role.
    """
    lock(connection, role)
    left, target = rollback_target(connection, role)
    if left.id != leave:
        raise Conflict(f"{left.name} went live in the meantime; look again: gapsmith models list --role {role}")
    row = connection.execute(
        """SELECT before.previous_id FROM promotions now JOIN promotions before ON before.id = now.previous_id
           WHERE now.role = %s ORDER BY now.id DESC LIMIT 1""",
        (role,),
    ).fetchone()
    assert row is not None  # the promotion of the target
    words = _decision(f"rolled back to {target.name}", who, reason)
    go_live(connection, role, target.id, row["previous_id"], how="rolled back", source=who, reason=reason)
    connection.execute("UPDATE models SET verdict = concat_ws('; ', verdict, %s::text) WHERE id = %s", (words, left.id))
    return target


def rollback_target(connection: Connection, role: str) -> tuple[Model, Model]:
    """The live model and the one that a rollback leads to; raises what ``rollback`` does."""
    left, current = live(connection, role), current_promotion(connection, role)
    if left is None:
        raise Conflict(f"no {role} is live, so there is nothing to go back from; gapsmith models list shows them")
    row = connection.execute(
        "SELECT model_id FROM promotions WHERE id = %s", (current.previous_id if current else None,)
    ).fetchone()
    if row is None:
        raise Conflict(f"{left.name} is live, and no {role} was before it; gapsmith models list shows all")
    target = get(connection, row["model_id"])
    try:
        check(target)
    except CheckpointError as error:
        raise CheckpointError(
            f"{target.name}, which was live before {left.name}, cannot be used: {error}; "
            f"another one goes live with: gapsmith models promote {role}:VERSION"
        ) from error
    return left, target


def _decision(what: str, who: str, reason: str | None) -> str:
    return f"{what} by {who}" + (f": {reason}" if reason else "")
