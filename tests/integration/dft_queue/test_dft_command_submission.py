"""From a person's file into the queue and back into a file, with a real Postgres; a worker's part is played by hand."""

import csv
import io
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from qcelemental.models.v1 import AtomicResult
from rdkit import Chem

from gapsmith.core import recipes
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import CalculationError, FailureClass, UnavailableError
from gapsmith.core.levels import GENERATED, GFN2, shipped
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.commands.molecules import Wish, entries
from gapsmith.dft_queue.commands.recipes import Calculations, combined, follow, levels_of
from gapsmith.dft_queue.commands.results import COLUMNS, Row, rows, write
from gapsmith.dft_queue.commands.submitting import Asked, Submission
from gapsmith.dft_queue.commands.waiting import Pace, PlainView, Standing, wait
from gapsmith.dft_queue.jobs import CalculationOutput, Excitation
from gapsmith.dft_queue.outcomes import store_failure, store_output
from gapsmith.store import calculations, campaigns, conformers, jobs, levels
from gapsmith.store.calculations import Calculation
from gapsmith.store.database import Database
from gapsmith.store.jobs import JobFilter

pytestmark = pytest.mark.timeout(600)
TRIAGE = Wish(shipped()["triage"])
SMILES = "O water\nC methane\nC1CC broken\nO again\nCO methanol\nN#N nitrogen\nO.O two\n"
STATES = tuple(
    Excitation(energy_ev=ev, wavelength_nm=1239.8 / ev, oscillator_strength=strength, multiplicity=multiplicity)
    for ev, strength, multiplicity in ((6.5, 0.0, 3), (7.0, 0.05, 1), (9.0, 0.3, 1))
)


@dataclass
class Bench:
    """A database, and a file of molecules."""

    database: Database
    folder: Path
    wish: Wish = TRIAGE

    def submit(self, text: str = SMILES, *, together: int = 3, **options: Any) -> list[Asked]:
        """Ask for the molecules of a file."""
        (self.folder / "a.smi").write_text(text)
        submission = Submission(self.database, **options)
        read = list(entries(self.folder / "a.smi", self.wish))
        for first in range(0, len(read), together):
            submission.add(read[first : first + together])
        return submission.asked

    def claim(self) -> Calculation | None:
        """A worker takes the most urgent one."""
        with self.database.transaction() as connection:
            return calculations.claim(connection, "node7-1-a", 30.0, host="node7")

    def compute(self, *failing: UUID | None) -> list[UUID]:
        """A worker computes whatever waits; the relaxed geometry is a tenth larger."""
        done = []
        while (taken := self.claim()) is not None:
            done.append(taken.id)
            if taken.id in failing:
                failure = CalculationError(FailureClass.CHEMISTRY, "the SCF did not converge")
                assert store_failure(self.database, taken, "node7-1-a", failure, "")
                continue
            with self.database.transaction() as connection:
                level = levels.get(connection, taken.level_version)
                start = conformers.get(connection, taken.conformer_id)
            molecule = start.molecule
            assert level is not None
            output = CalculationOutput(
                energy_hartree=-float(molecule.numbers.sum()) + 0.3 * taken.charge,
                gap_ev=7.25,
                homo_ev=-6.0,
                lumo_ev=1.25,
                mulliken_e=(0.0,) * len(molecule),
                rung="diis",
                excitations=STATES if "excitations" in level.properties else None,
                findings=("a finding", "another"),
                coordinates_angstrom=tuple(map(tuple, (1.1 * molecule.coordinates).tolist())),
                cpu_s=2.0,
                host="node7",
                software={"gapsmith": "0", "pyscf": "9.9"},
            )
            assert store_output(self.database, taken, "node7-1-a", level, output, self.folder)
        return done

    def rows(self, asked: Sequence[Asked]) -> list[Row]:
        """The results."""
        with self.database.transaction() as connection:
            return rows(connection, asked, self.wish.level)

    def write(self, name: str, asked: Sequence[Asked]) -> Path:
        """The results as a file."""
        with self.database.transaction() as connection:
            write(connection, self.folder / name, rows(connection, asked, self.wish.level), asked)
        return self.folder / name

    def count(self, table: str) -> int:
        """Rows of a table."""
        with self.database.transaction() as connection:
            row = connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
        assert row is not None
        return int(row["n"])


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """An empty database."""
    return Bench(database, tmp_path)


