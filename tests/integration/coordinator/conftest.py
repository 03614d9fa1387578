"""A campaign's world on a real Postgres: everything around the coordinator is played by writing the rows it would."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from model_cards import card
from psycopg.types.json import Jsonb
from values import estimate

from gapsmith.bus.inlet import Inlet
from gapsmith.coordinator.service import CoordinatorService
from gapsmith.core.campaign import changed_target, parse_campaign
from gapsmith.core.chemistry.identity import Identity
from gapsmith.core.domain import Molecule
from gapsmith.core.messages import CalculationFinished, CandidatesProposed, CandidatesScored, Event, GenerateRequested
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns, candidates, inbox, models, outbox, requests, tasks
from gapsmith.store.campaigns import Campaign
from gapsmith.store.candidates import Prediction
from gapsmith.store.database import Connection, Database

WORKERS = 2


@dataclass
class Guess:
    """A molecule that the surrogate has scored."""

    mean_ev: float = 4.0
    std_ev: float = 0.2
    bits: tuple[int, ...] | None = None  # of the fingerprint; none: its own
    homo_ev: float | None = None  # predicted, too
    correlation: float = 0.0  # of the errors of both
    dipole_debye: float | None = None
    length_angstrom: float | None = None  # what two candidates must share to share a calculation; none: its own


@dataclass
class World:
    """Generator, surrogate and DFT workers of one database."""

    database: Database
    made: int = 0
    workers: int = WORKERS
    ahead: int = WORKERS + 1  # selections that are open at once
    guess: type[Guess] = Guess  # test modules cannot import this file
    model_ids: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()
        with self.database.transaction() as connection:
            self.model_ids.append(models.ensure_shipped(connection, Path("s"), card("surrogate", "0" * 64)))

    def restart(self) -> None:
        """A new coordinator process: whatever the old one had in memory is gone."""
        self.service = CoordinatorService(Settings(dft_workers=WORKERS), self.database)
        self.inlet = Inlet(
            self.service.settings, self.database, self.service.name, self.service.handlers(), self.service.wake.set
        )

    def campaign(self, name: str = "test", **sections: Any) -> Campaign:
        """Start a campaign for 4.0 ± 0.1 eV; sections as in the campaign file."""
        raw: dict[str, Any] = {
            "name": name,
            "target": {"value": 4.0},
            "budget": {"dft_jobs": 6},
            "acquisition": {"pool": 8, "diversity": 0.0},
            "exploration": {"batch": 10},
            "retraining": {"every_labels": 3},
        }
        for key, section in sections.items():
            raw[key] = {**raw.get(key, {}), **section}
        with self.database.transaction() as connection:
            return campaigns.create(connection, parse_campaign(raw), source="test")

    def retarget(self, campaign: Campaign, wanted: Any) -> Campaign:
        """Its user gives it another target, as a campaign file has it; the coordinator hears of it."""
        with self.database.transaction() as connection:
            target = changed_target(campaign.config, wanted)
            campaigns.retarget(connection, campaign.id, target, source="cli")
        self.news()
        return self.look(campaign)

    def news(self) -> None:
        """The coordinator hears what it has not heard yet, by the way that events take when the broker is gone."""
        while self.inlet.catch_up(0.0):
            pass

    def tick(self) -> None:
        """A second passes."""
        self.service._ticked = -10.0
        self.service.work()

    def tell(self, event: Event) -> UUID:
        """An event of another service."""
        with self.database.transaction() as connection:
            if isinstance(event, CandidatesProposed):
                return requests.tell(connection, event, source="test")
            return outbox.emit(connection, event, source="test")

    def score(self, campaign: Campaign, guesses: Sequence[Guess]) -> list[UUID]:
        """The surrogate has scored new candidates."""
        with self.database.transaction() as connection:
            made = [self._candidate(connection, campaign, guess) for guess in guesses]
            outbox.emit(
                connection,
                CandidatesScored(campaign_id=campaign.id, candidate_ids=tuple(made), model_id=self.model_ids[-1]),
                source="surrogate",
            )
        return made

    def _candidate(self, connection: Connection, campaign: Campaign, guess: Guess) -> UUID:
        self.made += 1
        unpacked = np.zeros(2048, dtype=np.uint8)
        unpacked[list(guess.bits) if guess.bits else [self.made % 2048]] = 1
        identity = Identity(
            f"KEY-{self.made}", f"C{'C' * (self.made % 8)}", "CH4", 1, 1.0, np.packbits(unpacked).tobytes()
        )
        length = guess.length_angstrom or 1.0 + 0.01 * self.made
        molecule = Molecule(
            np.array([6, 8], dtype=np.uint8),
            np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]]),
            np.zeros(2, dtype=np.int8),
            np.array([[0, 1, 2]], dtype=np.int16),
        )
        candidate_id, is_open = candidates.propose(
            connection, campaign.id, molecule, identity, model_id=self.model_ids[0], in_qm9=False
        )
        assert is_open
        relaxed = candidates.add_conformer(connection, molecule, method="gfn2-xtb", molecule_id=None)
        said = {"gap": guess.mean_ev, "homo": guess.homo_ev, "dipole": guess.dipole_debye}
        estimates = {name: estimate(mean, guess.std_ev) for name, mean in said.items() if mean is not None}
        prediction = Prediction(candidate_id, estimates, False, {"gap homo": guess.correlation})
        candidates.score(connection, relaxed, prediction, self.model_ids[-1])
        return candidate_id

    def rescore(self, campaign: Campaign, means: dict[UUID, float]) -> None:
        """A new model is live and has judged what waits."""
        with self.database.transaction() as connection:
            model_id = uuid4()
            parent = self.model_ids[-1]
            models.add(
                connection,
                model_id,
                card("surrogate", model_id.hex * 2),
                parent_id=parent,
                path=Path("s"),
                metrics={},
                labels=3,
                campaign_id=campaign.id,
            )
            models.promote(connection, model_id, "better by 20 meV", source="trainer")
            candidates.predict(
                connection,
                [Prediction(key, {"gap": estimate(mean, 0.2)}, False) for key, mean in means.items()],
                model_id,
            )
            self.model_ids.append(model_id)
            outbox.emit(
                connection,
                CandidatesScored(campaign_id=campaign.id, candidate_ids=tuple(means), model_id=model_id, rescored=True),
                source="surrogate",
            )

    def answer(self, campaign: Campaign, make: Callable[[], Sequence[Guess]]) -> int:
        """The generator and the surrogate answer all open requests; returns how many there were."""
        with self.database.transaction() as connection:
            open_requests = outbox.unhandled(connection, "generator", [GenerateRequested.TOPIC], 0.0)
        for request in open_requests:
            guesses = list(make())
            with self.database.transaction() as connection:
                inbox.take(connection, request.id, "generator")
                made = tuple(self._candidate(connection, campaign, guess) for guess in guesses)
                self._task(connection, request.id, "generator", campaign)
                proposed = requests.tell(
                    connection,
                    CandidatesProposed(campaign_id=campaign.id, candidate_ids=made, sampled=10, refused={}),
                    source="generator",
                )
                self._task(connection, proposed, "surrogate", campaign)
                if made:
                    outbox.emit(
                        connection,
                        CandidatesScored(campaign_id=campaign.id, candidate_ids=made, model_id=self.model_ids[-1]),
                        source="surrogate",
                    )
        return len(open_requests)

    def _task(self, connection: Connection, task_id: UUID, service: str, campaign: Campaign) -> None:
        tasks.add(connection, task_id, service=service, kind="test", payload={}, campaign_id=campaign.id)
        connection.execute("UPDATE tasks SET state = 'running' WHERE id = %s AND state = 'pending'", (task_id,))
        connection.execute(
            "UPDATE tasks SET state = 'done', finished_at = now() WHERE id = %s AND state = 'running'", (task_id,)
        )

    def begin(self) -> UUID | None:
        """A DFT worker takes the most urgent calculation."""
        rows = self.rows(
            """UPDATE calculations SET state = 'running', started_at = now(), attempts = attempts + 1 WHERE id = (
                   SELECT id FROM calculations WHERE state = 'queued' ORDER BY priority DESC, created_at, id LIMIT 1)
               RETURNING id"""
        )
        return rows[0]["id"] if rows else None

    def finish(self, calculation_id: UUID, gap_ev: float | None, failure: str | None = None, **more: float) -> None:
        """A DFT worker ends a calculation: with a gap and more, or a failure's reason; the coordinator hears of it."""
        with self.database.transaction() as connection:
            state = "failed" if failure else "done"
            connection.execute(
                """UPDATE calculations SET state = %s, gap_ev = %s, properties = %s, failure_class = %s, failure_reason = %s,
                          cpu_s = 20, wall_s = 21, finished_at = now(), result_conformer_id = conformer_id
                   WHERE id = %s""",
                (
                    state,
                    gap_ev,
                    Jsonb({} if gap_ev is None else {"gap": gap_ev, **more}),
                    "chemistry" if failure else None,
                    failure,
                    calculation_id,
                ),
            )
            outbox.emit(
                connection,
                CalculationFinished(calculation_id=calculation_id, state=state),
                source="dft_worker",
            )
        self.news()

    def compute(self, gap_ev: float | None, failure: str | None = None, **more: float) -> UUID:
        """Begin and end the most urgent calculation."""
        calculation_id = self.begin()
        assert calculation_id is not None, "no calculation waits"
        self.finish(calculation_id, gap_ev, failure, **more)
        return calculation_id

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Ask the database."""
        with self.database.transaction() as connection:
            return connection.execute(query, values).fetchall()

    def events(self, event: type[Event]) -> list[dict[str, Any]]:
        """Data of all events of a type, in order."""
        rows = self.rows("SELECT envelope -> 'data' AS data FROM outbox WHERE type = %s ORDER BY sequence", event.TYPE)
        return [row["data"] for row in rows]

    def guesses(self, *means_ev: float) -> list[Guess]:
        """Molecules with these predicted gaps."""
        return [Guess(mean_ev) for mean_ev in means_ev]

    def open_triage(self) -> int:
        """How many candidates are selected."""
        return len(self.rows("SELECT 1 FROM candidates WHERE state = 'selected'"))

    def state(self, candidate_id: UUID) -> dict[str, Any]:
        """A candidate's row."""
        return self.rows("SELECT * FROM candidates WHERE id = %s", candidate_id)[0]

    def look(self, campaign: Campaign) -> Campaign:
        """The campaign as it is now."""
        with self.database.transaction() as connection:
            return campaigns.get(connection, campaign.id)


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    """A database with a coordinator."""
    with Database(postgres_url) as database:
        yield World(database)
