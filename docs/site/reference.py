"""Reference pages of the documentation site, as Markdown, from what is registered and from the models that validate it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

GROUPS: Final = {  # of entry points: what another package can add
    "gapsmith.properties": "Properties",
    "gapsmith.engines": "Engines",
    "gapsmith.trainables": "Architectures",
    "gapsmith.sources": "Sources of training data",
    "gapsmith.pools": "Pools of molecules",
    "gapsmith.services": "Services",
    "gapsmith.commands": "Commands",
}
Page = Callable[[], str]


def command_line() -> str:
    """Every command with its options."""
    from gapsmith.cli.main import SECTIONS, cli

    order = [name for names in SECTIONS.values() for name in names]
    found = sorted(commands(cli), key=lambda one: order.index(one[0][0]) if one[0][0] in order else len(order))
    parts = ["# Command line", "`gapsmith --help` lists the commands; `-h` after any of them prints what is below."]
    for path, command in found:
        parts += [f"## gapsmith {' '.join(path)}", *_command(path, command)]
    return "\n\n".join(parts)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that are not groups, with the words that call them; the services' come last."""
    context = click.Context(group)
    names = group.list_commands(context)
    if not path:
        names += sorted(point.name for point in entry_points(group="gapsmith.services") if point.name not in names)
    for name in names:
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"gapsmith {' '.join(path)}")
    yield _prose(command.help or "")
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    rows = [record for one in command.params if (record := one.get_help_record(context)) and record[1]]
    if rows:
        yield _table(("option", "meaning"), [(f"`{name}`", _escaped(text)) for name, text in rows])


