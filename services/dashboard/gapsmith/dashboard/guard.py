"""Around every request: headers of a strict browser, limits of size, the access log, counts and times."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote_plus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gapsmith.core.errors import ErrorCode, GapsmithError
from gapsmith.dashboard.metrics import Metrics
from gapsmith.dashboard.security import is_loopback

log = structlog.get_logger()

MOST_BODY: Final = 1_000_000  # bytes
BODY_S: Final = 30.0  # until all of it has come
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",  # Plotly and RDKit write style attributes
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


_UNUSABLE: Final = re.compile("[\0\ud800-\udfff]")
Told = Callable[[Request, Exception], Awaitable[Response]]


class TooLarge(Exception):
    """A body beyond the limit."""


class Malformed(GapsmithError):
    """A request with characters that no text may have."""

    code = ErrorCode.MALFORMED


class TooLate(Exception):
    """A body that does not come."""


class Guard:
    """Middleware of the whole application.

    Args:
        app: inside.
        metrics: that count.
        told: makes the page of an exception that nobody expected.
        loopback: the server listens at loopback only: a request for a public name is another site's trick (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, told: Told, *, loopback: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._told = told
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, size, received, whole = time.perf_counter(), 0, 0, 0, False

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        async def limited() -> Message:
            nonlocal received, whole
            left = (
                None if whole else max(started + BODY_S - time.perf_counter(), 0.0)
            )  # later only the end is waited for
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError as error:
                raise TooLate from error
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > MOST_BODY:
                raise TooLarge
            return message

        try:
            headers = Headers(scope=scope)
            if (refusal := self._refusal(headers)) is not None:
                await refusal(scope, receive, answer)
            else:
                body = b""
                while not whole:
                    body += (await limited()).get("body", b"")
                _check(scope, headers.get("content-type", ""), body)
                await self._app(scope, _again(body, limited), answer)
        except TooLarge:
            await _too_large()(scope, receive, answer)
        except TooLate:
            late = PlainTextResponse(
                f"the request did not arrive within {BODY_S:.0f} s\n", 408, {"Connection": "close"}
            )
            await late(scope, receive, answer)
        except Exception as error:
            if status:  # half of it is sent: the connection is cut, so that nobody takes it for the whole
                raise
            await (await self._told(Request(scope), error))(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count(scope["method"], route, status, seconds)
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],  # without the query: what people look for is theirs
                status=status,
                ms=round(1000 * seconds, 1),
                bytes=size,
                client=scope["client"][0] if scope.get("client") else None,
            )

    def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,15}", length) or int(length) > MOST_BODY:
            return _too_large()
        if self._loopback and not _local(headers.get("host", "")):
            return PlainTextResponse("this dashboard listens to its own machine only: use http://127.0.0.1\n", 421)
        return None


def _local(host: str) -> bool:
    """Whether a Host header names this machine: by an address or a name that nobody can point elsewhere."""
    name = (host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host).lower()
    return is_loopback(name) or name.endswith(".localhost") or name == socket.gethostname().lower()


def _again(body: bytes, later: Receive) -> Receive:
    """What receives a body that has been read, and then whatever comes."""
    parts = [body]

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await later()

    return receive


def _check(scope: Scope, kind: str, body: bytes) -> None:
    """Refuse what no text of a database can hold: NUL and halves of surrogate pairs; raises Malformed."""
    address = scope["path"] + unquote_plus(scope["query_string"].decode("latin-1"))
    if body and kind.startswith("application/json"):
        try:
            found = json.loads(body)
        except RecursionError as error:
            raise Malformed("the body has too many levels") from error
        except ValueError:  # the route says so
            found = None
        level = [found]
        while level:
            one = level.pop()
            if isinstance(one, dict):
                level += [*one, *one.values()]
            elif isinstance(one, list):
                level += one
            elif isinstance(one, str):
                address += one
    elif kind.startswith("application/x-www-form-urlencoded"):
        address += unquote_plus(body.decode("latin-1"))
    if unusable := _UNUSABLE.search(address):
        raise Malformed(f"the request has the character U+{ord(unusable[0]):04X}, which no text may have")


def _too_large() -> PlainTextResponse:
    return PlainTextResponse(f"the request is larger than {MOST_BODY} bytes\n", 413)