def test_every_record_has_one_row_in_the_files_order(bench: Bench) -> None:
    asked = bench.submit()
    water, methane, _, again, methanol, nitrogen, _ = asked
    assert again.job == water.job
    assert (water.reused, again.reused) == (False, True)
    assert len({one.job for one in asked} - {None}) == 4
    assert [row["state"] for row in bench.rows(asked)] == ["queued"] * 2 + ["refused"] + ["queued"] * 3 + ["refused"]
    assert set(bench.compute(nitrogen.job)) == {water.job, methane.job, methanol.job, nitrogen.job}
    found = bench.rows(asked)
    assert [row["name"] for row in found] == ["water", "methane", "broken", "again", "methanol", "nitrogen", "two"]
    assert [row["state"] for row in found] == ["done", "done", "refused", "done", "done", "failed", "refused"]
    assert found[0]["gap_ev"] == found[3]["gap_ev"] == 7.25
    assert found[0]["findings"] == "a finding; another"
    assert found[5]["reason"] == "chemistry: the SCF did not converge"
    assert "not a valid SMILES" in found[2]["reason"]
    assert (found[1]["formula"], found[4]["smiles"]) == ("CH4", "CO")
    with bench.database.transaction() as connection:
        names = connection.execute(
            """SELECT m.smiles, m.in_qm9 FROM calculations k JOIN conformers f ON f.id = k.conformer_id
               JOIN molecules m ON m.id = f.molecule_id ORDER BY m.smiles"""
        ).fetchall()
    assert names == [{"smiles": name, "in_qm9": name != "N#N"} for name in ("C", "CO", "N#N", "O")]


def test_what_the_database_has_is_reused_and_nothing_is_stored_twice(bench: Bench) -> None:
    first = bench.submit()
    bench.compute(first[5].job)
    before = {table: bench.count(table) for table in ("conformers", "calculations", "molecules")}
    second = bench.submit("O water\nCCO ethanol\nN#N nitrogen\n")
    assert [one.reused for one in second] == [True, False, True]
    assert bench.compute() == [second[1].job]
    assert bench.count("calculations") == before["calculations"] + 1
    assert bench.count("conformers") == before["conformers"] + 2  # as it was given, and relaxed
    assert [row["state"] for row in bench.rows(second)] == ["done", "done", "failed"]
    third = bench.submit("N#N nitrogen\nO water\n", retry_failed=True)
    assert [one.reused for one in third] == [False, True]
    assert bench.compute() == [first[5].job]
    assert [row["state"] for row in bench.rows(third)] == ["done", "done"]


