"""The services of the installation keep the contract."""

import random
from collections.abc import Sequence
from uuid import UUID, uuid4

from many_candidates import FIRST, calculation, fill
from tests.contracts.consumers.contract import ConsumerContract

from gapsmith.coordinator.service import CoordinatorService
from gapsmith.core.messages import (
    EVENTS,
    CalculationFinished,
    CalculationRequested,
    CampaignChanged,
    CandidatesProposed,
    CandidatesScored,
    Event,
    GenerateRequested,
    ModelPromoted,
    TrainingFinished,
    TrainingRequested,
)
from gapsmith.dft_queue.service import DftQueueService
from gapsmith.generator.service import GeneratorService
from gapsmith.store import campaigns, candidates, models
from gapsmith.store.database import Database
from gapsmith.surrogate.service import SurrogateService
from gapsmith.trainer.service import TrainerService


def campaign_and_model(database: Database) -> tuple[UUID, UUID]:
    """A running campaign with candidates in many states, and the live surrogate that has scored them."""
    fill(database, most=24)
    with database.transaction() as connection:
        campaign, model = campaigns.by_name(connection, FIRST), models.live(connection, "surrogate")
    assert campaign is not None
    assert model is not None
    return campaign.id, model.id


def ids(database: Database, column: str, campaign: UUID, state: str) -> tuple[UUID, ...]:
    """Of candidates in a state, or of what belongs to them."""
    with database.transaction() as connection:
        found = connection.execute(
            "SELECT * FROM candidates WHERE campaign_id = %s AND state = %s ORDER BY id", (campaign, state)
        )
        return tuple(row[column] for row in found)


class TestCoordinator(ConsumerContract):
    """Steers a campaign after every event."""

    service = CoordinatorService
    handled = (CalculationFinished, CandidatesScored, CandidatesProposed, TrainingFinished, CampaignChanged)

    def world(self, database: Database) -> Sequence[Event]:
        campaign, model = campaign_and_model(database)
        chosen, conformer = (ids(database, column, campaign, "scored")[0] for column in ("id", "relaxed_conformer_id"))
        with database.transaction() as connection:
            finished = calculation(connection, conformer, 4.0, random.Random(1))
            assert finished is not None
            candidates.select(connection, chosen, finished)
        scored, proposed = (ids(database, "id", campaign, state) for state in ("scored", "proposed"))
        return [
            CalculationFinished(calculation_id=finished, state="done"),
            CandidatesScored(campaign_id=campaign, candidate_ids=scored, model_id=model, rescored=True),
            CandidatesProposed(campaign_id=campaign, candidate_ids=proposed, sampled=20, refused={"unknown": 1}),
            TrainingFinished(campaign_id=campaign, role="surrogate", model_id=None, promoted=False, verdict="worse"),
            CampaignChanged(campaign_id=campaign, state="running"),
        ]


class TestDftQueue(ConsumerContract):
    """Remembers whom to wake."""

    service = DftQueueService
    handled = (CalculationRequested,)
    writes = False

    def world(self, database: Database) -> Sequence[Event]:
        campaign, _ = campaign_and_model(database)
        return [CalculationRequested(calculation_id=ids(database, "triage_id", campaign, "labelled")[0])]


class TestGenerator(ConsumerContract):
    """Queues requests."""

    service = GeneratorService
    handled = (GenerateRequested,)

    def world(self, database: Database) -> Sequence[Event]:
        campaign, _ = campaign_and_model(database)
        return [GenerateRequested(campaign_id=campaign, count=10, target={"gap_ev": 4.0}, seed=1)]


class TestSurrogate(ConsumerContract):
    """Queues candidates in chunks, and a second judgement of those that wait."""

    service = SurrogateService
    handled = (CandidatesProposed, ModelPromoted)

    def world(self, database: Database) -> Sequence[Event]:
        campaign, model = campaign_and_model(database)
        many = tuple(uuid4() for _ in range(20))
        return [
            CandidatesProposed(campaign_id=campaign, candidate_ids=many, sampled=20, refused={}),
            ModelPromoted(role="surrogate", model_id=model),
        ]


class TestTrainer(ConsumerContract):
    """Queues trainings."""

    service = TrainerService
    handled = (TrainingRequested,)

    def world(self, database: Database) -> Sequence[Event]:
        campaign, _ = campaign_and_model(database)
        return [TrainingRequested(campaign_id=campaign, role="surrogate", labels=40, steps=10)]


def test_every_event_is_handled_by_some_service() -> None:
    contracts = (TestCoordinator, TestDftQueue, TestGenerator, TestSurrogate, TestTrainer)
    assert {event for contract in contracts for event in contract.handled} == set(EVENTS.values())
