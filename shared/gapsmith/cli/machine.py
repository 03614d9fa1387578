"""``gapsmith up``, ``down``, ``status``, ``migrate``: the embedded servers and services of this machine."""

import os
import socket
import time
from pathlib import Path

import click

from gapsmith.core.terminal import echo

START_WITHIN_S = 60.0
DASHBOARD_WITHIN_S = 15.0  # nobody waits longer for a convenience
MOST_MODELS = 20  # of the list


@click.command()
@click.option("--servers-only", is_flag=True, help="No services: Postgres, Kafka and the DFT workers' broker alone.")
@click.option("--listen", metavar="HOST[:PORT]", help="Let DFT workers of other machines join at this address.")
def up(servers_only: bool, listen: str | None) -> None:
    """Start the embedded servers and all services in the background."""
    from gapsmith.core.errors import InputError
    from gapsmith.core.settings import settings
    from gapsmith.stack import dashboard, gateway, machine
    from gapsmith.stack.connect import bring_up_to_date, connected_settings, stay
    from gapsmith.stack.owner import sign_in_address
    from gapsmith.stack.stack import EmbeddedStack

    started = time.monotonic()
    if listen is not None:
        if servers_only or EmbeddedStack.of(settings()).external:
            raise InputError(
                "--listen is for the services and embedded servers; workers can use other servers by their URLs"
            )
        if machine.background_pid(settings().home) is not None:
            raise InputError("the services run already: gapsmith down ends them, then gapsmith up --listen")
        os.environ["GAPSMITH_LISTEN"] = listen
        gateway.address(listen)
    stay(EmbeddedStack.of(settings()))
    connected = connected_settings(quiet=True)
    bring_up_to_date(connected)
    if not servers_only and machine.background_pid(connected.home) is None:
        machine.start_background(connected, START_WITHIN_S)
    address = None if servers_only else dashboard.wait(connected.home, DASHBOARD_WITHIN_S)
    what = "servers" if servers_only else "servers and services"
    echo(
        f"{what} are up after {time.monotonic() - started:.1f} s: gapsmith status shows them, gapsmith down stops them"
    )
    if address is not None:
        echo(f"dashboard: {sign_in_address(connected, address)}  (opens your session, once)")
    elif not servers_only:
        echo("the dashboard is not up yet; gapsmith dashboard prints its address")
    if listen is not None:
        _tell_of_gateway(connected.home, *gateway.address(listen))


def _tell_of_gateway(home: Path, host: str, port: int) -> None:
    """Print the command of a worker, once the gateway lets one in; raises UnavailableError if it does not."""
    from gapsmith.stack.gateway import identity
    from gapsmith.stack.joining import wait_for_gateway

    key = identity(home).key
    anywhere = host in ("0.0.0.0", "::")
    wait_for_gateway("127.0.0.1" if anywhere else host, port, key, START_WITHIN_S)
    shown = socket.gethostname() if anywhere else f"[{host}]" if ":" in host else host
    echo(f"on another machine with gapsmith: gapsmith worker --join {shown}:{port} <<< {key}")
    echo("whoever has this key can do what the services can: keep it to yourself")


@click.command()
def down() -> None:
    """Stop the services and the embedded servers."""
    from gapsmith.core.settings import settings
    from gapsmith.stack import machine
    from gapsmith.stack.stack import EmbeddedStack

    own = settings()
    services = machine.stop_background(own.home)
    servers = EmbeddedStack.of(own).down()
    stopped = (["services"] if services else []) + servers
    echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@click.command()
def status() -> None:
    """Show servers, services, campaigns and models."""
    from gapsmith.cli.health import MISSED_BEATS
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.core.settings import settings
    from gapsmith.core.terminal import print_rows
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.stack.supervisor import last_deaths
    from gapsmith.store import campaigns, heartbeats, model_story
    from gapsmith.store.database import Database

    own = settings()
    stack = EmbeddedStack.of(own)
    print_rows(
        [
            {"server": server.name, "state": server.state, "port": server.port or "", "pid": server.pid or ""}
            for server in stack.status()
        ],
        empty="no embedded servers",
    )
    found = stack.find()
    if found is None:
        echo("start with: gapsmith up, or gapsmith run examples/quickstart.yaml")
        return
    with Database.from_settings(found.apply(own)) as database, database.transaction() as connection:
        beats = [one for one in heartbeats.alive(connection, MISSED_BEATS * own.heartbeat_s) if not one.gone]
        models = model_story.listed(connection)[:MOST_MODELS]
        named = campaigns.every(connection)
    print_rows(
        [{"service": b.service, "pid": b.pid, "does": b.activity, "seen_s_ago": round(b.age_s)} for b in beats],
        empty="no service runs",
    )
    for name, death in last_deaths(own.home / "run").items():
        echo(f"{name} {death}")
    print_rows(
        [
            {"model": m.role, "version": m.version, "state": m.state, "labels": m.labels, "verdict": m.verdict or ""}
            for m in models
        ],
        empty="no models are registered yet",
    )
    print_rows(
        [{"campaign": one.name, "state": str(one.state), "reason": one.stop_reason or ""} for one in named],
        empty="no campaigns yet",
    )
    waiting = [one.name for one in named if one.state is CampaignState.RUNNING]
    if waiting and not any(b.service == "coordinator" for b in beats):
        echo(f"nothing steers {', '.join(waiting)}: gapsmith up starts the services, and so does gapsmith run")


@click.command()
def migrate() -> None:
    """Bring the schema of the database up to date: of GAPSMITH_POSTGRES_URL, or the embedded one."""
    from gapsmith.stack.connect import bring_up_to_date, connected_settings

    started = time.monotonic()
    revision = bring_up_to_date(connected_settings())
    echo(f"schema is at {revision} ({time.monotonic() - started:.1f} s)")
