"""Parts of pages that change while one looks: rendered once for all browsers, by region."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from gapsmith.core.errors import GapsmithError, NotFound, UnavailableError
from gapsmith.dashboard import security
from gapsmith.dashboard.problems import sentences
from gapsmith.dashboard.rendering import render
from gapsmith.dashboard.site import Site

MOST_AGE_S: Final = 2.0  # what no event tells of, as the start of a calculation, is seen that late at most
TICK_S: Final = 3.0  # between two looks when nothing happened
APART_S: Final = 0.4  # between two updates of a browser
FIRST_LOOK_S: Final = 5.0  # a browser of a server that has just begun waits at most so long for its first look
PATIENCE_S: Final = 0.6  # a page that takes longer to compute is sent without, and filled in live
PING_S: Final = 15
RETRY_MS: Final = 1000

Regions = Mapping[str, str]  # name: HTML


@dataclass(frozen=True)
class View:
    """Something to look at.

    Args:
        name: unique among all views.
        campaign: whose events change it; None: all events.
        make: renders its regions; runs in a thread.
    """

    name: str
    campaign: str | None
    make: Callable[[], Regions]

    async def regions(self, site: Site) -> Regions:
        """As they are now; whoever asks at the same time gets the same."""
        return await site.shared.get(self.name, self.make, version=site.hub.sequence, most_s=MOST_AGE_S)

    async def soon(self, site: Site) -> Regions | None:
        """As they are now, or None if that takes long: the live stream brings them."""
        work = asyncio.ensure_future(self.regions(site))
        done, _ = await asyncio.wait({work}, timeout=PATIENCE_S)
        return work.result() if done else None


def follow(site: Site, view: View, request: Request, after: str | None) -> Response:
    """A stream of a view's regions, each sent when it has changed.

    A browser that reconnects says the number of the last event it has seen; if nothing happened since, nothing is sent.

    Args:
        site: shared by all.
        view: to follow.
        request: of the browser.
        after: number of the newest event when the page was made.
    """
    seen = request.headers.get("last-event-id", after)
    return EventSourceResponse(_updates(site, view, request, seen), ping=PING_S, headers={"Cache-Control": "no-store"})


async def _updates(site: Site, view: View, request: Request, seen: str | None) -> AsyncIterator[ServerSentEvent]:
    sent: dict[str, bytes] = {}
    yield ServerSentEvent(comment="gapsmith", retry=RETRY_MS)
    await site.hub.begun(FIRST_LOOK_S)
    fresh, healthy = seen is not None and seen == str(site.hub.sequence), True
    with site.hub.reader(view.campaign) as reader:
        while not site.hub.stopping:
            reader.woken.clear()
            number = str(site.hub.sequence)  # before the look: what happens meanwhile is newer than it
            try:
                await asyncio.to_thread(security.authorised, site.context, request)  # a token may have been revoked
                regions = await view.regions(site)
            except (NotFound, security.Unauthenticated, security.Forbidden) as error:
                yield ServerSentEvent(_problem(error), event="problem", id=number)
                return
            except Exception as error:
                healthy = False
                yield ServerSentEvent(_problem(error), event="problem", id=number)
            else:
                if not healthy:
                    healthy = True
                    yield ServerSentEvent(" ", event="problem", id=number)
                changed = [(name, html) for name, html in regions.items() if sent.get(name) != _digest(html)]
                sent.update((name, _digest(html)) for name, html in changed)
                for name, html in [] if fresh else changed:  # the number comes with the last: who has it has them all
                    yield ServerSentEvent(html, event=name, id=number if name == changed[-1][0] else None)
                fresh = False
            await asyncio.sleep(APART_S)
            try:
                await asyncio.wait_for(reader.woken.wait(), TICK_S)
            except TimeoutError:
                continue


def _digest(html: str) -> bytes:
    return hashlib.blake2b(html.encode(), digest_size=16).digest()


def _problem(error: Exception) -> str:
    if not isinstance(error, GapsmithError):
        error = UnavailableError("the page cannot be brought up to date just now")
    return render("problem_inline.html", title=None, sentence=sentences(str(error), error.advice))
