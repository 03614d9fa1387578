"""``gapsmith run``, ``campaign`` and ``report``: campaigns from their file to their results."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli import options
from gapsmith.core.terminal import echo
from gapsmith.stack.connect import connected, open_database

if TYPE_CHECKING:
    from gapsmith.store.database import Connection

STEERED_WITHIN_S = 30.0  # that is when the coordinator was heard of, if it is there


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen and how long it may take; touch nothing.")
@options.results_folder
@options.yes
def run(file: Path, dry_run: bool, results: Path | None, yes: bool) -> None:
    """Run the campaign of FILE until its budget is spent or its hits are found.

    Starts the embedded servers and services unless 'gapsmith up' did. Ctrl-C stops cleanly; the same command resumes. If
    only the budget has changed since the last run, the same campaign goes on with it; any other change begins a new one.
    """
    from gapsmith.coordinator.commands.estimate import plan
    from gapsmith.coordinator.commands.run import carry_out, meant_by
    from gapsmith.core.campaign import read_campaign
    from gapsmith.core.chemistry.screening import check_constraints
    from gapsmith.core.errors import InputError
    from gapsmith.core.model_domain import check_campaign, warnings, within
    from gapsmith.data import imported
    from gapsmith.stack.connect import known_domains

    config, domains = read_campaign(file), known_domains()
    try:
        check_campaign(config, domains)
        check_constraints(within(config.constraints, domains.values()))
        imported.check(config.data)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    for warning in warnings(config, domains):
        echo(f"warning: {warning}", fg="yellow", err=True)
    if dry_run:
        for line in [*plan(config, domains), meant_by(config)]:
            echo(line)
        return
    carry_out(config, results, yes=yes)


@click.command()
@click.argument("name")
@options.results_folder
def report(name: str, results: Path | None) -> None:
    """Write the report, pictures, SDF and CSV of the campaign NAME again."""
    from gapsmith.coordinator.commands.report import write_report
    from gapsmith.store import campaigns

    with open_database() as database:
        with database.transaction() as connection:
            campaign = campaigns.named(connection, name)
        files = write_report(database, campaign, results or Path("results") / name)
    echo(f"report     {files.report}\npicture    {files.picture}\nmolecules  {files.sdf}")
    echo(f"tables     {files.csv}, {files.candidates}")


@click.group()
def campaign() -> None:
    """List, show, pause, resume, extend, retarget, clone, export, stop and delete campaigns."""


@campaign.command("list")
def list_() -> None:
    """All campaigns with their state and counts."""
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.core.terminal import print_rows
    from gapsmith.store import campaigns, progress

    with connected() as connection:
        rows, steered = [], _steered(connection)
        for one in campaigns.every(connection):
            now = progress.counts(connection, one.id)
            idle = one.state is CampaignState.RUNNING and not steered
            rows.append(
                {
                    "name": one.name,
                    "state": f"{one.state}, but nothing works on it" if idle else str(one.state),
                    "target": str(one.config.target),
                    "candidates": sum(now.by_state.values()),
                    "labelled": now.labels,
                    "hits": now.hits_by_kind,
                    "reason": one.stop_reason or "",
                }
            )
    print_rows(rows, empty="no campaigns yet: gapsmith run examples/quickstart.yaml")


@campaign.command("show")
@click.argument("name")
def show(name: str) -> None:
    """One campaign: its file and where it stands."""
    import yaml

    from gapsmith.coordinator.commands.display import progress_lines
    from gapsmith.store import campaigns, progress

    with connected() as connection:
        one = campaigns.named(connection, name)
        echo(yaml.safe_dump(one.config.model_dump(mode="json"), sort_keys=False).rstrip())
        echo(f"state: {one.state}" + (f" ({one.stop_reason})" if one.stop_reason else ""))
        for line in [*one.level_lines(), *progress_lines(progress.progress(connection, one.id))]:
            echo(line)


@campaign.command("audit")
@click.argument("name", required=False)
def audit(name: str | None) -> None:
    """What the screen for hazards refused, and where it was switched off; NAME: of one campaign."""
    from gapsmith.core.terminal import print_rows
    from gapsmith.store import audits

    with connected() as connection:
        print_rows(audits.records(connection, name), empty="the screen for hazards has refused nothing")


@campaign.command("pause")
@click.argument("name")
def pause(name: str) -> None:
    """Propose and compute nothing new; what runs is finished."""
    _change(name, "paused")


@campaign.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Go on with a paused campaign."""
    _change(name, "running")


@campaign.command("stop")
@click.argument("name")
def stop(name: str) -> None:
    """End a campaign for good; its results stay."""
    _change(name, "stopped")


@campaign.command("extend")
@click.argument("name")
@click.option(
    "--dft-jobs",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Triage calculations, those that are done included.",
)
@click.option("--wall-time", metavar="TIME", help="Running time, the past included: seconds, or 90s, 15m, 1h30m.")
@click.option(
    "--wanted-hits", type=click.IntRange(1, 1_000_000), metavar="N", help="Enough hits, those that are found included."
)
def extend(name: str, **budget: Any) -> None:
    """Go on with a campaign, finished or not, with another budget; what it computed counts.

    For example: gapsmith campaign extend quickstart --dft-jobs 40 --wall-time 2h
    """
    from gapsmith.coordinator.commands import begin
    from gapsmith.core.campaign import changed_budget
    from gapsmith.store import campaigns

    changes = {key: value for key, value in budget.items() if value is not None}
    with connected() as connection:
        one = campaigns.named(connection, name)
        new = changed_budget(one.config, changes)
        begin.extend(connection, one, new)
        steered = _steered(connection)
    echo(begin.Meaning(name, one, new).words())
    if not steered:
        echo("no services run: 'gapsmith up' starts them, and so does 'gapsmith run' with its file")


