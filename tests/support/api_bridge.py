"""A transport for the Python client that hands its requests to an application in this process."""

import httpx
from fastapi.testclient import TestClient


class Bridge(httpx.BaseTransport):
    """Requests of a client, given to an application."""

    def __init__(self, api: TestClient) -> None:
        self._api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._api.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
