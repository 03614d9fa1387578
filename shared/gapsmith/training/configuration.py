"""Configurations of base trainings: YAML or JSON files, of which single keys can be changed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gapsmith.core.errors import InputError


def read(path: Path) -> dict[str, Any]:
    """A file's mapping; raises InputError naming what is wrong."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        if path.suffix == ".json":
            found = json.loads(text)
        else:
            import yaml  # where it is missing, JSON will do

            found = yaml.safe_load(text)
    except ImportError as error:
        raise InputError(f"{path}: reading YAML needs PyYAML; install it or write the file as JSON") from error
    except Exception as error:  # JSON's and YAML's have no common base
        raise InputError(f"{path} cannot be parsed: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold keys and values, got {found!r}")
    return found


def changed(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A configuration with some keys changed, each by ``section.key=value``; raises InputError on an unknown key."""
    found: dict[str, Any] = json.loads(json.dumps(config))
    for change in changes:
        path, equals, value = change.partition("=")
        *sections, key = path.split(".")
        place: Any = found
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not sections or not isinstance(place, dict) or key not in place:
            raise InputError(f"{change}: there is no such key; write section.key=value, e.g. training.batch_size=32")
        try:
            place[key] = json.loads(value)
        except ValueError:
            place[key] = value
    return found
