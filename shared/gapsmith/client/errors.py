"""What the API refuses, as exceptions.

GapsmithError
├── ApiError                  any problem document; its subclasses say which
│   ├── InvalidRequestError   422, an InputError, too
│   ├── NotFoundError         404, an InputError, too
│   ├── ConflictError         409, an InputError, too
│   └── TokenError            401 and 403
└── UnavailableError          no dashboard there, or its database is away (503)
"""

from collections.abc import Mapping
from typing import Any

from gapsmith.core.errors import GapsmithError, InputError, UnavailableError


class ApiError(GapsmithError):
    """The API did not do it.

    Args:
        status: of HTTP.
        detail: what is wrong, where, and what to do.
        document: the problem document.
    """

    def __init__(self, status: int, detail: str, document: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.status = status
        self.document = document


class InvalidRequestError(ApiError, InputError):
    """A value cannot be used."""


class NotFoundError(ApiError, InputError):
    """There is no such thing, or not any more."""


class ConflictError(ApiError, InputError):
    """It cannot be done in the state that things are in."""


class TokenError(ApiError):
    """There is no valid token, or its role is not enough."""


_KINDS = {401: TokenError, 403: TokenError, 404: NotFoundError, 409: ConflictError, 422: InvalidRequestError}


def of_answer(status: int, document: object, address: str) -> GapsmithError:
    """The exception of an answer that is no success."""
    found = document if isinstance(document, Mapping) else {}
    detail = str(found.get("detail") or f"{address} answered with status {status}; is it a gapsmith dashboard?")
    if status == 503:
        return UnavailableError(detail)
    return _KINDS.get(status, ApiError)(status, detail, found)