@campaign.command("target")
@click.argument("name")
@click.argument("wanted", nargs=-1, required=True)
def target(name: str, wanted: tuple[str, ...]) -> None:
    """Give the campaign NAME another target: WANTED is one or more of what must hold, each in quotes.

    For example: gapsmith campaign target quickstart 'gap 3.3 +- 0.1 eV' 'homo below -5.5' 'minimise dipole'. Known labels
    count by the new target at once; molecules and calculations that wait for the old one are dropped.
    """
    from gapsmith.core.campaign import changed_target
    from gapsmith.core.wanted import read_text
    from gapsmith.store import campaigns, progress

    with connected() as connection:
        one = campaigns.named(connection, name)
        new = changed_target(one.config, [read_text(text) for text in wanted])
        campaigns.retarget(connection, one.id, new, source="cli")
        now = progress.counts(connection, one.id)
        steered = _steered(connection)
    echo(f"campaign {name} wants {new}: {now.labels} known labels count, hits {now.hits_by_kind}")
    if not steered:
        echo("no services run: 'gapsmith up' starts them, and so does 'gapsmith run' with a file of this target")


@campaign.command("export")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Instead of standard output.",
)
def export(name: str, output: Path | None) -> None:
    """Write the campaign NAME as a file: what differs from the defaults, with its target and budget of today.

    For example: gapsmith campaign export quickstart -o mine.yaml
    """
    from gapsmith.core.campaign import as_file
    from gapsmith.core.errors import UnavailableError
    from gapsmith.store import campaigns

    with connected() as connection:
        text = as_file(campaigns.named(connection, name).config)
    if output is None:
        echo(text.rstrip())
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UnavailableError(f"{output} cannot be written: {error.strerror}") from error
    echo(f"campaign {name} is in {output}: gapsmith run {output} goes on with it")


@campaign.command("clone")
@click.argument("name")
@click.argument("new")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Of all random choices.  [one of its own]")
def clone(name: str, new: str, seed: int | None) -> None:
    """Begin a campaign called NEW from zero, with the target, constraints and budget of the campaign NAME.

    For example: gapsmith campaign clone quickstart quickstart-again
    """
    from gapsmith.core.campaign import cloned
    from gapsmith.store import campaigns

    with connected() as connection:
        config = cloned(campaigns.named(connection, name).config, new, seed)
        campaigns.create(connection, config, source="cli")
        steered = _steered(connection)
    echo(f"campaign {new} begins: {config.target}, seed {config.seed}")
    if not steered:
        echo(f"no services run: 'gapsmith up' starts them, and so does 'gapsmith run' with the file of {new}")


@campaign.command("delete")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Say what would go; delete nothing.")
@options.yes
def delete(name: str, dry_run: bool, yes: bool) -> None:
    """Delete a campaign that has ended: its candidates, their predictions, and jobs that no other campaign has.

    Models that were trained for it stay.
    """
    from gapsmith.core.terminal import confirm
    from gapsmith.store import campaigns, deleting

    with open_database() as database:
        with database.tried() as connection:
            found = deleting.campaign(connection, campaigns.named(connection, name).id)
        words = (
            f"{found.candidates} candidates, {found.jobs} jobs and {found.geometries} geometries of campaign {name}; "
            f"{found.shared} jobs that others use stay"
        )
        if dry_run:
            echo(f"would delete {words}")
            return
        if not yes:
            confirm(f"Delete {words}?")
        with database.transaction() as connection:
            deleting.campaign(connection, campaigns.named(connection, name).id)
    echo(f"deleted {words}")


@campaign.command("schema")
@click.option("--markdown", is_flag=True, help="A table for people instead.")
def schema(markdown: bool) -> None:
    """Print the JSON schema of the campaign file."""
    import json

    from gapsmith.core.campaign import CampaignConfig

    found = CampaignConfig.model_json_schema()
    echo("\n".join(_table(found)) if markdown else json.dumps(found, indent=2))


def _steered(connection: "Connection") -> bool:
    """Whether a coordinator is there, without which nothing works on running campaigns."""
    from gapsmith.store import heartbeats

    return any(
        beat.service == "coordinator" and not beat.gone for beat in heartbeats.alive(connection, STEERED_WITHIN_S)
    )


def _table(found: dict[str, Any]) -> list[str]:
    """All keys of the campaign file as Markdown."""
    from gapsmith.core.campaign import section_of

    lines = [
        "# The campaign file",
        "",
        "Made by `make schema` from the model that validates it; `docs/campaign.schema.json` is the same for editors.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    for name, part in found["properties"].items():
        section = section_of(found, part)
        keys = {"": part} if section is None else section["properties"]
        entries = {".".join(filter(None, (name, key))): value for key, value in keys.items()}
        required = found["required"] if section is None else [f"{name}.{key}" for key in section.get("required", [])]
        for key, value in entries.items():
            default = "required" if key in required else "" if value.get("default") is None else f"`{value['default']}`"
            lines.append(f"| `{key}` | {default} | {value.get('description', '')} |")
    return lines


def _change(name: str, state: str) -> None:
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.core.reasons import STOPPED_BY_USER
    from gapsmith.store import campaigns

    with connected() as connection:
        one = campaigns.named(connection, name)
        reason = STOPPED_BY_USER if state == "stopped" else None
        campaigns.set_state(connection, one.id, CampaignState(state), source="cli", reason=reason)
    echo(f"campaign {name} is {state}")
