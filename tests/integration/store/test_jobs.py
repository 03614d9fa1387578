"""What people ask of the DFT queue, against a real Postgres: states as workers leave them, commands as they are typed."""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gapsmith.cli.main import cli
from gapsmith.core.calculation import content_hash
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError, DataError, FailureClass, FailureCode, InputError
from gapsmith.core.levels import GFN2, LevelOfTheory, shipped
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import settings
from gapsmith.dft_queue.child import RAISE_MEMORY
from gapsmith.dft_queue.jobs import CalculationOutput
from gapsmith.dft_queue.outcomes import store_failure, store_output
from gapsmith.store import calculations, campaigns, candidates, heartbeats, jobs, levels, outbox
from gapsmith.store.database import Database
from gapsmith.store.jobs import JobFilter, JobState

pytestmark = pytest.mark.timeout(600)
TRIAGE, CERTIFICATE = shipped()["triage"], shipped()["certificate"]
CUBE = b"a cube\n" * 100


def hydrogen(length: float) -> Molecule:
    return Molecule(
        np.array([1, 1], dtype=np.uint8),
        np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]]),
        np.zeros(2, dtype=np.int8),
        np.array([[0, 1, 1]], dtype=np.int16),
    )


@dataclass
class Queue:
    """A queue, its workers, and the commands that ask it."""

    database: Database
    folder: Path
    made: int = 0

    def ask(self, level: LevelOfTheory = TRIAGE, priority: int = 0, campaign_id: UUID | None = None) -> UUID:
        """A hydrogen molecule that nobody asked for before."""
        self.made += 1
        return self.ask_again(level, priority, campaign_id).id

    def ask_again(
        self, level: LevelOfTheory, priority: int = 0, campaign_id: UUID | None = None
    ) -> calculations.Calculation:
        """The newest molecule once more, at a level whose limits may be others."""
        molecule = hydrogen(0.6 + 0.001 * self.made)
        with self.database.transaction() as connection:
            return calculations.request(
                connection,
                content_hash=content_hash(molecule.numbers, molecule.coordinates, 0, 0, level, GFN2),
                level=level,
                conformer_id=candidates.add_conformer(connection, molecule, method=GFN2, molecule_id=None),
                campaign_id=campaign_id,
                priority=priority,
            )

    def claim(self) -> calculations.Calculation:
        """A worker takes the most urgent one."""
        with self.database.transaction() as connection:
            found = calculations.claim(connection, "node7-42-a", 30.0, host="node7")
        assert found is not None
        return found

    def fail(self, failure_class: FailureClass, reason: str, code: FailureCode = FailureCode.OTHER) -> UUID:
        """A worker fails on the most urgent one."""
        failure = CalculationError(failure_class, reason, code)
        taken = self.claim()
        assert store_failure(self.database, taken, "node7-42-a", failure, "last words")
        with self.database.transaction() as connection:
            connection.execute("UPDATE calculations SET not_before = now()")
        return taken.id

    def finish(self, findings: tuple[str, ...] = ()) -> UUID:
        """A worker computes the most urgent one."""
        taken = self.claim()
        (self.folder / "homo.cube").write_bytes(CUBE)
        output = CalculationOutput(
            energy_hartree=-1.17,
            gap_ev=12.3456,
            homo_ev=-11.0,
            lumo_ev=1.3456,
            dipole_debye=0.0,
            mulliken_e=(0.25, -0.25),
            wavenumbers_cm1=(4400.5,),
            coordinates_angstrom=((0.0, 0.0, 0.0), (0.0, 0.0, 0.75)),
            rung="level-shift",
            findings=findings,
            files=("homo.cube",),
            wall_s=1.5,
            cpu_s=1.4,
            host="node7",
            software={"pyscf": "9.9"},
        )
        assert store_output(self.database, taken, "node7-42-a", TRIAGE, output, self.folder, "converged")
        return taken.id

    def run(self, *words: object) -> Result:
        """A command."""
        return CliRunner().invoke(cli, ["jobs", *map(str, words)])

    def say(self, *words: object) -> str:
        """What a command that must work prints."""
        result = self.run(*words)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def table(self, *words: object) -> list[dict[str, str]]:
        """``jobs list`` in a pipe."""
        header, *lines = self.say("list", *words).splitlines() or [""]
        return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]

    def state(self, job: UUID) -> calculations.Calculation:
        """A row."""
        with self.database.transaction() as connection:
            found = calculations.get(connection, job)
        assert found is not None
        return found

    def told(self, topic: str) -> list[dict[str, object]]:
        """Data of events, in order."""
        with self.database.transaction() as connection:
            found = outbox.unhandled(connection, "nobody", [f"gapsmith.{topic}"], -10.0)
        return [one.envelope.data for one in found]