def _prose(text: str) -> str:
    """Help of click, whose verbatim paragraphs begin with a backspace."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.replace("\f", "").strip()):
        if block.lstrip().startswith("\b"):
            blocks.append(f"```text\n{block.replace(chr(8), '').strip(chr(10))}\n```")
        else:
            blocks.append(_escaped(" ".join(block.split())))
    return "\n\n".join(blocks)


def rest_api() -> str:
    """Every route with its parameters, its body and its answers."""
    document = openapi()
    parts = ["# Routes of the REST API",
             "How to send requests, and who has access: [the REST API and its Python client](/api.md). A running "
             "dashboard serves the same as `/api/v1/openapi.json`."]  # fmt: skip
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += [f"## {method.upper()} {path}", *_route(operation)]
    parts += ["## Bodies and answers"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        rows = [
            (f"`{key}`", _kind(value), _escaped(value.get("description", "")))
            for key, value in schema.get("properties", {}).items()
        ]
        about = _table(("field", "type", "meaning"), rows) if rows else f"One of {_kind(schema)}."
        parts += [f"### {name}", _escaped(schema.get("description", "")), about]
    return "\n\n".join(part for part in parts if part)


def openapi() -> dict[str, Any]:
    """The OpenAPI document; no database is asked."""
    from gapsmith.core.settings import Settings
    from gapsmith.dashboard.app import create_app
    from gapsmith.dashboard.context import Context
    from gapsmith.dashboard.settings import DashboardSettings
    from gapsmith.store.database import Database

    with Database("postgresql://127.0.0.1:1/none") as database:
        document: dict[str, Any] = create_app(Context(database, Settings(), DashboardSettings())).openapi()
    document["paths"] = {path: one for path, one in document["paths"].items() if path.startswith("/api/")}
    return document


def _route(operation: Mapping[str, Any]) -> Iterator[str]:
    yield _escaped(f"{operation.get('summary', '')}.")
    if about := operation.get("description"):
        yield _escaped(about)
    if found := operation.get("parameters"):
        names = {one["name"] for one in found}
        parameters = [
            (_ends(one["name"], names), one["in"], _kind(one.get("schema", {})), _escaped(one.get("description", "")))
            for one in found
            if not (one["name"].endswith("_max") and _lower(one["name"]) in names)
        ]
        yield _table(("parameter", "in", "type", "meaning"), parameters)
    if body := operation.get("requestBody"):
        yield f"Body: {_kind(next(iter(body['content'].values()))['schema'])}"
    rows = [(code, _escaped(one.get("description", ""))) for code, one in operation["responses"].items()]
    yield _table(("status", "answer"), rows)


def _lower(name: str) -> str:
    return f"{name.removesuffix('_max')}_min"


def _ends(name: str, names: set[str]) -> str:
    """Both ends of a range in one cell."""
    upper = f"{name.removesuffix('_min')}_max"
    return f"`{name}`, `{upper}`" if name.endswith("_min") and upper in names else f"`{name}`"


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a JSON schema in a word or two."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_kind(one) for one in options)
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return ", ".join(f"`{value}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def levels() -> str:
    """The shipped levels of theory and recipes, and the keys of each."""
    from gapsmith.core.levels import Conformers, LevelOfTheory, Solvent, shipped
    from gapsmith.core.recipes import Recipe, Step
    from gapsmith.core.recipes import load as recipes
    from gapsmith.core.states import States

    rows = [(f"`{name}`", f"`{one.title}`", _escaped(one.about)) for name, one in shipped().items()]
    parts = ["# Levels of theory and recipes", "How they are used: [DFT calculations](/dft.md).", "## Shipped levels",
             _table(("level", "method", "what it computes"), rows)]  # fmt: skip
    models: dict[str, type[BaseModel]] = {
        "a level": LevelOfTheory, "solvent": Solvent, "conformers": Conformers, "states": States,
    }  # fmt: skip
    for title, model in models.items():
        parts += [f"## Keys of {title}", fields(model)]
    shown = [(f"`{name}`", f"`{one.column}`", f"`{one.value}`", _escaped(one.about)) for name, one in recipes().items()]
    parts += ["## Shipped recipes", _table(("recipe", "column", "value", "what it is"), shown)]
    parts += ["## Keys of a recipe", fields(Recipe), "## Keys of a calculation in a recipe", fields(Step)]
    return "\n\n".join(parts)


def properties() -> str:
    """All properties and columns."""
    from gapsmith.core import columns
    from gapsmith.core.properties import registered

    rows = [
        (f"`{name}`", f"`{one.column}`", one.unit, _escaped(one.description), f"{one.possible[0]:g} to {one.possible[1]:g}",
         f"{one.usual[0]:g} to {one.usual[1]:g}")
        for name, one in registered().items()
    ]  # fmt: skip
    heads = ("property", "column", "unit", "what it is", "possible targets", "of most training molecules")
    return "\n\n".join((
        "# Properties and columns",
        "A campaign aims at a property. Columns are the same in `gapsmith query`, the REST API, its client, exports "
        "and pages. The key sorts, and `--KEY LOW:HIGH` filters where a range is possible.",
        "## Properties", _table(heads, rows), "## Columns of candidates", columns.markdown(),
    ))  # fmt: skip


def plugins() -> str:
    """What is registered in every entry-point group, with what each says of itself."""
    from gapsmith.data.sources import registered as sources

    parts = ["# Plug-ins", "What is installed, by entry-point group. Another package adds to a group by an entry point "
             "alone; [CONTRIBUTING](/contributing.md) has the recipes."]  # fmt: skip
    for group, title in GROUPS.items():
        parts += [f"## {title}", f"Group `{group}`."]
        if group == "gapsmith.sources":
            rows = [
                (f"`{name}`", _escaped(one.title), _escaped(one.origin), one.licence) for name, one in sources().items()
            ]
            parts.append(_table(("name", "title", "origin", "licence"), rows))
        else:
            points = sorted(entry_points(group=group), key=lambda point: point.name)
            parts.append(_table(("name", "object"), [(f"`{point.name}`", f"`{point.value}`") for point in points]))
    return "\n\n".join(parts)


def settings() -> str:
    """Environment variables."""
    from gapsmith.core.settings import Settings
    from gapsmith.dashboard.settings import DashboardSettings
    from gapsmith.trainer.settings import TrainerSettings

    parts = ["# Settings", "Environment variables. An unknown `GAPSMITH_` variable is an error."]
    models: dict[str, type[BaseSettings]] = {
        "All services": Settings, "Dashboard": DashboardSettings, "Trainer": TrainerSettings
    }  # fmt: skip
    for title, model in models.items():
        prefix = str(model.model_config.get("env_prefix"))
        parts += [f"## {title}", fields(model, head="variable", prefix=prefix)]
    return "\n\n".join(parts)


def errors() -> str:
    """Codes of errors, of failed calculations, and of what ended."""
    from gapsmith.core.errors import ErrorCode, FailureClass
    from gapsmith.core.reasons import ReasonCode

    rows = [
        (f"`{one.value}`", str(one.status), str(one.exit_code), _escaped(one.summary), _escaped(one.advice))
        for one in ErrorCode
    ]
    return "\n\n".join((
        "# Codes", "## Errors", "Exit code 0 is success; 1 means that some records failed; 130 that the user interrupted "
        "the command.",
        _table(("code", "HTTP status", "exit code", "meaning", "advice"), rows),
        "## Failure classes of calculations", ", ".join(f"`{one.value}`" for one in FailureClass) + ".",
        "## Why a campaign or a candidate ended", ", ".join(f"`{one.value}`" for one in ReasonCode) + ".",
    ))  # fmt: skip


def fields(model: type[BaseModel], *, head: str = "key", prefix: str = "") -> str:
    """A table of a model's fields with their defaults and descriptions."""
    rows = []
    for key, field in model.model_fields.items():
        factory = field.default_factory
        default = "required" if field.is_required() else "" if factory is not None else f"`{_shown(field.default)}`"
        rows.append((f"`{f'{prefix}{key}'.upper() if prefix else key}`", default, _escaped(field.description or "")))
    return _table((head, "default", "meaning"), rows)


def _shown(value: object) -> str:
    if isinstance(value, BaseModel):
        return "{}"
    return "none" if value in (None, (), PydanticUndefined) else str(value)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heads)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Text that is not Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#$])", r"\\\1", " ".join(text.split()))


PAGES: Final[Mapping[str, Page]] = {
    "cli": command_line,
    "routes": rest_api,
    "levels": levels,
    "properties": properties,
    "plugins": plugins,
    "settings": settings,
    "codes": errors,
}
