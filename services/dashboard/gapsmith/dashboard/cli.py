"""``gapsmith dashboard``: where it is, or serve it here; ``gapsmith token``: who may use it from elsewhere."""

import os
import re
import threading
from datetime import timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from gapsmith.cli.main import service_group
from gapsmith.core.terminal import echo
from gapsmith.stack.connect import connected
from gapsmith.stack.dashboard import SERVICE

if TYPE_CHECKING:
    from gapsmith.core.settings import Settings

SERVICE_GROUP = "gapsmith.services"  # reached by name: commands import no service
LOOK_EVERY_S = 0.2
START_WITHIN_S = 60.0  # of one that is being started
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group(invoke_without_command=True)
@click.option(
    "--host", metavar="ADDRESS", help="Where to listen; beyond this machine every request needs a token.  [127.0.0.1]"
)
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="The next free one if it is taken.  [8700]")
@click.pass_context
def dashboard(context: click.Context, host: str | None, port: int | None) -> None:
    """Print the address of the running dashboard, or serve it until Ctrl-C.

    'gapsmith up' and 'gapsmith run' start it, too.
    """
    if context.invoked_subcommand is None:
        _find_or_serve(host, port)


for _one in service_group(SERVICE).commands.values():  # what every service has
    dashboard.add_command(_one)


def _find_or_serve(host: str | None, port: int | None) -> None:
    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.settings import settings
    from gapsmith.stack import dashboard as address
    from gapsmith.stack import machine
    from gapsmith.stack.connect import bring_up_to_date, connected_settings, using
    from gapsmith.stack.owner import sign_in_address
    from gapsmith.stack.stack import EmbeddedStack

    own = settings()
    if host is None and port is None:
        starting = machine.service_pid(own.home, SERVICE) is not None
        running = address.wait(own.home, START_WITHIN_S if starting else 0.0)
        if running is not None:
            found_servers = EmbeddedStack.of(own).find()
            echo(sign_in_address(found_servers.apply(own) if found_servers is not None else own, running))
            return
    for name, value in (("HOST", host), ("PORT", port)):
        if value is not None:
            os.environ[f"GAPSMITH_DASHBOARD_{name}"] = str(value)
    found = tuple(entry_points(group=SERVICE_GROUP, name=SERVICE))
    if not found:
        raise UnavailableError("the dashboard is not installed here; install gapsmith again")
    with using(EmbeddedStack.of(own)):
        connected = connected_settings()
        bring_up_to_date(connected)
        ended = threading.Event()
        threading.Thread(target=_tell, args=(connected, ended), daemon=True).start()
        try:
            found[0].load()(connected.model_copy(update={"log_json": False, "log_level": "warning"}))
        finally:
            ended.set()


def _tell(connected: "Settings", ended: threading.Event) -> None:
    """Print the address as soon as this process serves."""
    from gapsmith.stack import dashboard as address
    from gapsmith.stack.owner import sign_in_address

    while not ended.wait(LOOK_EVERY_S):
        if (url := address.own(connected.home)) is not None:
            echo(f"{sign_in_address(connected, url)}  (opens your session, once; Ctrl-C ends the dashboard)")
            return


@click.group()
def token() -> None:
    """Create, list and revoke tokens of the dashboard's API."""


@token.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(("viewer", "operator")),
    default="viewer",
    show_default=True,
    help="A viewer looks; an operator starts, pauses, stops and changes, too.",
)
@click.option("--valid-for", metavar="TIME", help="Ends by itself after so long: 90m, 12h, 30d or 8w.")
def create(name: str, role: str, valid_for: str | None) -> None:
    """Make a token called NAME and print it: it is stored nowhere, and shown this once."""
    from gapsmith.store import tokens

    with connected() as connection:
        secret = tokens.create(connection, name, tokens.Role(role), valid_for=_duration(valid_for))
    echo(f"the token {name} ({role}); keep it, for it is shown only now:", err=True)
    echo(secret)


@token.command("list")
def list_() -> None:
    """All tokens, without their secrets."""
    from gapsmith.core.terminal import print_rows
    from gapsmith.store import tokens

    with connected() as connection:
        found = tokens.every(connection)
    rows = [
        {
            "name": one.name,
            "role": str(one.role),
            "created": f"{one.created_at:%Y-%m-%d %H:%M}",
            "used": f"{one.used_at:%Y-%m-%d %H:%M}" if one.used_at else "never",
            "ends": f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "",
            "revoked": f"{one.revoked_at:%Y-%m-%d %H:%M}" if one.revoked_at else "",
        }
        for one in found
    ]
    print_rows(rows, empty="no tokens yet: gapsmith token create NAME")


@token.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """End the token called NAME for good, with the sessions of browsers that it began."""
    from gapsmith.store import tokens

    with connected() as connection:
        tokens.revoke(connection, name)
    echo(f"token {name} is revoked")


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})([mhdw])", text.strip())
    if found is None:
        from gapsmith.core.errors import InputError

        raise InputError(f"--valid-for: {text!r} is no time; write for example 90m, 12h, 30d or 8w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