def test_the_same_file_twice_at_once_is_computed_once(bench: Bench) -> None:
    text = "".join(f"{'C' * length} alkane\n" for length in range(1, 9))
    turned = "".join(f"{line}\n" for line in reversed(text.splitlines()))
    barrier = threading.Barrier(2)
    found: list[list[Asked]] = []

    def submit(lines: str) -> None:
        (bench.folder / f"{hash(lines)}.smi").write_text(lines)
        read = list(entries(bench.folder / f"{hash(lines)}.smi", TRIAGE))
        submission = Submission(bench.database)
        barrier.wait()
        submission.add(read)
        found.append(submission.asked)

    threads = [threading.Thread(target=submit, args=(lines,)) for lines in (text, turned)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert {one.job for one in found[0]} == {one.job for one in found[1]}
    assert bench.count("calculations") == 8


def test_priorities_are_raised_not_lowered(bench: Bench) -> None:
    bench.submit("C low\nO high\n")
    bench.submit("O high\n", priority=5)
    bench.submit("O high\n", priority=1)
    taken = bench.claim()
    assert taken is not None
    assert taken.priority == 5


def test_campaigns_do_not_hold_up_what_a_person_waits_for(bench: Bench) -> None:
    with bench.database.transaction() as connection:
        config = parse_campaign({"name": "gaps", "target": {"value": 4.0}})
        campaign = campaigns.create(connection, config, source="test")
    (one,) = bench.submit("O water\n")
    with bench.database.transaction() as connection:
        connection.execute("UPDATE calculations SET campaign_id = %s", (campaign.id,))
        campaigns.set_state(connection, campaign.id, CampaignState.PAUSED, source="test")
    assert bench.claim() is None
    bench.submit("O water\n")
    assert bench.compute() == [one.job]

    (other,) = bench.submit("C methane\n")
    assert other.job is not None
    with bench.database.transaction() as connection:
        calculations.cancel(connection, other.job)  # as a campaign does that has found something better
        jobs.adopt(connection, [other.job])
    assert bench.compute() == [other.job]

    (third,) = bench.submit("N ammonia\n")
    with bench.database.transaction() as connection:
        jobs.cancel(connection, JobFilter(ids=(third.job,) if third.job else ()))  # as its user does
        jobs.adopt(connection, [third.job] if third.job else [])
    assert bench.compute() == []
    assert [row["state"] for row in bench.rows([third])] == ["cancelled"]


def test_files_hold_what_was_found(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    asked = bench.submit()
    bench.compute(asked[5].job)
    with bench.write("out.csv", asked).open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == list(COLUMNS)
    assert [row["name"] for row in table] == [one.entry.name for one in asked]
    assert (table[0]["gap_ev"], table[0]["reused"], table[2]["gap_ev"]) == ("7.25", "false", "")
    with bench.database.transaction() as connection:
        write(connection, Path("-"), rows(connection, asked, TRIAGE.level), asked)
    assert list(csv.DictReader(io.StringIO(capsys.readouterr().out))) == table

    columns = pq.read_table(bench.write("out.parquet", asked)).to_pydict()
    assert columns["gap_ev"] == [7.25, 7.25, None, 7.25, 7.25, None, None]
    assert columns["calculation_id"][0] == str(asked[0].job)

    written = list(Chem.SDMolSupplier(str(bench.write("out.sdf", asked)), removeHs=False))
    assert [mol.GetProp("_Name") for mol in written] == [one.entry.name for one in asked]
    assert [mol.GetProp("state") for mol in written] == [row["state"] for row in table]
    assert [mol.GetNumAtoms() for mol in written] == [3, 5, 0, 3, 6, 2, 0]
    assert written[0].GetDoubleProp("gap_ev") == 7.25
    given = asked[1].entry.molecule
    assert given is not None
    np.testing.assert_allclose(written[1].GetConformer().GetPositions(), 1.1 * given.coordinates, atol=6e-5)

    documents = json.loads(bench.write("out.json", asked).read_text())
    assert [one["extras"]["name"] for one in documents] == [one.entry.name for one in asked]
    assert [one["success"] for one in documents] == [True, True, False, True, True, False, False]
    result = AtomicResult(**documents[4])
    assert result.return_result == -18.0
    assert result.extras["gapsmith"]["result"]["findings"] == ["a finding", "another"]
    assert documents[5]["error"]["error_message"] == "chemistry: the SCF did not converge"


def test_a_file_that_cannot_be_written_leaves_the_old_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = bench.submit("O water\n")
    (bench.folder / "out.csv").write_text("old")
    before = set(bench.folder.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError, match="No space left on device"):
        bench.write("out.csv", asked)
    assert (bench.folder / "out.csv").read_text() == "old"
    assert set(bench.folder.iterdir()) == before


def test_waiting_ends_with_the_last_job_or_when_stopped(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    asked = bench.submit()
    ids = list({one.job for one in asked if one.job is not None})
    stopped = wait(bench.database, ids, PlainView(), stopped=lambda: True)
    assert stopped == Standing(queued=4, running=0, done=0, failed=0)
    worker = threading.Timer(1.0, bench.compute, [asked[5].job])
    worker.start()
    began = time.monotonic()
    ended = wait(bench.database, ids, PlainView(), stopped=lambda: time.monotonic() - began > 60)
    worker.join()
    assert ended == Standing(queued=0, running=0, done=3, failed=1)
    assert "3 of 4 done, 1 failed, 0 running" in capsys.readouterr().err


def test_a_pace_says_how_long_it_may_take() -> None:
    assert Pace(ended=10, elapsed_s=60.0).words(left=20) == "10.0 a minute, about 2m 00s left"
    assert Pace(ended=0, elapsed_s=60.0).words(left=20) == "time left unknown"


def cooked(bench: Bench, name: str, text: str, *, failing: Sequence[int] = ()) -> tuple[list[Row], Calculations]:
    """Rows of a recipe; calculations of ``failing`` charges do not converge."""
    recipe = recipes.find(name)
    by_calculation = levels_of(recipe, TRIAGE.level, shipped())
    (bench.folder / "a.smi").write_text(text)
    submission = Submission(bench.database)
    wish = Wish(next(iter(by_calculation.values())))
    submission.add(list(entries(bench.folder / "a.smi", wish)))

    def ended() -> bool:
        bad = [one.job for one in submission.asked if one.entry.charge in failing]
        bench.compute(*bad)
        return True

    found = follow(bench.database, submission, recipe, by_calculation, wait=ended)
    ended()
    with bench.database.transaction() as connection:
        return combined(connection, recipe, by_calculation, found), found


def test_a_vertical_recipe_computes_the_ion_at_the_molecules_final_geometry(bench: Bench) -> None:
    (water, radical, pair), found = cooked(bench, "ip", "O water\n[CH3] methyl\nO.O pair\n")
    assert water["ip_ev"] == pytest.approx(0.3 * HARTREE_TO_EV)
    assert radical["ip_ev"] == pytest.approx(0.3 * HARTREE_TO_EV)
    assert (water["state"], water["charge"], water["multiplicity"], water["cpu_s"]) == ("done", 0, 1, 4.0)
    assert (pair["state"], pair["ip_ev"]) == ("refused", None)
    assert water["findings"].endswith("cation: a finding; another")
    cations = [one.entry for one in found["cation"]]
    assert [(one.charge, one.spin, one.method) for one in cations[:2]] == [(1, 1, GFN2), (1, 0, GFN2)]
    assert all(one.level is not None and one.level.stages(one.method) == () for one in cations[:2])
    neutral, cation = (found[name][0].entry.molecule for name in ("neutral", "cation"))
    assert neutral is not None
    assert cation is not None
    np.testing.assert_allclose(cation.coordinates, 1.1 * neutral.coordinates, atol=1e-5)


def test_an_adiabatic_recipe_relaxes_the_ion_from_there(bench: Bench) -> None:
    _, found = cooked(bench, "ea-adiabatic", "O water\n")
    anion = found["anion"][0].entry
    assert (anion.charge, anion.spin, anion.method) == (-1, 1, GENERATED)


def test_recipes_share_calculations_and_compute_nothing_twice(bench: Bench) -> None:
    cooked(bench, "ip", "O water\n")
    before = bench.count("calculations")
    (again,), _ = cooked(bench, "ip", "O water\n")
    assert (again["reused"], bench.count("calculations")) == (True, before)
    cooked(bench, "ea", "O water\n")
    assert bench.count("calculations") == before + 1  # the anion


def test_a_potential_is_computed_in_its_solvent(bench: Bench) -> None:
    (row,), found = cooked(bench, "oxidation", "O water\n")
    assert row["oxidation_v"] == pytest.approx(0.3 * HARTREE_TO_EV - 4.988)
    levels_found = [one.entry.level for asked in found.values() for one in asked]
    assert [str(one.solvent) for one in levels_found if one] == ["SMD(acetonitrile)"] * 2
    assert row["level"] == "triage-acetonitrile"


def test_what_fails_is_told_with_the_calculation_it_is(bench: Bench) -> None:
    (row,), _ = cooked(bench, "ip", "O water\n", failing=[1])
    assert (row["state"], row["ip_ev"]) == ("failed", None)
    assert row["reason"] == "cation: chemistry: the SCF did not converge"
    (row,), _ = cooked(bench, "ip", "C methane\n", failing=[0])
    assert (row["state"], row["ip_ev"]) == ("failed", None)
    assert row["reason"] == "chemistry: the SCF did not converge"


def test_a_level_of_excited_states_adds_its_properties_as_columns(bench: Bench) -> None:
    bench.wish = Wish(shipped()["excited"])
    asked = bench.submit("O water\n")
    bench.compute()
    (row,) = bench.rows(asked)
    assert (row["s1_ev"], row["t1_ev"], row["oscillator_strength"]) == (7.0, 6.5, 0.05)
    assert row["delta_st_ev"] == pytest.approx(0.5)
    written = list(csv.DictReader(io.StringIO(bench.write("a.csv", asked).read_text())))
    assert float(written[0]["s1_ev"]) == 7.0
