"""``gapsmith models``: which models there are, where they come from, which one is live; make another one live, go back."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli.database import connected
from gapsmith.core.terminal import confirm, echo
from gapsmith.trainer.commands.train import train

if TYPE_CHECKING:
    from gapsmith.store.model_story import Entry
    from gapsmith.store.models import Model

__all__ = ["models", "train"]

STATES = ("candidate", "live", "retired", "rejected")
VERDICT_WIDTH = 56
SHORT = 8  # characters of an id that a terminal shows
REFERENCE = "ID|ROLE|ROLE:VERSION"
SOON = "running services take it up within seconds"


@click.group()
def models() -> None:
    """List, compare, promote and roll back models.

    A model is named by its role if it is live (surrogate), by role and version (surrogate:3), or by how its id begins.
    """


@models.command("list")
@click.option("--role", metavar="ROLE", help="surrogate or generator.")
@click.option("--state", "states", metavar="STATE[,STATE]", help=f"{', '.join(STATES)}.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects, verdicts and times in full.")
def list_(role: str | None, states: str | None, as_json: bool) -> None:
    """All models, newest first, with what the promotion gate said of them. A pipe gets tab-separated values.

    For example: gapsmith models list --role surrogate --state live,retired
    """
    from gapsmith.store.model_story import listed

    wanted = _states(states)
    with connected() as connection:
        found = listed(connection, role=role, states=wanted)
    if as_json:
        from dataclasses import asdict

        print_json([{name: value for name, value in asdict(one).items() if name != "metrics"} for one in found])
        return
    from gapsmith.core.terminal import print_rows

    empty = (
        "no model is like that" if role or states else "no models are registered yet: services do that (gapsmith up)"
    )
    print_rows([_line(one, sys.stdout.isatty()) for one in found], empty=empty)


def _states(text: str | None) -> list[str]:
    from gapsmith.core.errors import InputError

    names = [] if text is None else [name.strip().lower() for name in text.split(",")]
    if unknown := [name for name in names if name not in STATES]:
        import difflib

        near = difflib.get_close_matches(unknown[0], STATES, n=1)
        raise InputError(
            f"--state: {unknown[0]!r} is none of {', '.join(STATES)}" + (f"; did you mean {near[0]}?" if near else "")
        )
    return names


def _line(one: "Entry", terminal: bool) -> dict[str, Any]:
    verdict = one.verdict or ""
    return {
        "id": str(one.id)[:SHORT] if terminal else str(one.id),
        "role": one.role,
        "version": one.version,
        "state": f"● {one.state}" if terminal and one.state == "live" else one.state,
        "labels": one.labels,
        "parent": one.parent_version,
        "campaign": one.campaign,
        "created": f"{one.created_at.astimezone():%Y-%m-%d %H:%M}" if terminal else one.created_at.isoformat(),
        "verdict": verdict if not terminal or len(verdict) <= VERDICT_WIDTH else f"{verdict[: VERDICT_WIDTH - 1]}…",
    }


def print_json(document: object) -> None:
    """JSON with all digits."""
    import json

    from gapsmith.core.output import plain

    echo(json.dumps(document, indent=1, default=lambda value: str(plain(value))))


@models.command("show")
@click.argument("reference", metavar=REFERENCE)
@click.option("--json", "as_json", is_flag=True, help="One object, with all metrics and all digits.")
def show(reference: str, as_json: bool) -> None:
    """Everything about one model: lineage, metrics, data, training, verdict, file, and when it was live."""
    from gapsmith.store import training_runs
    from gapsmith.store.model_story import lineage, promotions, resolve
    from gapsmith.trainer.commands.models_show import Story, as_document, lines

    with connected() as connection:
        line = lineage(connection, resolve(connection, reference))
        run = training_runs.of(connection, line[0].id)
        points = [] if run is None else training_runs.points(connection, run.id)
        one = Story.of(line, promotions(connection, role=line[0].role, model_id=line[0].id), run, points)
    if as_json:
        print_json(as_document(one))
    else:
        echo("\n".join(lines(one)))


@models.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="One object, with all digits.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Metrics of two models side by side, and what B has more than A.

    A model and the one it was trained from are compared by what was measured of both at its training, on the same labels.

    For example: gapsmith models compare surrogate:1 surrogate
    """
    from gapsmith.store.model_story import lineage, resolve
    from gapsmith.trainer.commands.models_compare import Comparison, as_document, rows

    with connected() as connection:
        one, other = (lineage(connection, resolve(connection, text))[0] for text in (first, second))
    found = Comparison.of(one, other)
    if as_json:
        print_json(as_document(found))
        return
    from gapsmith.core.terminal import print_rows

    terminal = sys.stdout.isatty()
    print_rows(rows(found, terminal), empty="neither has metrics")
    for note in found.notes:
        echo(note, err=not terminal)


@models.command("promote")
@click.argument("reference", metavar=REFERENCE)
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the model's verdict.")
@click.option("--force", is_flag=True, help="Even if the promotion gate rejected it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def promote(reference: str, reason: str | None, force: bool, yes: bool) -> None:
    """Make a model live by hand, after checking that its file is there, undamaged and of the right role.

    For example: gapsmith models promote surrogate:2 --reason 'better on nitriles'
    """
    from gapsmith.store import model_choice
    from gapsmith.store.model_story import resolve
    from gapsmith.store.models import get, live

    with connected() as connection:  # a person takes as long as they like to answer: no transaction waits for that
        model = get(connection, resolve(connection, reference))
        model_choice.check_promotable(model, force=force)
        replaced = live(connection, model.role)
    _ask(f"{model.name} goes live{_instead(replaced)}", yes)
    with connected() as connection:
        replaced = model_choice.promote(connection, model.id, who=who(), reason=reason, force=force)
    echo(f"{model.name} is live{_instead(replaced)}; {SOON}")


@models.command("rollback")
@click.argument("role", metavar="ROLE")
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the verdict of the model that is left.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(role: str, reason: str | None, yes: bool) -> None:
    """Go back to the model that was live before; once more, to the one before that.

    For example: gapsmith models rollback surrogate --reason 'too sure of itself'
    """
    from gapsmith.store import model_choice
    from gapsmith.store.model_story import check_role

    with connected() as connection:
        check_role(connection, role)
        left, model = model_choice.rollback_target(connection, role)
    _ask(f"{model.name} goes live again{_instead(left)}", yes)
    with connected() as connection:
        model = model_choice.rollback(connection, role, leave=left.id, who=who(), reason=reason)
    echo(f"{model.name} is live again{_instead(left)}; {SOON}")


def who() -> str:
    """user@host, for the records."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "someone"
    return f"{user}@{socket.gethostname()}"


def _instead(live: "Model | None") -> str:
    return f" instead of {live.name}" if live is not None else ""


def _ask(what: str, yes: bool) -> None:
    """Raise InputError if nobody can answer, Abort if the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        from gapsmith.core.errors import InputError

        raise InputError(f"{what}: nobody is there to confirm it; say so with --yes")
    confirm(f"{what}: go on?")
