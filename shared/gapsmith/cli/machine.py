"""``gapsmith up``, ``down``, ``status``, ``migrate``: the embedded servers and services of this machine."""

import time

import click

from gapsmith.core.terminal import echo

START_WITHIN_S = 60.0
DASHBOARD_WITHIN_S = 15.0  # nobody waits longer for a convenience
MOST_MODELS = 20  # of the list


@click.command()
@click.option("--servers-only", is_flag=True, help="No services: Postgres, Kafka and the DFT workers' broker alone.")
def up(servers_only: bool) -> None:
    """Start the embedded servers and all services in the background."""
    from gapsmith.core.settings import settings
    from gapsmith.stack import dashboard, machine
    from gapsmith.stack.connect import bring_up_to_date, connected_settings, stay
    from gapsmith.stack.owner import sign_in_address
    from gapsmith.stack.stack import EmbeddedStack

    started = time.monotonic()
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
