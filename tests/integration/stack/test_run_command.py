"""How ``gapsmith run`` ends, and what ``gapsmith status`` lists, on a real Postgres; services are played."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import click
import pytest

from gapsmith.coordinator.commands import following
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import UnavailableError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.core.settings import Settings
from gapsmith.core.signals import ending
from gapsmith.store import campaigns, heartbeats
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database

pytestmark = [pytest.mark.serial, pytest.mark.service]


class Played:
    """Services that do, at every look at them, the next thing of a list."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.up = False

    def __enter__(self) -> "Played":
        self.up = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.up = False

    def dashboard(self) -> None:
        """None serves."""

    def notes(self) -> list[str]:
        """Asked at every look."""
        assert self.up
        if self.steps:
            self.steps.pop(0)()
        return []


def create(database: Database, name: str) -> Campaign:
    with database.transaction() as connection:
        return campaigns.create(connection, parse_campaign({"name": name, "target": {"value": 4.0}}), source="test")


def set_state(database: Database, name: str, state: CampaignState) -> None:
    with database.transaction() as connection:
        campaigns.set_state(connection, by_name(database, name).id, state, source="test", reason=STOPPED_BY_USER)


def by_name(database: Database, name: str) -> Campaign:
    with database.transaction() as connection:
        found = campaigns.by_name(connection, name)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Look often; results are not written but counted."""
    concluded: list[str] = []
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(
        following, "conclude", lambda _, campaign, folder: concluded.append(f"{campaign.name} in {folder}")
    )
    return concluded


def test_services_stay_up_until_a_campaign_that_was_started_meanwhile_has_ended(
    database: Database, fast: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = create(database, "first")
    services = Played(
        lambda: create(database, "form"),
        lambda: set_state(database, "first", CampaignState.FINISHED),
        lambda: None,  # here the first one is seen to have ended
        lambda: None,
        lambda: set_state(database, "form", CampaignState.FINISHED),
    )
    last = following.follow(database, first, services, Path("mine"))  # type: ignore[arg-type]
    assert last.name == "form"
    assert fast == ["first in mine"]
    assert "campaign form was started meanwhile and goes on" in capsys.readouterr().out
    assert not services.up
    assert by_name(database, "form").state is CampaignState.FINISHED


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_run_ends_with_its_terminal_as_by_sigterm(database: Database, number: signal.Signals) -> None:
    first = create(database, "first")
    with pytest.raises(click.exceptions.Exit) as ended:
        following.follow(database, first, Played(lambda: os.kill(os.getpid(), number)), None)  # type: ignore[arg-type]
    assert ended.value.exit_code == 130
    assert by_name(database, "first").state is CampaignState.PAUSED


def test_nohup_keeps_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    assert ending() == (signal.SIGINT, signal.SIGTERM)


def test_a_run_whose_servers_were_stopped_ends_with_a_sentence(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create(database, "first")
    monkeypatch.setattr(following, "settings", lambda: Settings(home=tmp_path))

    def away(*_: object) -> None:
        raise UnavailableError("Postgres cannot be reached")

    monkeypatch.setattr(following, "progress", away)
    with pytest.raises(
        UnavailableError, match="gapsmith down has stopped the servers; the same command goes on with first"
    ):
        following.follow(database, first, Played(), None)  # type: ignore[arg-type]


def test_an_interrupted_run_pauses_all_that_ran_with_its_services(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    first = create(database, "first")
    services = Played(lambda: create(database, "form"), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(click.exceptions.Exit) as ended:
        following.follow(database, first, services, None)  # type: ignore[arg-type]
    assert ended.value.exit_code == 130
    assert {by_name(database, name).state for name in ("first", "form")} == {CampaignState.PAUSED}
    assert "paused: first, form." in capsys.readouterr().out


def test_a_run_with_services_of_others_pauses_its_own_campaign_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create(database, "first")
    create(database, "form")
    monkeypatch.setattr(time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(click.exceptions.Exit):
        following.follow(database, first, None, None)
    assert by_name(database, "first").state is CampaignState.PAUSED
    assert by_name(database, "form").state is CampaignState.RUNNING


def test_status_lists_neither_dead_nor_silent_processes(database: Database) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with database.transaction() as connection:
        heartbeats.beat(connection, "trainer", "idle", pid=dead.pid)
        heartbeats.beat(connection, "generator", "idle", host="elsewhere", pid=dead.pid)
        heartbeats.beat(connection, "coordinator", "idle")
        heartbeats.beat(connection, "surrogate", "idle", host="elsewhere", pid=7)
        connection.execute("UPDATE heartbeats SET seen_at = now() - interval '40 s' WHERE service = 'surrogate'")
        alive = heartbeats.alive(connection, 30.0)
    assert [beat.service for beat in alive] == ["coordinator", "generator", "trainer"]
    assert [beat.service for beat in alive if not beat.gone] == ["coordinator", "generator"]
