"""Where the servers are and how much of the machine to use: ``GAPSMITH_*`` variables, the same for every service."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from gapsmith.core.documents import SHOWN, place, shown
from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.paths import home

PREFIX: Final = "GAPSMITH_"
OTHERS: Final = ("DASHBOARD_", "TRAINER_")  # of single services, which check theirs
APART: Final = (  # that are no settings
    "GAPSMITH_CACHE",
    "GAPSMITH_DATASTORE_TOKEN",
    "GAPSMITH_DATASTORE_TOKEN_FILE",
    "GAPSMITH_SUPERVISED",
    "GAPSMITH_TEST",
    "GAPSMITH_VERSION",
)
MOST_S: Final = 1e8  # of any time


class EnvironmentSettings(BaseSettings):
    """Settings that are variables with a prefix."""

    @classmethod
    def load(cls) -> Self:
        """Read them; raises InputError for a variable that is unknown or cannot be used."""
        prefix = str(cls.model_config.get("env_prefix", ""))
        known = [f"{prefix}{name}".upper() for name in cls.model_fields]
        for name in sorted(os.environ):
            apart = prefix == PREFIX and (name in APART or name.startswith(tuple(PREFIX + one for one in OTHERS)))
            if name.startswith(prefix) and name not in known and not apart:
                raise InputError(f"{name[:SHOWN]} is not a setting{hint(name, known)}")
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field, *inside = first["loc"] or ("",)
            name = f"{prefix}{field}".upper()
            where = f"{name} ({place(inside)})" if inside else name
            raise InputError(f"{where}: {first['msg']}; it is {shown(os.environ.get(name, ''))}") from error
        except SettingsError as error:  # of a variable that has to be JSON
            wrong = [name for name in known if name.removeprefix(prefix).lower() in str(error)]
            raise InputError(f"{' or '.join(wrong) or prefix}: it is not JSON, for example {{}}") from error


class Settings(EnvironmentSettings):
    """All settings. ``gapsmith up`` and ``gapsmith run`` fill in the embedded stack's addresses for their services."""

    model_config = SettingsConfigDict(env_prefix="GAPSMITH_", extra="ignore")

    home: Path = Field(default_factory=home, description="data of the embedded stack, models, reports, logs")
    postgres_url: SecretStr | None = Field(None, description="postgresql://user:password@host:port/database")
    kafka_bootstrap: str | None = Field(None, description="host:port[,host:port] of the Kafka brokers")
    kafka_options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="passed to kafka-python as they are, e.g. security_protocol, sasl_mechanism"
    )
    celery_broker_url: SecretStr | None = Field(None, description="redis:// or amqp:// URL of the DFT workers' broker")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_json: bool = Field(True, description="structured logs as JSON lines; otherwise for people")
    poll_interval_s: float = Field(
        5.0, gt=0, le=MOST_S, description="how often work is looked for without a notification"
    )
    heartbeat_s: float = Field(5.0, gt=0, le=MOST_S, description="heartbeat of services and of leases")
    lease_s: float = Field(45.0, gt=0, le=MOST_S, description="a lease that was not renewed for so long is taken back")
    events_kept_days: float = Field(
        7.0, ge=1, le=36_500, description="events that were published and handled are kept for so long"
    )
    dft_workers: int = Field(2, gt=0, le=1024, description="DFT worker processes of this machine, one thread each")
    dft_memory_mb: int = Field(
        3000, gt=0, le=100_000_000, description="memory of one calculation whose level names none"
    )
    dft_time_limit_s: float = Field(
        3600.0, gt=0, le=MOST_S, description="wall-time limit of one calculation whose level names none"
    )
    dft_queues: str = Field("dft,xtb", pattern="^(dft|xtb|dft,xtb|xtb,dft)$", description="kinds of jobs taken here")
    levels: Path | None = Field(None, description="YAML file of your own levels of theory")
    listen: str | None = Field(
        None, description="HOST[:PORT] at which workers of other machines join; see gapsmith up --listen"
    )
    threads: int = Field(1, gt=0, le=1024, description="threads of a service's numerical libraries")
    surrogate_weights: Path | None = Field(None, description="instead of the shipped surrogate")
    generator_weights: Path | None = Field(None, description="instead of the shipped generator")

    @property
    def models(self) -> Path:
        """Folder of the models that were trained here."""
        return self.home / "models"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once; raises InputError for a variable that is unknown or cannot be used."""
    return Settings.load()
