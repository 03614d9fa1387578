"""The client."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx

from gapsmith.client.campaigns import Campaigns
from gapsmith.client.candidates import Candidates
from gapsmith.client.transport import Transport

DEFAULT_URL: Final = "http://127.0.0.1:8700"


class Jobs:
    """The DFT jobs of a dashboard's database."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        state: str | None = None,
        level: str | None = None,
        campaign: str | None = None,
        failure_class: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Jobs, newest first, page after page."""
        told = {"state": state, "level": level, "campaign": campaign, "failure_class": failure_class, "limit": 500}
        parameters = {name: value for name, value in told.items() if value is not None}
        cursor = None
        while True:
            answer = self._transport.get("/jobs", {**parameters, **({"cursor": cursor} if cursor else {})})
            yield from answer["items"]
            if (cursor := answer["next"]) is None:
                return

    def get(self, job_id: object) -> dict[str, Any]:
        """Everything of one job, by how its id begins; raises NotFoundError."""
        found: dict[str, Any] = self._transport.get(f"/jobs/{quote(str(job_id), safe='')}")
        return found

    def retry(self, job_id: object) -> bool:
        """Queue a failed or cancelled job again; whether it was one."""
        return self._command(job_id, "retry")

    def cancel(self, job_id: object) -> bool:
        """Cancel a queued or running job; whether it was one."""
        return self._command(job_id, "cancel")

    def _command(self, job_id: object, action: str) -> bool:
        return bool(self._transport.send("POST", f"/jobs/{quote(str(job_id), safe='')}/{action}")["changed"])


class Client:
    """A dashboard, from Python.

    Args:
        url: of the dashboard; the one that this user's home folder runs if not given.
        token: of 'gapsmith token create'; the owner's if not given and the dashboard is that of this user's home folder.
            To look on the dashboard's own machine none is needed.
        timeout_s: of connecting, and between two parts of an answer.
        transport: of httpx, instead of the network.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if url is None or token is None:
            url, token = _own(url, token)
        self._transport = Transport(url, token, timeout_s, transport)
        self.candidates = Candidates(self._transport)
        self.campaigns = Campaigns(self._transport)
        self.jobs = Jobs(self._transport)

    def models(self, *, role: str | None = None) -> list[dict[str, Any]]:
        """Models in the registry, newest first."""
        found: list[dict[str, Any]] = self._transport.get("/models", {"role": role} if role else None)["items"]
        return found

    def events(self, *, after: int = 0, campaign: str | None = None) -> Iterator[dict[str, Any]]:
        """Events after one, oldest first, until there are no more yet."""
        while True:
            told = {"after": after, "limit": 500} | ({"campaign": campaign} if campaign else {})
            answer = self._transport.get("/events", told)
            yield from answer["items"]
            if answer["next"] is None:
                return
            after = answer["next"]

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> "Client":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """The address, never the token."""
        return f"Client({self._transport.url!r})"


def _own(url: str | None, token: str | None) -> tuple[str, str | None]:
    """Fill in the address and the token of this user's own dashboard; the token goes to that address alone."""
    from gapsmith.core.paths import home
    from gapsmith.stack.owner import running_dashboard

    found = running_dashboard(home())
    if found is not None and (url is None or url.rstrip("/") == found[0]):
        return found[0], token or found[1]
    return url or DEFAULT_URL, token