@pytest.fixture
def queue(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue that the commands find."""
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    settings.cache_clear()
    yield Queue(database, tmp_path)
    settings.cache_clear()


def everything(queue: Queue) -> dict[str, UUID]:
    """A job in every state."""
    found = {"done": queue.ask()}
    queue.finish()
    found["failed"] = queue.ask(CERTIFICATE)
    queue.fail(FailureClass.CHEMISTRY, "the SCF did not converge on any rung", FailureCode.SCF)
    found["quarantined"] = queue.ask()
    for _ in range(calculations.BUDGET[FailureClass.COMPUTE_LOST]):
        queue.fail(FailureClass.COMPUTE_LOST, "it was killed by signal 9", FailureCode.PROCESS)
    found["cancelled"] = queue.ask()
    assert len(_by_id(queue, found["cancelled"], "cancel")) == 1
    found["running"] = queue.ask(priority=9)
    assert queue.claim().id == found["running"]
    found["queued"] = queue.ask()
    return found


def _by_id(queue: Queue, job: UUID, what: str) -> list[jobs.Changed]:
    with queue.database.transaction() as connection:
        return {"cancel": jobs.cancel, "retry": jobs.retry}[what](connection, JobFilter(ids=(job,)))


def test_the_list_tells_states_apart_and_filters(queue: Queue) -> None:
    made = everything(queue)
    assert {row["id"]: row["state"] for row in queue.table()} == {str(job): state for state, job in made.items()}
    first = {row["state"]: row for row in queue.table()}
    assert first["done"]["gap (eV)"] == "12.346"
    assert (first["done"]["rung"], first["done"]["host"], first["done"]["molecule"]) == ("level-shift", "node7", "H2")
    assert first["quarantined"]["attempts"] == "3"
    assert "killed by signal 9" in first["quarantined"]["reason"]
    assert first["running"]["priority"] == "9"
    wanted: list[tuple[list[str], set[str]]] = [
        (["--state", "failed"], {"failed", "quarantined"}),
        (["--state", "quarantined"], {"quarantined"}),
        (["--state", "queued,running"], {"queued", "running"}),
        (["--state", "quarantined,done"], {"quarantined", "done"}),
        (["--class", "chemistry"], {"failed"}),
        (["--level", "certificate"], {"failed"}),
        (["--state", "done", "--level", "certificate"], set()),
    ]
    for words, states in wanted:
        assert {row["state"] for row in queue.table(*words)} == states, words
    result = queue.run("list")
    assert "1 queued, 1 running, 1 done, 1 failed, 1 quarantined, 1 cancelled" in result.stderr
    as_json = json.loads(queue.say("list", "--json", "--state", "done"))
    assert [one["id"] for one in as_json] == [str(made["done"])]
    assert as_json[0]["gap_ev"] == 12.3456


def test_pages_hold_everything_once_newest_first(queue: Queue) -> None:
    made = [queue.ask() for _ in range(7)]
    with queue.database.transaction() as connection:  # as many as were asked for in one transaction have one time
        connection.execute("UPDATE calculations SET created_at = now() WHERE id = ANY(%s)", (made[3:6],))
    seen: list[str] = []
    while page := queue.table("--limit", 2, *(["--before", seen[-1][:8]] if seen else [])):
        assert len(page) <= 2
        seen += [row["id"] for row in page]
    assert sorted(seen) == sorted(map(str, made))
    assert set(seen[:3]) == set(map(str, made[3:6]))  # touched last
    assert seen[3:] == [str(made[place]) for place in (6, 2, 1, 0)]
    assert "--before" in queue.run("list", "--limit", 2).stderr
    assert "--before" not in queue.run("list", "--limit", 7).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "--campaign", "none"], "no campaign is called 'none'"),
        (["list", "--level", "triag"], "no job is of level 'triag'; did you mean 'triage'?"),
        (["list", "--state", "quarantine"], "did you mean 'quarantined'?"),
        (["show", "ffff"], "no job has an id that begins with 'ffff'"),
        (["show", "xyz"], "is no id of a job"),
        (["retry"], "which jobs?"),
        (["cancel"], "which jobs?"),
    ],
)
def test_what_cannot_be_meant_is_explained(queue: Queue, words: Sequence[str], message: str) -> None:
    queue.ask()
    result = queue.run(*words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_an_id_is_known_by_its_beginning(queue: Queue) -> None:
    one = queue.ask()
    other = UUID(f"{str(one)[:8]}-0000-4000-8000-000000000000")
    with queue.database.transaction() as connection:
        assert jobs.resolve(connection, [str(one), str(one)[:8].upper(), f" {str(one)[:20]}"]) == [one]
        assert jobs.resolve(connection, []) == []
        connection.execute(
            """INSERT INTO calculations (id, content_hash, level, level_version, conformer_id, state)
               SELECT %s, 'other', level, level_version, conformer_id, 'queued' FROM calculations""",
            (other,),
        )
        with pytest.raises(InputError, match="several jobs have ids that begin with"):
            jobs.resolve(connection, [str(one)[:8]])
        assert jobs.resolve(connection, [str(other), str(one)]) == [other, one]


def test_show_tells_everything_and_saves_files(queue: Queue, tmp_path: Path) -> None:
    queue.ask()
    done = queue.finish(findings=("one imaginary mode",))
    shown = queue.say("show", str(done)[:8], "--save", tmp_path / "saved")
    for words in [
        str(done),
        "basis 6-31g(2df,p)",
        "gap 12.345600 eV",
        "wavenumbers 4400.5 cm⁻¹",
        "mulliken 0.25 -0.25 e",
        "one imaginary mode",
        "pyscf 9.9",
        "1.4 CPU-seconds",
        "on node7, done after",
        "converged",
        "homo.cube",
    ]:
        assert words in shown, words
    assert (tmp_path / "saved" / "homo.cube").read_bytes() == CUBE
    atoms, comment, first, second, *_ = (tmp_path / "saved" / f"{str(done)[:8]}.xyz").read_text().splitlines()
    assert (atoms, first.split()) == ("2", ["H", "0.00000000", "0.00000000", "0.00000000"])
    assert float(second.split()[3]) == 0.75  # where the relaxation ended
    assert str(done) in comment
    with queue.database.transaction() as connection:
        connection.execute("UPDATE calculation_files SET content = %s", (gzip.compress(CUBE + b"!"),))
    result = queue.run("show", done, "--save", tmp_path / "saved")
    assert isinstance(result.exception, DataError)
    assert "damaged" in str(result.exception)
    with queue.database.transaction() as connection:
        connection.execute("UPDATE calculation_files SET content = 'not gzip'")
    assert isinstance(queue.run("show", done, "--save", tmp_path / "saved").exception, DataError)


def test_why_explains_every_state(queue: Queue) -> None:
    made = everything(queue)
    why = {state: queue.say("why", job) for state, job in made.items()}
    assert "a gap of 12.346 eV" in why["done"]
    assert "level-shift of the ladder" in why["done"]
    assert "It failed (chemistry): the SCF did not converge on any rung." in why["failed"]
    assert "look at geometry, charge and spin" in why["failed"]
    assert f"gapsmith jobs retry {str(made['failed'])[:8]}" in why["failed"]
    assert "It is quarantined" in why["quarantined"]
    assert why["quarantined"].count("on node7, lost after") == 3
    assert "memory" in why["quarantined"]
    assert "cancelled by its user" in why["cancelled"]
    assert "on node7, attempt 1" in why["running"]
    assert "holds it for" in why["running"]
    assert "No worker that takes the queue dft" in why["queued"]
    assert "0 of its queue come before it, and 1 are running" in why["queued"]
    both = queue.say("why", made["done"], made["failed"])
    assert why["done"].strip() in both
    assert why["failed"].strip() in both


def test_advice_follows_from_the_code_and_not_from_the_words(queue: Queue) -> None:
    for code, advice in {
        FailureCode.MEMORY: "memory_mb of the level",
        FailureCode.TIME: "time_limit_s of the level",
        FailureCode.SPIN: "the right --charge and --spin",
        FailureCode.LEVEL: "gapsmith dft levels",
        FailureCode.OTHER: "look at the reason and the end of its log",
    }.items():
        queue.ask()
        job = queue.fail(FailureClass.POISON, "the program says: SCF, memory, basis set, disk", code)
        assert advice in " ".join(queue.say("why", job).split())


def test_why_a_queued_job_waits(queue: Queue) -> None:
    with queue.database.transaction() as connection:
        campaign = campaigns.create(
            connection, parse_campaign({"name": "gaps", "target": {"value": 4.0}}), source="test"
        )
        campaigns.set_state(connection, campaign.id, CampaignState.PAUSED, source="test")
        heartbeats.beat(connection, "dft_worker", "idle", queues=["dft"], host="node-7")
        heartbeats.beat(connection, "dft_worker", "idle", queues=["xtb"], host="node-8")
    mine = queue.ask(campaign_id=campaign.id)
    assert "campaign gaps is paused" in queue.say("why", mine)
    assert "gapsmith campaign resume gaps" in queue.say("why", mine)
    assert "No worker" not in queue.say("why", mine)
    with queue.database.transaction() as connection:
        connection.execute("UPDATE heartbeats SET seen_at = now() - interval '10 minutes' WHERE host = 'node-7'")
    assert "No worker that takes the queue dft" in queue.say("why", mine)
    with queue.database.transaction() as connection:
        connection.execute("UPDATE heartbeats SET seen_at = now()")
    first, urgent = queue.ask(), queue.ask(priority=5)
    assert "0 of its queue come before it" in queue.say("why", urgent)
    assert "1 of its queue come before it" in queue.say("why", first)  # the paused campaign's does not count
    taken = queue.claim()
    store_failure(queue.database, taken, "node7-42-a", CalculationError(FailureClass.TRANSIENT, "disk full"), "")
    words = queue.say("why", urgent)
    assert "It backs off for" in words
    assert "Its last attempt failed (transient): disk full." in words
    assert next(row for row in queue.table() if row["id"] == str(urgent))["time"].startswith("in ")
    with queue.database.transaction() as connection:  # three jobs, one after another
        connection.execute("DELETE FROM attempts")
        connection.execute(
            """INSERT INTO attempts (calculation_id, owner, host, outcome, ended_at)
               SELECT id, 'x', 'node-7', 'lost', now() FROM calculations, generate_series(1, 2)"""
        )
    assert "Host node-7 gets no jobs until" in queue.say("why", first)


def test_retry_gives_fresh_budgets_and_wakes_workers(queue: Queue) -> None:
    made = everything(queue)
    asked = len(queue.told("calculation.requested"))
    assert queue.say("retry", "--state", "failed") == "2 jobs queued again\n"
    assert queue.say("retry", made["cancelled"], made["done"]) == (
        "1 job queued again; 1 job selected and left alone, not being failed or cancelled\n"
    )
    assert len(queue.told("calculation.requested")) == asked + 3
    for name in ("failed", "quarantined", "cancelled"):
        row = queue.state(made[name])
        assert (row.state, row.losses, row.transients, row.failure_class, row.failure_reason) == (
            "queued",
            0,
            0,
            None,
            None,
        )
    assert queue.state(made["done"]).state == "done"
    assert queue.state(made["quarantined"]).attempts == 3  # the story is not forgotten
    while queue.finish() != made["quarantined"]:
        pass
    assert queue.state(made["quarantined"]).state == "done"


def test_retry_leaves_an_ended_campaign(queue: Queue) -> None:
    with queue.database.transaction() as connection:
        config = parse_campaign({"name": "gaps", "target": {"value": 4.0}})
        campaign = campaigns.create(connection, config, source="test")
    job = queue.ask(campaign_id=campaign.id)
    queue.fail(FailureClass.CHEMISTRY, "no")
    assert queue.say("retry", "--campaign", "gaps") == "1 job queued again\n"
    assert queue.state(job).campaign_id == campaign.id
    queue.fail(FailureClass.CHEMISTRY, "no")
    with queue.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.STOPPED, source="test")
    assert queue.say("retry", job) == "1 job queued again\n"
    assert queue.state(job).campaign_id is None
    assert queue.finish() == job


def test_cancel_stops_what_runs_and_tells(queue: Queue) -> None:
    made = everything(queue)
    assert queue.say("cancel", "--state", "running") == "1 job cancelled\n"
    with queue.database.transaction() as connection:
        assert not calculations.renew(connection, made["running"], "node7-42-a", 30.0)  # so its worker stops it
    told = [event for event in queue.told("calculation.finished") if event["state"] == "cancelled"]
    assert [event["calculation_id"] for event in told] == [str(made["cancelled"]), str(made["running"])]
    assert "cancelled after" in queue.say("show", made["running"])
    assert queue.say("cancel", made["done"], made["queued"]) == (
        "1 job cancelled; 1 job selected and left alone, not being queued or running\n"
    )
    assert [row["state"] for row in queue.table("--state", "queued,running")] == []


def test_priorities_decide_who_is_next(queue: Queue) -> None:
    first, second, third = queue.ask(), queue.ask(), queue.ask()
    assert queue.say("priority", 7, str(third)[:8]) == "1 job now of priority 7\n"
    assert queue.say("priority", "-5", first) == "1 job now of priority -5\n"
    assert [queue.claim().id for _ in range(3)] == [third, second, first]
    assert queue.say("priority", "3", "--state", "running", "--level", "triage") == "3 jobs now of priority 3\n"
    assert queue.state(second).priority == 3


def test_states_are_all_known(queue: Queue) -> None:
    made = everything(queue)
    with queue.database.transaction() as connection:
        assert jobs.counts(connection, JobFilter()) == {JobState(state): 1 for state in made}
        assert {one.state for one in jobs.listed(connection, JobFilter())} == set(JobState)


def test_what_failed_for_want_of_memory_is_computed_again_when_it_is_asked_for_again(queue: Queue) -> None:
    larger = TRIAGE.model_copy(update={"name": "triage-big", "memory_mb": 9000})
    job = queue.ask()
    queue.fail(FailureClass.POISON, f"needs more memory than the limit of 3000 MB; {RAISE_MEMORY}", FailureCode.MEMORY)
    again = queue.ask_again(larger)
    assert (again.id, again.state) == (job, "queued")
    with queue.database.transaction() as connection:
        level = levels.get(connection, queue.claim().level_version)
    assert level is not None
    assert level.memory_mb == 9000
    queue.ask()
    queue.fail(FailureClass.POISON, "the basis set has no functions for Og", FailureCode.LEVEL)
    assert queue.ask_again(larger).state == "failed"


def test_jobs_are_deleted_but_not_those_that_run(queue: Queue) -> None:
    everything(queue)
    before = queue.table()
    tried = queue.say("delete", "--level", "triage", "--dry-run")
    assert tried.startswith("would delete ")
    assert queue.table() == before
    running = [row for row in before if row["state"] == "running"]
    assert f"{len(running)} job left alone, because they run" in tried or not running
    assert queue.run("delete", "--level", "triage").exit_code != 0  # a question that nobody answers
    assert queue.table() == before
    done = queue.say("delete", "--level", "triage", "--yes")
    assert done.replace("deleted", "would delete", 1) == tried
    left = queue.table()
    assert {row["id"] for row in left} == {
        row["id"] for row in before if row["state"] == "running" or row["level"] != "triage"
    }
    assert isinstance(queue.run("delete", "--yes").exception, InputError)
    with queue.database.transaction() as connection:
        kept = connection.execute("SELECT count(*) AS n FROM conformers").fetchone()
    assert kept is not None
    assert kept["n"] == len(left)


def test_a_result_is_exported_for_other_programs(queue: Queue, tmp_path: Path) -> None:
    done = queue.ask()
    queue.finish()
    for ending in (".xyz", ".extxyz", ".inp", ".gjf", ".psi4", ".json"):
        assert "written" in queue.say("export", done, "-o", tmp_path / f"h2{ending}")
    from ase.io import read

    for ending in ("xyz", "extxyz"):
        atoms: Any = read(tmp_path / f"h2.{ending}", format=ending)
        assert atoms.get_distance(0, 1) == pytest.approx(0.75)
    assert atoms.info["gap_ev"] == pytest.approx(12.3456)
    assert (atoms.info["charge"], atoms.info["multiplicity"]) == (0, 1)
    np.testing.assert_allclose(atoms.arrays["mulliken_e"], [0.25, -0.25])
    assert json.loads((tmp_path / "h2.json").read_text())["properties"]["return_energy"] == -1.17
    (record,) = read_molecules(tmp_path / "h2.xyz")
    assert (record.charge, record.spin) == (0, 0)
    refused = queue.run("export", done, "-o", tmp_path / "h2.molden")
    assert isinstance(refused.exception, InputError)
    assert "kept no orbitals" in str(refused.exception)
    waiting = queue.ask()
    assert isinstance(queue.run("export", waiting, "-o", tmp_path / "h2.xyz").exception, InputError)
