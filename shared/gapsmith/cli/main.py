"""``gapsmith``: a table of commands, each loaded only when it is called, so that help and queries answer at once."""

import importlib
import io
import sys
import traceback
from importlib.metadata import entry_points, version
from typing import ClassVar

import click

from gapsmith.core.errors import GapsmithError
from gapsmith.core.terminal import echo

SERVICE_GROUP = "gapsmith.services"


class LazyGroup(click.Group):
    """A group whose commands are named in a table and imported on use."""

    COMMANDS: ClassVar[dict[str, tuple[str, str]]] = {  # name: (module:attribute, one line of help)
        "run": (
            "gapsmith.coordinator.commands.run:run",
            "Run a campaign, show its progress, print the hits.",
        ),
        "dft": (
            "gapsmith.dft_queue.commands.dft:dft",
            "Compute your molecules through the DFT queue; write CSV, SDF, Parquet or JSON.",
        ),
        "jobs": ("gapsmith.dft_queue.cli:jobs", "List, explain, retry, cancel and re-prioritise DFT jobs."),
        "query": ("gapsmith.cli.query:query", "Question the candidate database; write SDF, CSV, Parquet or JSON."),
        "predict": (
            "gapsmith.surrogate.commands.predict:predict",
            "Predict properties of your molecules, with error bars.",
        ),
        "generate": (
            "gapsmith.generator.cli:generate",
            "Make molecules with a wanted gap, without servers.",
        ),
        "regrow": ("gapsmith.generator.cli:regrow", "Grow a part of your own molecules again."),
        "evaluate": ("gapsmith.cli.evaluate:evaluate", "Measure a model: errors, calibration, speed."),
        "data": ("gapsmith.cli.data:data", "Compute training data on this machine."),
        "train": (
            "gapsmith.trainer.commands.train:train",
            "Train a model on its base data, in one process or several; go on with a stopped training.",
        ),
        "models": (
            "gapsmith.trainer.cli:models",
            "List, compare, promote and roll back models; who was live when, and why.",
        ),
        "campaign": ("gapsmith.coordinator.cli:campaign", "List, show, pause, resume, extend and stop campaigns."),
        "dashboard": (
            "gapsmith.dashboard.cli:dashboard",
            "Print the address of the dashboard, or serve it: watch campaigns, question candidates.",
        ),
        "report": (
            "gapsmith.coordinator.commands.report:report",
            "Write a campaign's report, pictures, SDF and CSV again.",
        ),
        "token": ("gapsmith.cli.token:token", "Create, list and revoke tokens of the dashboard's API."),
        "up": ("gapsmith.cli.machine:up", "Start the embedded servers and all services in the background."),
        "down": ("gapsmith.cli.machine:down", "Stop what 'gapsmith up' started."),
        "status": ("gapsmith.cli.machine:status", "Show servers, services, campaigns and models."),
        "migrate": ("gapsmith.cli.machine:migrate", "Bring the database's schema up to date."),
    }

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command, or make the ``serve`` group of a service."""
        if name in self.COMMANDS:
            module, _, attribute = self.COMMANDS[name][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        for point in entry_points(group=SERVICE_GROUP, name=name):
            return service_group(point.name)
        return None

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for an unknown one."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            services = [point.name for point in entry_points(group=SERVICE_GROUP)]
            near = difflib.get_close_matches(args[0], [*self.COMMANDS, *services], n=1)
            raise click.UsageError(
                f"no such command: {args[0]}" + (f"; did you mean {near[0]}?" if near else "")
            ) from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.COMMANDS.items()])
        with formatter.section("Services"):
            names = sorted(point.name for point in entry_points(group=SERVICE_GROUP))
            formatter.write_dl([("<service> serve", f"Run one service in the foreground: {', '.join(names)}.")])


def service_group(name: str) -> click.Group:
    """``serve`` and ``healthy`` of a service."""
    group = click.Group(name, help=f"The service {name}.")

    @group.command("serve", help=f"Run the service {name} in the foreground until SIGTERM.")
    def serve() -> None:
        from gapsmith.core.settings import settings

        (point,) = entry_points(group=SERVICE_GROUP, name=name)
        point.load()(settings())

    @group.command("healthy", help=f"Exit code 0 if {name} on this host was heard of lately, 1 if not.")
    @click.pass_context
    def healthy(context: click.Context) -> None:
        from gapsmith.cli.health import problem
        from gapsmith.core.settings import settings

        if (reason := problem(name, settings())) is not None:
            echo(reason, err=True)
            context.exit(1)

    return group


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("gapsmith"), "-V", "--version", prog_name="gapsmith")
def cli() -> None:
    """Find molecules with the HOMO-LUMO gap you want: a closed loop of generator, surrogate and DFT."""


def main() -> None:
    """Entry point: every error is one sentence on the terminal; the traceback of an unexpected one goes to a log file."""
    try:
        sys.exit(cli(standalone_mode=False))  # click returns the code of an Exit, and None otherwise
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        echo(said.getvalue(), nl=False, err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except GapsmithError as error:
        _fail(error)
    except Exception as error:
        from gapsmith.core import crash

        told = crash.record(error)
        if told.log is None:  # as in a container whose home cannot be written, where standard error is the log
            traceback.print_exception(error)
        _fail(told)


def _fail(error: GapsmithError) -> None:
    """Print an error in one sentence with advice; exit with the code of the table."""
    echo("error: ", fg="red", bold=True, nl=False, err=True)
    echo(str(error), err=True)
    if error.advice:
        echo(f"hint: {error.advice}", err=True)
    sys.exit(error.code.exit_code)


if __name__ == "__main__":
    main()
