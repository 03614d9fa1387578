"""Leases in a real Postgres: one owner at a time, and only the owner stores anything."""

import gzip
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError, FailureClass, UnavailableError
from gapsmith.core.levels import GFN2, LevelOfTheory, shipped
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import depth, make_app, ring
from gapsmith.dft_queue.jobs import CalculationOutput
from gapsmith.dft_queue.outcomes import store_failure, store_output
from gapsmith.store import attempts, calculations, candidates, conformers
from gapsmith.store.database import Database

TRIAGE, CERTIFICATE, XTB = (shipped()[name] for name in ("triage", "certificate", "xtb"))
pytestmark = pytest.mark.timeout(600)

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
    host="here",
)


@dataclass
class Store:
    """Requests on one database."""

    database: Database

    def request(self, length: float = 0.74, priority: int = 0, level: LevelOfTheory = CERTIFICATE) -> UUID:
        """A hydrogen molecule of some length."""
        coordinates = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]])
        molecule = Molecule(HYDROGEN.numbers, coordinates, HYDROGEN.charges, HYDROGEN.bonds)
        with self.database.transaction() as connection:
            conformer = candidates.add_conformer(connection, molecule, method=GFN2, molecule_id=None)
            return calculations.request(
                connection,
                content_hash=content_hash(molecule.numbers, coordinates, 0, 0, level, GFN2),
                level=level,
                conformer_id=conformer,
                campaign_id=None,
                priority=priority,
            ).id

    def claim(self, owner: str, lease_s: float = 30.0, **where: Any) -> calculations.Calculation | None:
        """The most urgent one."""
        with self.database.transaction() as connection:
            return calculations.claim(connection, owner, lease_s, **where)

    def store(self, claimed: calculations.Calculation, owner: str, output: CalculationOutput = OUTPUT) -> bool:
        """A result."""
        return store_output(self.database, claimed, owner, CERTIFICATE, output, Path("nowhere"))

    def fail(
        self, claimed: calculations.Calculation, owner: str, failure_class: FailureClass, reason: str = "no"
    ) -> bool:
        """A failed attempt; what waits after it is due at once."""
        stored = store_failure(self.database, claimed, owner, CalculationError(failure_class, reason), "the log's end")
        with self.database.transaction() as connection:
            connection.execute("UPDATE calculations SET not_before = now()")
        return stored

    def attempts(self, calculation_id: UUID) -> list[attempts.Attempt]:
        """Its story."""
        with self.database.transaction() as connection:
            return attempts.of(connection, [calculation_id])[calculation_id]

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
    label = store.request(0.8, level=TRIAGE)
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
    before = store.count("conformers")
    assert not store.store(first, "first")
    assert not store.fail(first, "first", FailureClass.CHEMISTRY)
    assert store.count("conformers") == before
    assert store.count("outbox", "topic = 'gapsmith.calculation.finished'") == 0
    assert store.store(second, "second")
    assert not store.store(second, "second")
    assert store.count("outbox", "topic = 'gapsmith.calculation.finished'") == 1
    with store.database.transaction() as connection:
        done = calculations.get(connection, calculation_id)
        assert done is not None
        assert done.result_conformer_id is not None
        stored = conformers.get(connection, done.result_conformer_id)
    relaxed = stored.molecule
    assert stored.method == CERTIFICATE.own_geometry
    assert (done.state, done.gap_ev) == ("done", 12.0)
    assert OUTPUT.coordinates_angstrom is not None
    np.testing.assert_allclose(relaxed.coordinates, OUTPUT.coordinates_angstrom)
    np.testing.assert_array_equal(relaxed.bonds, HYDROGEN.bonds)


def test_three_lost_workers_quarantine_a_calculation(store: Store) -> None:
    calculation_id = store.request()
    for attempt in range(1, calculations.BUDGET[FailureClass.COMPUTE_LOST] + 1):
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
    [
        (FailureClass.CHEMISTRY, 1),
        (FailureClass.POISON, 1),
        (FailureClass.TRANSIENT, calculations.BUDGET[FailureClass.TRANSIENT]),
    ],
)
def test_every_failure_class_has_its_own_patience(store: Store, failure_class: FailureClass, attempts: int) -> None:
    store.request()
    for attempt in range(attempts):
        claimed = store.claim(f"worker-{attempt}")
        assert claimed is not None
        assert store.fail(claimed, f"worker-{attempt}", failure_class)
    assert store.claim("another") is None
    assert store.count("calculations", "state = 'failed'") == 1


