"""The one reader of YAML and JSON documents: campaigns, levels of theory, configurations of trainings, cards of models.

A document has at most a million bytes and fifty levels, every key once and as text, neither references to other parts of it
nor several documents; whatever else is wrong with it is an InputError too.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gapsmith.core.errors import InputError

if TYPE_CHECKING:
    import yaml

MOST_BYTES: Final = 1_000_000
DEEPEST: Final = 50
SHOWN: Final = 80  # characters of a value in a message


class _Fault(ValueError):
    """What is wrong with a document."""


def shown(value: object) -> str:
    """A value as messages quote it: shortened, however large it is."""
    if isinstance(value, list | tuple | dict) and len(value) > SHOWN:
        return f"{type(value).__name__} of {len(value)} entries"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of an integer with thousands of digits
        return f"a very large {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def place(parts: Iterable[object]) -> str:
    """Where a value stands, for example ``budget.dft_jobs``."""
    return ".".join(text if len(text := str(part)) <= SHOWN else f"{text[:SHOWN]}..." for part in parts)


def read_text(path: Path) -> str:
    """The text of a small file; raises InputError if it cannot be read or is too large, and FileNotFoundError."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise InputError(f"{path} has more than {MOST_BYTES} bytes, which no such file needs")
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or a name with a NUL
        raise InputError(f"{path} cannot be read: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """Keys and values of a file, JSON if its name ends so, else YAML.

    Raises:
        InputError: it is missing, cannot be read, or does not hold what a document may hold.
    """
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    return parse(text, str(path), kind="JSON" if path.suffix.lower() == ".json" else "YAML")


def parse(text: str, name: str, *, kind: str = "JSON") -> dict[str, Any]:
    """Keys and values of a text; raises InputError that begins with the name of the document."""
    found = value(text, name, kind=kind)
    if not isinstance(found, dict):
        raise InputError(f"{name} must hold keys and values, got {shown(found)}")
    return found


def value(text: str, name: str, *, kind: str = "JSON", most: int = MOST_BYTES) -> Any:
    """Whatever a text of so many characters at most holds; raises InputError that begins with the name of the document."""
    if len(text) > most:
        raise InputError(f"{name} has more than {most} characters, which no such document needs")
    try:
        found = _json(text) if kind == "JSON" else _yaml(text)
        _check(found)
    except ImportError as error:
        raise InputError(f"{name}: reading YAML needs PyYAML; install it or write the file as JSON") from error
    except RecursionError as error:
        raise InputError(f"{name} is not {kind}: it has more than {DEEPEST} levels") from error
    except ValueError as error:
        raise InputError(f"{name} is not {kind}: {error}") from error
    return found


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Fault(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} occurs twice")
    return found


def _constant(name: str) -> float:
    raise _Fault(f"{name} is not a number")


def _yaml(text: str) -> Any:
    import yaml  # where it is missing, JSON will do

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):  # before anything is built
            if isinstance(event, yaml.AliasEvent):
                raise _Fault(f"*{event.anchor} refers to another part of it; write the values out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise _Fault(f"it has more than {DEEPEST} levels")
        node = yaml.compose(text, Loader=loader)
        _unique_nodes(node)
        return yaml.load(text, Loader=loader)  # a safe loader
    except yaml.YAMLError as error:
        raise _Fault(" ".join(str(error).split())[:500]) from error


def _unique_nodes(node: "yaml.Node | None") -> None:
    """Refuse keys that occur twice, of which YAML's loader takes the last."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise _Fault(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} occurs twice")
        for _, inner in node.value:
            _unique_nodes(inner)
    elif isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            _unique_nodes(inner)


def _check(found: Any) -> None:
    """Refuse too many levels, keys that are not texts, and numbers of JSON that are beyond floating point."""
    level = [found]
    for _ in range(DEEPEST + 1):
        for one in level:
            if isinstance(one, Mapping) and (wrong := [key for key in one if not isinstance(key, str)]):
                raise _Fault(f"the key {shown(wrong[0])} is not a text; put it in quotes")
            if isinstance(one, float) and not math.isfinite(one):
                raise _Fault(f"{one} is not finite")
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise _Fault(f"it has more than {DEEPEST} levels")
