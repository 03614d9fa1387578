"""What the API refuses, as exceptions.

GapsmithError
├── ApiError                  any problem document, with its code; its subclasses say which
│   ├── InvalidRequestError   also an InputError
│   ├── NotFoundError         also a NotFound
│   ├── ConflictError         also a Conflict
│   └── TokenError            the token is missing, not valid, or of another role
└── UnavailableError          no dashboard there, or its database cannot be reached
"""

from collections.abc import Mapping
from typing import Any

from gapsmith.core.errors import Conflict, ErrorCode, GapsmithError, InputError, NotFound, UnavailableError


class ApiError(GapsmithError):
    """The API did not do it.

    Args:
        code: of the error, as in the problem document.
        status: of HTTP.
        detail: what is wrong, where, and what to do.
        document: the problem document.
    """

    def __init__(self, code: ErrorCode, status: int, detail: str, document: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.document = document


class InvalidRequestError(ApiError, InputError):
    """A value cannot be used."""

    code = InputError.code


class NotFoundError(ApiError, NotFound):
    """What was asked for does not exist (any more)."""

    code = NotFound.code


class ConflictError(ApiError, Conflict):
    """The present state does not allow it."""

    code = Conflict.code


class TokenError(ApiError):
    """There is no valid token, or its role is not enough."""

    code = ErrorCode.UNAUTHENTICATED


_CLASSES = {401: TokenError, 403: TokenError, 404: NotFoundError, 409: ConflictError, 422: InvalidRequestError}


def of_answer(status: int, document: object, address: str) -> GapsmithError:
    """The exception of an answer that is not a success."""
    found = document if isinstance(document, Mapping) else {}
    detail = str(found.get("detail") or f"{address} answered with status {status}; is it a gapsmith dashboard?")
    code = next((one for one in ErrorCode if one == found.get("code")), ErrorCode.of_status(status))
    if code.status == UnavailableError.code.status:
        return UnavailableError(detail)
    return _CLASSES.get(code.status, ApiError)(code, status, detail, found)
