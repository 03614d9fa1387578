"""``gapsmith token``: who may use the dashboard and its API from elsewhere, or send commands."""

import re
from datetime import timedelta

import click

from gapsmith.core.terminal import echo

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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
    from gapsmith.cli.database import connected
    from gapsmith.store import tokens

    with connected() as connection:
        secret = tokens.create(connection, name, tokens.Role(role), valid_for=_duration(valid_for))
    echo(f"the token {name} ({role}); keep it, for it is shown only now:", err=True)
    echo(secret)


@token.command("list")
def list_() -> None:
    """All tokens, without their secrets."""
    from gapsmith.cli.database import connected
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
    from gapsmith.cli.database import connected
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
