"""``gapsmith``: commands are entry points, each loaded only when it is called, so that help and queries answer at once."""

import io
import os
import sys
from typing import Final, NoReturn

import click

from gapsmith.cli.commands import CommandGroup, registered, summary
from gapsmith.core.errors import GapsmithError, disk_full
from gapsmith.core.terminal import echo

SERVICE_GROUP = "gapsmith.services"


SECTIONS: Final = {  # in the order of the help; commands of other packages come last
    "Campaigns": ("run", "campaign", "query", "report"),
    "Molecules": ("predict", "generate", "regrow", "dft", "jobs"),
    "Models": ("models", "train", "evaluate", "data"),
    "This machine": ("up", "down", "worker", "status", "dashboard", "token", "migrate"),
}


class MainGroup(CommandGroup):
    """All commands, and ``serve`` and ``healthy`` of every service."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command, or make the group of a service."""
        found = super().get_command(context, name)
        if found is None and registered(SERVICE_GROUP).select(name=name):
            return service_group(name)
        return found

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for an unknown one."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            from gapsmith.core.hints import hint

            services = [point.name for point in registered(SERVICE_GROUP)]
            raise click.UsageError(f"no such command: {args[0]}{hint(args[0], [*self.points(), *services])}") from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Sections of commands, and the services."""
        points = self.points()
        known = [name for names in SECTIONS.values() for name in names]
        sections = {**SECTIONS, "Other commands": tuple(name for name in points if name not in known)}
        for title, names in sections.items():
            if rows := [(name, summary(points[name])) for name in names if name in points]:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section("Services"):
            services = sorted(point.name for point in registered(SERVICE_GROUP))
            formatter.write_dl([("SERVICE serve", f"Run one service in the foreground: {', '.join(services)}.")])


def service_group(name: str) -> click.Group:
    """``serve`` and ``healthy`` of a service."""
    group = click.Group(name, help=f"The service {name}.")

    @group.command("serve", help=f"Run the service {name} in the foreground until SIGTERM.")
    def serve() -> None:
        from gapsmith.core.settings import settings

        (point,) = registered(SERVICE_GROUP).select(name=name)
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


@click.group(cls=MainGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(None, "-V", "--version", package_name="gapsmith", prog_name="gapsmith")
def cli() -> None:
    """Find molecules with the HOMO-LUMO gap you want: a closed loop of generator, surrogate and DFT."""


def main() -> None:
    """Entry point: every error is one sentence on the terminal; the traceback of an unexpected one goes to a log file."""
    try:
        code = cli(standalone_mode=False)  # click returns the code of an Exit, and None otherwise
        sys.stdout.flush()  # while what goes wrong can be told
        sys.exit(code)
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

        if (full := disk_full(error)) is not None:
            _give_up_output()
            _fail(full)
        told = crash.record(error)
        if told.log is None:  # as in a container whose home cannot be written, where standard error is the log
            import traceback

            traceback.print_exception(error)
        _fail(told)


def _give_up_output() -> None:
    """Drop what standard output does not take, which Python would try to write again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: GapsmithError) -> NoReturn:
    """Print an error in one sentence with advice; exit with the code of the table."""
    echo("error: ", fg="red", bold=True, nl=False, err=True)
    echo(str(error), err=True)
    if error.advice:
        echo(f"hint: {error.advice}", err=True)
    sys.exit(error.code.exit_code)


if __name__ == "__main__":
    main()
