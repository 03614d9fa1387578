"""The secret that the ranks of one run share."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gapsmith.core.errors import InputError
from gapsmith.datastore.wire import checked_token

TOKEN: Final = "GAPSMITH_DATASTORE_TOKEN"
TOKEN_FILE: Final = "GAPSMITH_DATASTORE_TOKEN_FILE"


def token(environment: Mapping[str, str] | None = None) -> bytes:
    """The token out of ``GAPSMITH_DATASTORE_TOKEN`` or out of the file that ``GAPSMITH_DATASTORE_TOKEN_FILE`` names.

    Raises:
        InputError: neither is set, the file cannot be read or others may read it, or the token is too short.
    """
    found = os.environ if environment is None else environment
    if TOKEN in found:
        return checked_token(found[TOKEN].encode())
    if TOKEN_FILE not in found:
        raise InputError(f"the data store needs a secret of this run: set {TOKEN} or {TOKEN_FILE} on all ranks")
    path = Path(found[TOKEN_FILE])
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(f"{path} holds the data store's token, and others may read it: chmod 600 {path}")
        return checked_token(path.read_bytes().strip())
    except OSError as error:
        raise InputError(f"{path} ({TOKEN_FILE}) cannot be read: {error}") from error
