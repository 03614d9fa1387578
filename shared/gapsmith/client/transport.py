"""Requests with time-outs, a token, and errors that say what to do."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from gapsmith.client.errors import of_answer
from gapsmith.core.errors import UnavailableError

PREFIX: Final = "/api/v1"
PATIENT: Final = 4  # tries of a request that came too often
LONGEST_WAIT_S: Final = 30.0


class Transport:
    """A connection to one dashboard.

    Args:
        url: of the dashboard, such as http://127.0.0.1:8700.
        token: of 'gapsmith token create'; sent in a header, never in an address.
        timeout_s: of connecting, and between two parts of an answer.
        transport: of httpx, instead of the network.
    """

    def __init__(
        self, url: str, token: str | None, timeout_s: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=timeout_s,
            transport=transport,
            trust_env=transport is None,
        )

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """JSON of an address; raises ApiError, UnavailableError."""
        return self._asked("GET", path, params=parameters)

    def send(self, method: str, path: str, content: Any = None) -> Any:
        """JSON of a command; raises ApiError, UnavailableError."""
        return self._asked(method, path, json=content)

    @contextmanager
    def download(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """The parts of a file; raises ApiError, UnavailableError."""
        with self._told(), self._http.stream("GET", f"{PREFIX}{path}", params=parameters) as answer:
            if not answer.is_success:
                answer.read()
                raise of_answer(answer.status_code, _json(answer), self.url)
            yield answer.iter_bytes()

    def _asked(self, method: str, path: str, **content: Any) -> Any:
        with self._told():
            for left in reversed(range(PATIENT)):
                answer = self._http.request(method, f"{PREFIX}{path}", **content)
                if answer.status_code != 429 or not left:
                    break
                wait_s = answer.headers.get("Retry-After", "1")
                time.sleep(min(float(wait_s) if wait_s.isdigit() else 1.0, LONGEST_WAIT_S))
        if not answer.is_success:
            raise of_answer(answer.status_code, _json(answer), self.url)
        return answer.json()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise UnavailableError(
                f"the dashboard at {self.url} does not answer in time; ask for less, or later"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                f"the dashboard at {self.url} cannot be reached ({error}); start it with: gapsmith dashboard"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None
