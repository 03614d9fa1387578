"""Leases in a real Postgres: one owner at a time, and only the owner stores anything."""

import threading
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pytest

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Level, Molecule
from gapsmith.core.errors import CalculationError, FailureClass, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import depth, make_app, ring
from gapsmith.dft_queue.jobs import CalculationOutput
from gapsmith.dft_queue.outcomes import store_failure, store_output
from gapsmith.store import calculations, candidates
from gapsmith.store.database import Database

pytestmark = pytest.mark.timeout(200)

HYDROGEN = Molecule(
    numbers=np.array([1, 1], dtype=np.uint8),
    coordinates=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]),
    charges=np.zeros(2, dtype=np.int8),
    bonds=np.array([[0, 1, 1]], dtype=np.int16),
)
OUTPUT = CalculationOutput(
    gap_ev=12.0,
    homo_ev=-11.0,
    lumo_ev=1.0,
    energy_hartree=-1.17,
    dipole_debye=0.0,
    mulliken_e=(0.0, 0.0),
    rung="diis",
    wall_s=0.1,
    cpu_s=0.1,
    coordinates_angstrom=((0.0, 0.0, 0.0), (0.0, 0.0, 0.75)),
    relaxation_steps=2,
)


@dataclass
class Store:
    """Requests on one database."""

    database: Database

    def request(self, length: float = 0.74, priority: int = 0, level: Level = Level.CERTIFICATE) -> UUID:
        """A hydrogen molecule of some length."""
        coordinates = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]])
        molecule = Molecule(HYDROGEN.numbers, coordinates, HYDROGEN.charges, HYDROGEN.bonds)
        with self.database.transaction() as connection:
            conformer = candidates.add_conformer(connection, molecule, method="test", molecule_id=None)
            return calculations.request(
                connection,
                content_hash=content_hash(molecule.numbers, coordinates, 0, 0, level),
                level=level,
                conformer_id=conformer,
                campaign_id=None,
                priority=priority,
            ).id

    def claim(self, owner: str, lease_s: float = 30.0) -> calculations.Calculation | None:
        """The most urgent one."""
        with self.database.transaction() as connection:
            return calculations.claim(connection, owner, lease_s)

    def expire(self) -> list[UUID]:
        """Let all leases run out, and sweep."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE calculations SET lease_expires_at = now() - interval '1 s' WHERE state = 'running'"
            )
            swept = calculations.sweep(connection)
            connection.execute("UPDATE calculations SET not_before = now()")
        return swept

    def count(self, table: str, where: str = "true") -> int:
        """Rows of a table."""
        with self.database.transaction() as connection:
            row = connection.execute(f"SELECT count(*) AS n FROM {table} WHERE {where}").fetchone()
        assert row is not None
        return int(row["n"])


@pytest.fixture
def store(database: Database) -> Store:
    """Requests on the test's database."""
    return Store(database)


def test_one_content_is_one_calculation(store: Store) -> None:
    assert store.request() == store.request()
    assert store.request() != store.request(length=0.76)
    assert store.count("calculations") == 2


def test_of_many_claims_one_wins(store: Store) -> None:
    ids = {store.request(length=0.7 + 0.01 * i) for i in range(10)}
    won: list[UUID] = []
    barrier = threading.Barrier(4)

    def claim_all(name: str) -> None:
        barrier.wait()
        while (found := store.claim(name)) is not None:
            won.append(found.id)

    threads = [threading.Thread(target=claim_all, args=(f"worker-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 10
    assert set(won) == ids


def test_the_most_urgent_is_claimed_first(store: Store) -> None:
    store.request(length=0.70)
    urgent = store.request(length=0.71, priority=5)
    claimed = store.claim("a")
    assert claimed is not None
    assert claimed.id == urgent
    assert claimed.attempts == 1


def test_certificates_leave_every_second_worker_to_what_is_short(store: Store) -> None:
    first, second = (store.request(length, priority=9) for length in (0.7, 0.71))
    label = store.request(0.8, level=Level.TRIAGE)
    claimed = [store.claim(f"w{number}") for number in range(4)]
    assert [one.id if one else None for one in claimed] == [first, label, second, None]


def test_who_lost_the_lease_stores_nothing(store: Store) -> None:
    calculation_id = store.request()
    first = store.claim("first")
    assert first is not None
    assert store.expire() == [calculation_id]
    second = store.claim("second")
    assert second is not None
    assert (second.id, second.attempts, second.losses) == (calculation_id, 2, 1)
    conformers = store.count("conformers")
    assert not store_output(store.database, first, "first", HYDROGEN, OUTPUT)
    assert not store_failure(store.database, first, "first", CalculationError(FailureClass.CHEMISTRY, "late"))
    assert store.count("conformers") == conformers
    assert store.count("outbox", "topic = 'gapsmith.calculation.finished'") == 0
    assert store_output(store.database, second, "second", HYDROGEN, OUTPUT)
    assert not store_output(store.database, second, "second", HYDROGEN, OUTPUT)
    assert store.count("outbox", "topic = 'gapsmith.calculation.finished'") == 1
    with store.database.transaction() as connection:
        done = calculations.get(connection, calculation_id)
        assert done is not None
        assert done.result_conformer_id is not None
        relaxed = candidates.conformer(connection, done.result_conformer_id)
    assert (done.state, done.gap_ev) == ("done", 12.0)
    np.testing.assert_allclose(relaxed.coordinates, OUTPUT.coordinates_angstrom)
    np.testing.assert_array_equal(relaxed.bonds, HYDROGEN.bonds)


def test_three_lost_workers_quarantine_a_calculation(store: Store) -> None:
    calculation_id = store.request()
    for attempt in range(1, calculations.MOST_LOSSES + 1):
        claimed = store.claim(f"worker-{attempt}")
        assert claimed is not None
        assert claimed.attempts == attempt
        assert store.expire() == [calculation_id]
    assert store.claim("another") is None
    with store.database.transaction() as connection:
        found = calculations.get(connection, calculation_id)
    assert found is not None
    assert (found.state, found.failure_class) == ("failed", "poison")
    assert "3 times" in (found.failure_reason or "")
    assert store.count("outbox", "topic = 'gapsmith.calculation.finished'") == 1


@pytest.mark.parametrize(
    ("failure_class", "attempts"),
    [(FailureClass.CHEMISTRY, 1), (FailureClass.POISON, 1), (FailureClass.TRANSIENT, calculations.MOST_TRANSIENT)],
)
def test_every_failure_class_has_its_own_patience(store: Store, failure_class: FailureClass, attempts: int) -> None:
    store.request()
    for attempt in range(attempts):
        claimed = store.claim(f"worker-{attempt}")
        assert claimed is not None
        assert store_failure(store.database, claimed, f"worker-{attempt}", CalculationError(failure_class, "no"))
        with store.database.transaction() as connection:
            connection.execute("UPDATE calculations SET not_before = now()")
    assert store.claim("another") is None
    assert store.count("calculations", "state = 'failed'") == 1


def test_the_broker_counts_what_waits_and_an_absent_one_is_named(store: Store, settings: Settings) -> None:
    app = make_app(settings)
    assert depth(app) == 0
    ring(app, [store.request(), store.request(length=0.8)])
    assert depth(app) == 2
    absent = make_app(Settings.model_validate({"celery_broker_url": "redis://:secret@127.0.0.1:1/0"}))
    for call in (lambda: depth(absent), lambda: ring(absent, [store.request()])):
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as caught:
            call()
        assert "secret" not in str(caught.value)
