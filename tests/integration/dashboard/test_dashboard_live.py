"""Live updates: what is sent, when, and after a lost connection."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from dashboard_site import NAME, Site, campaign, label
from psycopg.rows import dict_row

from gapsmith.core.lifecycle import CampaignState
from gapsmith.store import campaigns

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.timeout(600)]
REGIONS = {"state", "figures", "flow", "work", "models", "feed", "services", "charts"}


@dataclass(frozen=True)
class Message:
    event: str
    data: str
    id: str | None


class Stream:
    """What a browser's EventSource makes of a response."""

    def __init__(self, response: httpx.Response) -> None:
        self._messages = self._parse(response)

    @staticmethod
    def _parse(response: httpx.Response) -> Iterator[Message]:
        data: list[str] = []
        event, last = "message", None
        for line in response.iter_lines():
            if not line:
                if data:
                    yield Message(event, "\n".join(data), last)
                event, data, last = "message", [], None
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                if name == "data":
                    data.append(value)
                elif name == "event":
                    event = value
                elif name == "id":
                    last = value

    def until(self, event: str, text: str, within_s: float = 120.0) -> list[Message]:
        """Messages up to the one of an event that has a text."""
        found, deadline = [], time.monotonic() + within_s
        for message in self._messages:
            found.append(message)
            if message.event == event and text in message.data:
                return found
            assert time.monotonic() < deadline, [one.event for one in found]
        raise AssertionError(f"the stream ended: {[one.event for one in found]}")


@contextmanager
def stream(site: Site, path: str, headers: dict[str, str] | None = None) -> Iterator[Stream]:
    with site.client() as client, client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


def everything(site: Site) -> list[Message]:
    """The first update of a campaign, once the server has heard of what the test has stored: it numbers by what it knows."""
    with site.database.transaction() as connection:
        row = connection.execute("SELECT max(sequence) AS newest FROM outbox").fetchone()
    assert row is not None
    for _ in range(240):
        with stream(site, f"/live/campaigns/{NAME}") as live:
            found = live.until("charts", "")
        if found[-1].id == str(row["newest"]):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the server knows of {found[-1].id}, not of {row['newest']}")


def one_more_label(site: Site, gap_ev: float = 4.01) -> None:
    with site.database.transaction() as connection:
        row = connection.execute(
            "SELECT id, campaign_id, relaxed_conformer_id AS conformer FROM candidates WHERE state = 'scored' LIMIT 1"
        ).fetchone()
        assert row is not None
        label(connection, row["campaign_id"], row["id"], row["conformer"], gap_ev)


def test_everything_at_first_then_what_changes(filled: Site) -> None:
    with stream(filled, f"/live/campaigns/{NAME}") as live:
        first = live.until("charts", "")
        assert {message.event for message in first} == REGIONS
        one_more_label(filled)
        later = live.until("flow", '<strong data-stage="dft">5</strong>')
        assert "state" not in {message.event for message in later}


def test_the_number_comes_with_the_last_of_an_update(filled: Site) -> None:
    first = everything(filled)
    assert [message.id for message in first[:-1]] == [None] * (len(REGIONS) - 1)
    assert first[-1].id is not None
    assert int(first[-1].id) > 0


def test_a_reconnect_without_news_brings_nothing_again(filled: Site) -> None:
    last = everything(filled)[-1].id
    assert last is not None
    with stream(filled, f"/live/campaigns/{NAME}", {"Last-Event-ID": last}) as live:
        one_more_label(filled)
        later = live.until("flow", '<strong data-stage="dft">5</strong>')
    flows = [message.data for message in later if message.event == "flow"]
    assert len(flows) == 1  # the old one was not sent


def test_a_reconnect_brings_what_was_missed(filled: Site) -> None:
    last = everything(filled)[-1].id
    assert last is not None
    one_more_label(filled)
    everything(filled)  # the server has heard of it
    with stream(filled, f"/live/campaigns/{NAME}", {"Last-Event-ID": last}) as live:
        found = live.until("flow", "")
    assert '<strong data-stage="dft">5</strong>' in found[-1].data


def test_another_campaigns_events_are_not_sent(filled: Site) -> None:
    with filled.database.transaction() as connection:
        campaign(connection, "other")
    with stream(filled, "/live/campaigns/other") as live:
        live.until("charts", "")
        with filled.database.transaction() as connection:
            found = campaigns.by_name(connection, NAME)
            assert found is not None
            campaigns.set_state(connection, found.id, CampaignState.PAUSED, source="test")
        time.sleep(1)
        with filled.database.transaction() as connection:
            found = campaigns.by_name(connection, "other")
            assert found is not None
            campaigns.set_state(connection, found.id, CampaignState.STOPPED, source="test")
        later = live.until("state", "stopped")
    assert not any("paused" in message.data for message in later)


def test_a_late_commit_is_not_lost(filled: Site) -> None:
    """An event is numbered when it is stored, and others may commit before it."""
    with (
        stream(filled, f"/live/campaigns/{NAME}") as live,
        psycopg.connect(filled.database.url, row_factory=dict_row) as late,
    ):
        live.until("charts", "")
        found = campaigns.by_name(late, NAME)
        assert found is not None
        campaigns.set_state(late, found.id, CampaignState.PAUSED, source="test")  # numbered, not committed
        with filled.database.transaction() as connection:
            campaign(connection, "other")  # numbered later, committed first
        time.sleep(1.5)
        late.commit()
        live.until("state", "paused")


def test_a_vanished_campaign_is_told_and_ends_the_stream(filled: Site) -> None:
    with filled.client() as client, client.stream("GET", "/live/campaigns/vanished") as response:
        found = list(Stream(response)._messages)
    assert [message.event for message in found] == ["problem"]
    assert "No campaign is called" in found[0].data


def test_many_browsers_see_the_same(filled: Site) -> None:
    with filled.client() as client:
        streams = [client.stream("GET", f"/live/campaigns/{NAME}") for _ in range(20)]
        opened = [one.__enter__() for one in streams]
        try:
            lives = [Stream(response) for response in opened]
            for live in lives:
                live.until("charts", "")
            one_more_label(filled)
            for live in lives:
                live.until("flow", '<strong data-stage="dft">5</strong>')
            text = client.get("/metrics").text
        finally:
            for one in streams:
                one.__exit__(None, None, None)
    assert "gapsmith_live_browsers 20.0" in text


def test_the_list_and_the_health_page_are_live(filled: Site) -> None:
    with stream(filled, "/live/campaigns") as live:
        live.until("campaigns", NAME)
        with filled.database.transaction() as connection:
            campaign(connection, "another-one")
        live.until("campaigns", "another-one")
    with stream(filled, "/live/health") as live:
        live.until("store", "schema")
