"""Campaigns: which there are, one that is followed, commands."""

import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gapsmith.client.transport import Transport
from gapsmith.core.campaign import CampaignConfig, changed_target, parse_campaign, read_campaign
from gapsmith.core.errors import UnavailableError
from gapsmith.core.target import Target

ENDED = ("finished", "stopped")


class Campaign:
    """One campaign, as it was when it was asked for last. ``refresh`` asks again.

    Args:
        transport: to the dashboard.
        document: of ``/campaigns/{name}``.
    """

    def __init__(self, transport: Transport, document: Mapping[str, Any]) -> None:
        self._transport = transport
        self._document = document

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._document["name"])

    @property
    def state(self) -> str:
        """running, paused, finished or stopped."""
        return str(self._document["state"])

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    @property
    def document(self) -> Mapping[str, Any]:
        """All that the API tells of it."""
        return self._document

    @property
    def progress(self) -> Mapping[str, Any]:
        """Where it stands: counts, budget, best molecule."""
        found: Mapping[str, Any] = self._document["progress"]
        return found

    def refresh(self) -> "Campaign":
        """Ask where it stands now; returns itself."""
        self._document = self._transport.get(_path(self.name))
        return self

    def wait(self, *, timeout_s: float | None = None, every_s: float = 2.0) -> "Campaign":
        """Wait until it has ended; returns itself.

        Args:
            timeout_s: longest wait; None: for ever.
            every_s: time between two looks.

        Raises:
            TimeoutError: it has not ended in time.
            UnavailableError: the dashboard was away for a minute.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        away_since: float | None = None
        while True:
            try:
                self.refresh()
                away_since = None
            except UnavailableError:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > 60:
                    raise
            if self.ended:
                return self
            if until is not None and time.monotonic() + every_s > until:
                raise TimeoutError(f"campaign {self.name} is still {self.state} after {timeout_s:g} s")
            time.sleep(every_s)

    def pause(self) -> "Campaign":
        """Propose and compute nothing new; what runs is finished."""
        return self._command("pause")

    def resume(self) -> "Campaign":
        """Go on after a pause."""
        return self._command("resume")

    def stop(self) -> "Campaign":
        """End it for good; its results stay."""
        return self._command("stop")

    def retarget(self, target: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> "Campaign":
        """Give it another target; what was found so far counts by it.

        Args:
            target: as a campaign file has it, for example ``{"value": 4.5, "tolerance": 0.3}``, or a list of such.

        Raises:
            InputError: it cannot be used, or nothing predicts or computes it.
        """
        wanted = changed_target(parse_campaign(self._document["config"]), target)
        self._document = self._transport.send("PUT", f"{_path(self.name)}/target", wanted.model_dump(mode="json"))
        return self

    def extend(
        self, *, dft_jobs: int | None = None, wall_time: str | None = None, wanted_hits: int | None = None
    ) -> "Campaign":
        """Go on, finished or not, with another budget; what it computed counts."""
        given = {"dft_jobs": dft_jobs, "wall_time": wall_time, "wanted_hits": wanted_hits}
        changes = {name: value for name, value in given.items() if value is not None}
        self._document = self._transport.send("PUT", f"{_path(self.name)}/budget", changes)
        return self

    def _command(self, action: str) -> "Campaign":
        self._document = self._transport.send("POST", f"{_path(self.name)}/{action}")
        return self

    def _target(self) -> str:
        return str(Target.model_validate(self._document["target"]))

    def __repr__(self) -> str:
        """Name, state and target."""
        target = self._target()
        return f"Campaign({self.name!r}, {self.state}, {target})"

    def _repr_html_(self) -> str:
        """Where it stands, for notebooks."""
        now = self.progress
        lines = {
            "state": self.state + (f" ({self._document['stop_reason']})" if self._document["stop_reason"] else ""),
            "target": self._target(),
            "candidates": str(sum(self._document["candidates"].values())),
            "DFT jobs": f"{now['dft_done']} of {now['dft_budget']}",
            "hits": f"{now['hits']} ({now['certified_hits']} certified, {now['missed_hits']} missed)",
            "best": "" if now["best"] is None else f"{now['best']['smiles']} ({now['best']['shown']})",
        }
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in lines.items())
        return f"<table><caption>{escape(self.name)}</caption><tbody>{rows}</tbody></table>"


class Campaigns:
    """The campaigns of a dashboard's database."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[dict[str, Any]]:
        """All of them, newest first: names, states, targets, counts."""
        found: list[dict[str, Any]] = self._transport.get("/campaigns")["items"]
        return found

    def get(self, name: str) -> Campaign:
        """One of them; raises NotFoundError."""
        return Campaign(self._transport, self._transport.get(_path(name)))

    def start(self, document: Mapping[str, Any] | CampaignConfig | str | Path) -> Campaign:
        """Start one; needs an operator's token.

        Args:
            document: a campaign file's path or content.

        Raises:
            InputError: the document is wrong, or the name is taken.
        """
        if isinstance(document, str | Path):
            config = read_campaign(Path(document))
        else:
            config = document if isinstance(document, CampaignConfig) else parse_campaign(dict(document))
        return Campaign(self._transport, self._transport.send("POST", "/campaigns", config.model_dump(mode="json")))


def _path(name: str) -> str:
    return f"/campaigns/{quote(name, safe='')}"
