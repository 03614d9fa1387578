"""Configurations of base trainings, of which single keys can be changed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gapsmith.core import documents
from gapsmith.core.errors import InputError


def changed(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A configuration with some keys changed, each by ``section.key=value``; raises InputError on an unknown key."""
    found: dict[str, Any] = json.loads(json.dumps(config))
    for change in changes:
        path, equals, text = change.partition("=")
        *sections, key = path.split(".")
        place: Any = found
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not sections or not isinstance(place, dict) or key not in place:
            raise InputError(
                f"{documents.shown(change)}: there is no such key; write section.key=value, e.g. training.batch_size=32"
            )
        try:
            place[key] = documents.value(text, path)
        except InputError:
            place[key] = text
    return found
