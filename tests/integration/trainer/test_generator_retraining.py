"""The generator learns from a campaign's labels: trainer and generator as processes of their own, events over Kafka."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labelled_candidates import store
from service_process import loaded, serving, wait_for

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.messages import CandidatesProposed, Event, GenerateRequested, TrainingFinished, TrainingRequested
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns, models, outbox
from gapsmith.store.database import Database
from gapsmith.store.labels import Label
from gapsmith.training.card import read_card

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TINY = Path(__file__).parents[2] / "data" / "generator-tiny.safetensors"  # random weights, which have much to learn
TRAINER = {"GAPSMITH_TRAINER_BASE_MOLECULES": "256", "GAPSMITH_TRAINER_NICE": "0"}


def test_what_the_gate_promotes_is_taken_up_and_what_it_rejects_never_is(
    settings: Settings, database: Database, labels: Callable[[int], list[Label]], tmp_path: Path
) -> None:
    with database.transaction() as connection:
        config = parse_campaign({"name": "test", "target": {"value": 4.0}})
        campaign_id = campaigns.create(connection, config, source="test").id
        for age, label in enumerate(reversed(labels(12))):
            store(connection, campaign_id, label, age)

    def tell(event: Event) -> None:
        with database.transaction() as connection:
            outbox.emit(connection, event, source="coordinator")

    def told(event: type[Event]) -> list[dict[str, Any]]:
        with database.transaction() as connection:
            rows = connection.execute(
                "SELECT envelope -> 'data' AS data FROM outbox WHERE type = %s ORDER BY sequence", (event.TYPE,)
            ).fetchall()
        return [row["data"] for row in rows]

    def train(steps: int, learning_rate: float) -> dict[str, Any]:
        before = len(told(TrainingFinished))
        variables = {**TRAINER, "GAPSMITH_TRAINER_LEARNING_RATE": str(learning_rate)}
        with serving("trainer", settings, tmp_path / "trainer.log", **variables):
            tell(TrainingRequested(campaign_id=campaign_id, role="generator", labels=12, steps=steps))
            wait_for(lambda: len(told(TrainingFinished)) > before)
        return told(TrainingFinished)[-1]

    log = tmp_path / "generator.log"
    with serving("generator", settings, log, GAPSMITH_GENERATOR_WEIGHTS=str(TINY)):
        wait_for(lambda: len(loaded(log)) == 1)
        ruined = train(4, 1.0)
        assert not ruined["promoted"]
        assert ruined["verdict"].startswith("rejected on 3 held-out labels: FAILED: QM9 denoising loss")

        better = train(60, 0.01)
        assert better["promoted"], better["verdict"]
        assert "new labels' denoising loss" in better["verdict"]
        wait_for(lambda: len(loaded(log)) == 2)
        with database.transaction() as connection:
            live, rejected = models.live(connection, "generator"), models.get(connection, ruined["model_id"])
        assert live is not None
        assert loaded(log)[1] == str(live.id) == better["model_id"]
        assert str(rejected.id) not in loaded(log)
        assert live.parent_id == rejected.parent_id

        tell(GenerateRequested(campaign_id=campaign_id, count=4, target={"gap_ev": 4.0}, seed=1))
        wait_for(lambda: [event["sampled"] for event in told(CandidatesProposed)] == [4])

    card = read_card(Path(live.path), role="generator")
    assert (card["labels"]["training"], card["labels"]["held_out"]) == (9, 3)
    assert card["parent"]["sha256"] == parent_of(database, live)
    scores = live.metrics
    assert scores["candidate"]["base_loss"] < scores["live"]["base_loss"]
    assert len(scores["candidate"]["held_out_loss"]) == 3


def parent_of(database: Database, live: models.Model) -> str:
    """SHA-256 of what a model was trained from."""
    assert live.parent_id is not None
    with database.transaction() as connection:
        return models.get(connection, live.parent_id).sha256
