"""What can be checked of compose/ without Docker: the official schema, completeness, pins, health checks, secrets."""

import base64
import json
import re
import tomllib
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from celery.utils.quorum_queues import detect_quorum_queues

from gapsmith.core.settings import Settings
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.dft_queue.app import LONGEST_JOB_S, QUEUES, make_app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = sorted(PROJECT["entry-points"]["gapsmith.services"])
SPECIAL = {"xtb_worker": "dft_worker"}  # the same program with other settings
SERVERS = ["kafka", "postgres", "rabbitmq"]
RUN_AND_END = ["gapsmith", "migrate"]
DEFAULTS = dict(
    line.split("=", 1) for line in (FOLDER / ".env.example").read_text().splitlines() if re.match(r"\w+=", line)
)


def strings(value: object) -> list[str]:
    """All strings in a tree."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def problems(compose: dict[str, Any]) -> list[str]:
    """What the Compose specification's schema says; the package carries it as a file, its own code is not used."""
    carrier = distribution("check-jsonschema")
    file = Path(str(carrier.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")))
    schema = json.loads(file.read_text())
    found = jsonschema.validators.validator_for(schema)(schema).iter_errors(compose)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


def test_it_follows_the_official_schema() -> None:
    assert problems(COMPOSE) == []


def test_the_schema_sees_a_misspelt_key() -> None:
    broken = {**COMPOSE, "services": {"kafka": {**SERVICES["kafka"], "helthcheck": {}}}}
    assert any("helthcheck" in problem for problem in problems(broken))


def test_every_part_of_the_system_is_there() -> None:
    assert sorted(SERVICES) == sorted([*OURS, *SPECIAL, *SERVERS, *RUN_AND_END])
    assert SERVICES["kafka"]["image"].startswith("apache/kafka:4.")


@pytest.mark.parametrize("name", [*OURS, *SPECIAL])
def test_a_service_is_started_and_checked_by_its_name(name: str) -> None:
    service = SERVICES[name]
    program = SPECIAL.get(name, name)
    assert service["command"] == [program, "serve"]
    assert service["healthcheck"]["test"] == ["CMD", "gapsmith", program, "healthy"]
    assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", [*OURS, *SPECIAL, *RUN_AND_END])
def test_our_containers_have_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("privileged")
    published = service.get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not published or name == "dashboard"


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_stays_up_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in RUN_AND_END:
        assert check == {"disable": True}
    else:
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_exist_and_can_become_ready(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert other in RUN_AND_END


def test_images_are_pinned() -> None:
    pulled = [service["image"] for service in SERVICES.values() if "build" not in service]
    pulled += re.findall(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert len(pulled) == len(SERVERS) + 1
    for image in pulled:
        assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z]+)*$", image), image
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert base == "${PYTHON_IMAGE}" or base in stages


def test_there_are_no_secrets_in_the_files() -> None:
    for text in strings(COMPOSE):
        for password in re.findall(r"://\w+:([^@]*)@", text):
            assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", password)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASS|SECRET|TOKEN", name):
                assert str(value).startswith("${"), name
    assert all(value == "" for name, value in DEFAULTS.items() if "PASSWORD" in name)
    ignored = (ROOT / ".gitignore").read_text().split()
    assert ".env" in ignored


def test_the_example_names_every_variable_and_has_the_files_defaults() -> None:
    used = {name: default for text in strings(COMPOSE) for name, default in re.findall(r"\$\{(\w+)(:[-?][^}]*)?", text)}
    assert set(DEFAULTS) == set(used)
    for name, default in used.items():
        assert default.startswith(":?") or default == f":-{DEFAULTS[name]}", name


def test_settings_of_the_services_exist_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name.startswith("GAPSMITH_DASHBOARD_"):
                assert name.removeprefix("GAPSMITH_DASHBOARD_").lower() in DashboardSettings.model_fields
            elif name.startswith("GAPSMITH_"):
                assert name.removeprefix("GAPSMITH_").lower() in Settings.model_fields
                monkeypatch.setenv(
                    name, re.sub(r"\$\{(\w+)[^}]*\}", lambda found: DEFAULTS[found[1]] or "word", str(value))
                )
    settings = Settings()
    assert settings.kafka_bootstrap == "kafka:9092"
    assert settings.postgres_url is not None
    assert settings.postgres_url.get_secret_value() == "postgresql://gapsmith:word@postgres:5432/gapsmith"


def test_volumes_are_declared_and_data_survives() -> None:
    mounts = {
        name: [mount.split(":") for mount in service.get("volumes", []) if not mount.startswith(".")]
        for name, service in SERVICES.items()
    }
    assert {mount[0] for found in mounts.values() for mount in found} == set(COMPOSE["volumes"])
    assert mounts["postgres"] == [["postgres", "/var/lib/postgresql"]]  # the parent: PGDATA is below since version 18
    assert mounts["kafka"] == [["kafka", SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]]]
    writable = [name for name, found in mounts.items() if ["home", "/var/lib/gapsmith"] in found]
    assert writable == ["trainer"]
    for _, path, *_ in (mount for name in [*OURS, *SPECIAL, *RUN_AND_END] for mount in mounts[name]):
        assert path in DOCKERFILE  # made there, with its owner


def test_kafka_is_kraft() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert len(base64.urlsafe_b64decode(environment["CLUSTER_ID"] + "==")) == 16
    assert not any("ZOOKEEPER" in name for name in environment)


def test_rabbitmq_makes_quorum_queues() -> None:
    (mounted,) = SERVICES["rabbitmq"]["configs"]
    assert "default_queue_type = quorum" in COMPOSE["configs"][mounted["source"]]["content"].splitlines()


def test_every_kind_of_job_has_its_workers() -> None:
    served = [service["environment"].get("GAPSMITH_DFT_QUEUES") for service in SERVICES.values() if "build" in service]
    assert sorted(kind for kind in served if kind) == sorted(QUEUES)


def test_rabbitmq_waits_for_a_job_as_long_as_our_queues_say() -> None:
    (mounted,) = SERVICES["rabbitmq"]["configs"]
    assert f"consumer_timeout = {LONGEST_JOB_S * 1000}" in COMPOSE["configs"][mounted["source"]]["content"].splitlines()


def test_workers_know_that_their_queue_is_a_quorum_queue() -> None:
    url = "amqp://gapsmith:word@rabbitmq:5672//"
    app = make_app(Settings(celery_broker_url=url))
    assert detect_quorum_queues(app, app.connection_for_write().transport.driver_type)[0]


@pytest.mark.parametrize("name", [*OURS, *SPECIAL, *RUN_AND_END])
def test_the_image_can_be_built_from_what_the_context_holds(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert re.search(rf"^FROM \S+ AS {build['target']}$", DOCKERFILE, re.MULTILINE)
    allowed = [
        line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_containers_do_not_run_as_root() -> None:
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE):
        if re.match(r"\S+ AS (runtime|trainer)\b", stage):
            assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] == "gapsmith"
