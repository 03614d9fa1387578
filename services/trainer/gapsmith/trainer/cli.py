"""``gapsmith models``: which there are, where they come from, which one is live; ``gapsmith train``: a base training."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli import options
from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import ModelState
from gapsmith.core.terminal import confirm, echo, print_json, print_rows
from gapsmith.stack.connect import connected

if TYPE_CHECKING:
    from gapsmith.store.models import Model

REFERENCE = "ID|ROLE|ROLE:VERSION"
SOON = "running services take it up within seconds"


@click.group()
def models() -> None:
    """List, compare, promote and roll back models.

    A model is named by its role if it is live (surrogate), by role and version (surrogate:3), or by how its id begins.
    """


@models.command("list")
@click.option("--role", metavar="ROLE", help="surrogate or generator.")
@click.option("--state", "states", metavar="STATE[,STATE]", help=f"{', '.join(ModelState)}.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects, verdicts and times in full.")
def list_(role: str | None, states: str | None, as_json: bool) -> None:
    """All models, newest first, with what the promotion gate said of them. A pipe gets tab-separated values.

    For example: gapsmith models list --role surrogate --state live,retired
    """
    from dataclasses import asdict

    from gapsmith.store.model_story import listed
    from gapsmith.trainer.commands.models_show import brief

    wanted = options.chosen(states, list(ModelState), "--state")
    with connected() as connection:
        found = listed(connection, role=role, states=wanted)
    if as_json:
        print_json([{name: value for name, value in asdict(one).items() if name != "metrics"} for one in found])
        return
    empty = (
        "no model is like that" if role or states else "no models are registered yet: services do that (gapsmith up)"
    )
    print_rows([brief(one, sys.stdout.isatty()) for one in found], empty=empty)


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
    terminal = sys.stdout.isatty()
    print_rows(rows(found, terminal), empty="neither has metrics")
    for note in found.notes:
        echo(note, err=not terminal)


@models.command("promote")
@click.argument("reference", metavar=REFERENCE)
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the model's verdict.")
@click.option("--force", is_flag=True, help="Even if the promotion gate rejected it.")
@options.yes
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
@options.yes
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


@click.command()
@click.argument("model")
@click.option(
    "-d", "--directory", type=click.Path(path_type=Path, file_okay=False), help="Of the run; runs/MODEL if not given."
)
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML or JSON; the shipped model's if not given."
)
@click.option(
    "--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one key of the configuration."
)
@click.option("--time-budget", metavar="TIME", help="For example 30m; all resumed runs together.")
@click.option("--steps", type=click.IntRange(1, 1_000_000), help="Or a number of steps.")
@click.option("--resume", is_flag=True, help="Go on with the run in the directory; with another budget, if given.")
@click.option("--start", type=click.Path(path_type=Path, dir_okay=False), help="Weights (.safetensors) to begin with.")
@click.option(
    "--contrast",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights of a surrogate that sees the geometry alone, whose difference from the new one widens the error bars.",
)
@click.option("--np", "processes", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes.")
@click.option(
    "--hosts", metavar="A:2,B:2", help="Machines with processes on each, by ssh; the directory must be seen by all."
)
@click.option(
    "--backend",
    type=click.Choice(("auto", "single", "horovod", "torch")),
    default="auto",
    show_default=True,
    help="auto: Horovod for several.",
)
@click.option("--network-interface", default="lo", show_default=True, help="That several processes find each other by.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of a process; the machine's cores divided if not given.")
@options.device
@click.option("--split", help="Of the base data; the model's own if not given.")
@click.option("--molecules", type=click.IntRange(1, 10**9), help="Only so many of every source, to try things out.")
@options.seed
@click.option(
    "--accumulate", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Batches of a step."
)
@click.option(
    "--scaling",
    type=click.Choice(("none", "sqrt", "linear")),
    default="none",
    show_default=True,
    help="none: the processes share one batch; else a batch for each, and the learning rate grows so with their number.",
)
@click.option("--compress", is_flag=True, help="Gradients travel in half precision.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the network.")
@click.option("--full-precision", is_flag=True, help="No TF32 or bfloat16 on a GPU.")
@click.option(
    "--storage",
    type=click.Choice(("memory", "distributed", "disk")),
    default="memory",
    show_default=True,
    help="Base data in every process's memory, spread over the processes' memory, or on disk.",
)
@click.option("--replicas", type=click.IntRange(1, 1024), default=1, show_default=True, help="Of what is spread.")
@click.option(
    "--with",
    "data",
    multiple=True,
    metavar="NAME",
    help="Imported data set (gapsmith data import) that the live surrogate learns, with a head of its own; several times.",
)
def train(model: str, directory: Path | None, resume: bool, data: tuple[str, ...], **given: Any) -> None:
    """Train a surrogate or a generator on its base data.

    MODEL is a role (surrogate, generator), which means the architecture of its shipped weights, or the name of an
    architecture that is installed.

    A killed process does not end a training of several; a stopped training goes on with --resume. What comes out are weights
    with a card in the directory, beside metrics for TensorBoard.

    With --with, the live surrogate goes on learning: from the data sets, which get heads of their own, and from replayed base
    data, so that its other heads stay as good. It goes live if it passes the promotion gate.

    For example: gapsmith train surrogate --np 2 --time-budget 30m
    """
    from gapsmith.trainer.assignment import Paths
    from gapsmith.trainer.commands.train import alone, backend_of, carry_out, new, resumed

    paths = Paths((directory or Path("runs") / "-".join((model, *data))).absolute())
    if data:
        from gapsmith.trainer.commands.own_data import train_with
        from gapsmith.trainer.job import Folder
        from gapsmith.training.devices import usable_device

        if model != "surrogate":
            raise InputError(f"--with: a {model} does not learn from imported data; a surrogate does")
        with alone(paths):
            given["device"] = usable_device(given["device"])
            train_with(Folder(paths.folder), data, given, resume=resume)
        return
    with alone(paths):
        assignment = resumed(model, paths, given) if resume else new(model, paths, given)
        backend = backend_of(given["backend"], assignment.processes, given["hosts"])
        assignment.write(paths)
        carry_out(assignment, paths, backend, given)
