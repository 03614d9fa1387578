"""Variables that are unknown or cannot be used are named; every integer option has an upper bound."""

from collections.abc import Iterator

import click
import pytest

from gapsmith.cli.main import cli
from gapsmith.core.errors import InputError
from gapsmith.core.settings import EnvironmentSettings, Settings
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.trainer.settings import TrainerSettings


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (
            Settings,
            "GAPSMITH_DFT_WORKER",
            "2",
            r"GAPSMITH_DFT_WORKER is not a setting; did you mean 'GAPSMITH_DFT_WORKERS'",
        ),
        (Settings, "GAPSMITH_DFT_WORKERS", "many", "GAPSMITH_DFT_WORKERS: .*it is 'many'"),
        (Settings, "GAPSMITH_DFT_WORKERS", "9" * 5000, "GAPSMITH_DFT_WORKERS: "),
        (Settings, "GAPSMITH_DFT_WORKERS", "1000000", "GAPSMITH_DFT_WORKERS: .*less than or equal to 1024"),
        (Settings, "GAPSMITH_LEASE_S", "inf", "GAPSMITH_LEASE_S: "),
        (Settings, "GAPSMITH_HEARTBEAT_S", "nan", "GAPSMITH_HEARTBEAT_S: "),
        (Settings, "GAPSMITH_LOG_LEVEL", "loud", "GAPSMITH_LOG_LEVEL: .*debug"),
        (Settings, "GAPSMITH_KAFKA_OPTIONS", "{", "GAPSMITH_KAFKA_OPTIONS: it is not JSON"),
        (Settings, "GAPSMITH_KAFKA_OPTIONS", "[]", "GAPSMITH_KAFKA_OPTIONS: "),
        (DashboardSettings, "GAPSMITH_DASHBOARD_PORT", "99999", "GAPSMITH_DASHBOARD_PORT: "),
        (DashboardSettings, "GAPSMITH_DASHBOARD_PROT", "1", "did you mean 'GAPSMITH_DASHBOARD_PORT'"),
        (TrainerSettings, "GAPSMITH_TRAINER_NICE", "x", "GAPSMITH_TRAINER_NICE: "),
        (TrainerSettings, "GAPSMITH_TRAINER_NICENESS", "1", "GAPSMITH_TRAINER_NICENESS is not a setting"),
    ],
)
def test_wrong_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, kind: type[EnvironmentSettings], name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message) as caught:
        kind.load()
    assert len(str(caught.value)) < 900


def test_variables_of_single_services_are_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSMITH_DASHBOARD_PORT", "1234")
    monkeypatch.setenv("GAPSMITH_TRAINER_NICE", "5")
    monkeypatch.setenv("GAPSMITH_CACHE", "/somewhere")
    Settings.load()
    assert DashboardSettings.load().port == 1234


def commands(command: click.Command, path: str = "gapsmith") -> Iterator[tuple[str, click.Command]]:
    """All commands of the program."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None:
                yield from commands(found, f"{path} {name}")


def test_every_integer_option_has_an_upper_bound() -> None:
    found = {path: command.params for path, command in commands(cli)}
    assert len(found) > 30
    for path, parameters in found.items():
        for one in parameters:
            if isinstance(one.type, click.types.IntParamType):
                assert isinstance(one.type, click.IntRange), (path, one.name)
                assert one.type.max is not None, (path, one.name)
