"""The registry: one live model of a kind, whatever is shipped, trained, promoted or upgraded."""

from pathlib import Path
from uuid import UUID, uuid4

from model_cards import card

from gapsmith.store import models
from gapsmith.store.database import Connection, Database

ROLE = "surrogate"


def live_id(connection: Connection) -> UUID:
    found = models.live(connection, ROLE)
    assert found is not None
    return found.id


def train(connection: Connection, parent: UUID) -> UUID:
    model_id = uuid4()
    models.add(
        connection,
        model_id,
        card(ROLE, "t"),
        parent_id=parent,
        path=Path("trained.safetensors"),
        metrics={"gap_mae_ev": 0.1},
        labels=8,
        campaign_id=None,
    )
    return model_id


def test_shipped_weights_go_live_and_an_upgrade_replaces_them(database: Database) -> None:
    with database.transaction() as connection:
        old = models.ensure_shipped(connection, Path("old.safetensors"), card(ROLE, "1"))
        assert live_id(connection) == old
        assert models.ensure_shipped(connection, Path("moved.safetensors"), card(ROLE, "1")) == old
        assert models.get(connection, old).path == "moved.safetensors"
        new = models.ensure_shipped(connection, Path("new.safetensors"), card(ROLE, "2"))
        assert live_id(connection) == new
        assert models.get(connection, old).state == "retired"


def test_a_model_that_was_promoted_here_stays_through_an_upgrade(database: Database) -> None:
    with database.transaction() as connection:
        shipped = models.ensure_shipped(connection, Path("a.safetensors"), card(ROLE, "1"))
        trained = train(connection, shipped)
        assert live_id(connection) == shipped
        models.promote(connection, trained, "promoted: better", source="trainer")
        assert live_id(connection) == trained
        assert models.get(connection, shipped).state == "retired"
        models.ensure_shipped(connection, Path("b.safetensors"), card(ROLE, "2"))
        models.ensure_shipped(connection, Path("a.safetensors"), card(ROLE, "1"))
        assert live_id(connection) == trained


def test_a_rejected_model_never_goes_live_and_versions_count_up(database: Database) -> None:
    with database.transaction() as connection:
        shipped = models.ensure_shipped(connection, Path("a.safetensors"), card(ROLE, "1"))
        first, second = train(connection, shipped), train(connection, shipped)
        models.reject(connection, first, "rejected: worse")
        assert live_id(connection) == shipped
        assert [models.get(connection, one).version for one in (shipped, first, second)] == [0, 1, 2]
        assert models.get(connection, first).verdict == "rejected: worse"
