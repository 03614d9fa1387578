"""Answers in JSON with an ETag: who has the same already gets 304 and no body."""

import hashlib
from typing import Any, Final

from fastapi import Request, Response
from pydantic import TypeAdapter

_ANY: Final = TypeAdapter(Any)


def answered(
    request: Request, content: Any, *, kind: "TypeAdapter[Any]" = _ANY, headers: dict[str, str] | None = None
) -> Response:
    """200 with content, or 304 if the caller has it.

    Args:
        request: with or without If-None-Match.
        content: models, dataclasses, lists, numbers, texts, dates, ids.
        kind: how it is written; by its own types if not told.
        headers: more of the answer.
    """
    body = kind.dump_json(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    told = {**(headers or {}), "ETag": tag, "Cache-Control": "private, no-cache"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=told)
    return Response(body, media_type="application/json", headers=told)


UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "what If-None-Match names is still so"}}