def test_one_class_of_failures_does_not_spend_the_budget_of_another(store: Store) -> None:
    store.request()
    classes = [FailureClass.TRANSIENT, FailureClass.COMPUTE_LOST] * 2
    for number, failure_class in enumerate(classes):
        claimed = store.claim(f"w{number}", host=f"host-{number}")
        assert claimed is not None
        assert store.fail(claimed, f"w{number}", failure_class)
    claimed = store.claim("last")
    assert claimed is not None
    assert (claimed.attempts, claimed.losses, claimed.transients) == (5, 2, 2)
    assert store.store(claimed, "last")
    story = [(one.outcome, one.failure_class) for one in store.attempts(claimed.id)]
    assert story == [("failed", "transient"), ("lost", "compute_lost")] * 2 + [("done", None)]
    assert store.attempts(claimed.id)[0].log_tail == "the log's end"


def test_a_failure_that_passes_waits_longer_every_time(store: Store) -> None:
    calculation_id = store.request()
    waits = []
    for number in range(3):
        claimed = store.claim(f"w{number}")
        assert claimed is not None
        assert store_failure(store.database, claimed, f"w{number}", CalculationError(FailureClass.TRANSIENT, "no"))
        assert store.claim("too early") is None
        with store.database.transaction() as connection:
            row = connection.execute(
                "UPDATE calculations SET not_before = now() WHERE id = %s RETURNING "
                "(SELECT extract(epoch FROM not_before - now()) FROM calculations WHERE id = %s)::float AS s",
                (calculation_id, calculation_id),
            ).fetchone()
        assert row is not None
        waits.append(row["s"])
    assert waits[0] < waits[1] < waits[2]


def test_workers_take_only_their_queues(store: Store) -> None:
    short, long = store.request(0.70, level=XTB), store.request(0.71, priority=9)
    claimed = [store.claim("a", queues=["xtb"]), store.claim("b", queues=["xtb"]), store.claim("c", queues=["dft"])]
    assert [one.id if one else None for one in claimed] == [short, None, long]


def lose(store: Store, host: str, calculations_: int, times: int = 1) -> None:
    for number in range(calculations_):
        store.request(length=0.7 + 0.01 * store.count("calculations"), priority=number)  # the newest is taken first
        for attempt in range(times):
            owner = f"{host}-{number}-{attempt}"
            claimed = store.claim(owner, host=host)
            assert claimed is not None
            assert store.fail(claimed, owner, FailureClass.COMPUTE_LOST)


def test_a_host_that_loses_one_calculation_after_another_is_closed_for_a_while(store: Store) -> None:
    lose(store, "bad", attempts.BAD_IN_A_ROW)
    assert store.claim("w", host="bad") is None
    good = store.claim("w", host="good")
    assert good is not None
    with store.database.transaction() as connection:
        assert attempts.suspended(connection, "bad") is not None
        assert attempts.suspended(connection, "good") is None
        connection.execute("UPDATE attempts SET ended_at = ended_at - interval '2 minutes'")
    probe = store.claim("probe", host="bad")
    assert probe is not None
    assert store.claim("second", host="bad") is None  # one at a time, until one went well
    assert store.store(probe, "probe")
    assert store.claim("second", host="bad") is not None


def test_one_bad_molecule_does_not_close_a_host(store: Store) -> None:
    lose(store, "host", 2, times=calculations.BUDGET[FailureClass.COMPUTE_LOST])
    store.request(length=0.9)
    assert store.claim("w", host="host") is not None


def test_files_of_a_result_are_kept_with_it(store: Store, tmp_path: Path) -> None:
    calculation_id = store.request()
    claimed = store.claim("w")
    assert claimed is not None
    (tmp_path / "homo.cube").write_text("cube" * 1000)
    output = OUTPUT.model_copy(update={"files": ("homo.cube",), "findings": ("odd",), "rearranged": "H1-H2 broke"})
    assert store_output(store.database, claimed, "w", CERTIFICATE, output, tmp_path)
    with store.database.transaction() as connection:
        row = connection.execute("SELECT * FROM calculation_files").fetchone()
        done = connection.execute("SELECT * FROM calculations WHERE id = %s", (calculation_id,)).fetchone()
    assert row is not None
    assert gzip.decompress(row["content"]).decode() == "cube" * 1000
    assert (row["name"], row["size_bytes"]) == ("homo.cube", 4000)
    assert done is not None
    assert (done["findings"], done["rearranged"], done["host"]) == (["odd"], "H1-H2 broke", "here")


def test_the_broker_counts_what_waits_and_an_absent_one_is_named(store: Store, settings: Settings) -> None:
    app = make_app(settings)
    assert depth(app, "dft") == 0
    ring(app, "dft", [store.request(), store.request(length=0.8)])
    assert (depth(app, "dft"), depth(app, "xtb")) == (2, 0)
    absent = make_app(Settings.model_validate({"celery_broker_url": "redis://:secret@127.0.0.1:1/0"}))
    for call in (lambda: depth(absent, "dft"), lambda: ring(absent, "dft", [store.request()])):
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as caught:
            call()
        assert "secret" not in str(caught.value)
