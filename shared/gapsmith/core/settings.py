"""Where the servers are and how much of the machine to use: ``GAPSMITH_*`` variables, the same for every service."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gapsmith.core.errors import InputError
from gapsmith.core.paths import home


class Settings(BaseSettings):
    """All settings. ``gapsmith up`` and ``gapsmith run`` fill in the embedded stack's addresses for their services."""

    model_config = SettingsConfigDict(env_prefix="GAPSMITH_", extra="ignore")

    home: Path = Field(default_factory=home, description="data of the embedded stack, models, reports, logs")
    postgres_url: SecretStr | None = Field(None, description="postgresql://user:password@host:port/database")
    kafka_bootstrap: str | None = Field(None, description="host:port[,host:port] of the Kafka brokers")
    kafka_options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="passed to kafka-python as they are, e.g. security_protocol, sasl_mechanism"
    )
    celery_broker_url: SecretStr | None = Field(None, description="redis:// or amqp:// URL of the DFT workers' broker")
    log_level: str = Field("info", description="debug, info, warning or error")
    log_json: bool = Field(True, description="structured logs as JSON lines; otherwise for people")
    poll_interval_s: float = Field(0.5, gt=0, description="how often work is looked for without a notification")
    heartbeat_s: float = Field(5.0, gt=0, description="heartbeat of services and of leases")
    lease_s: float = Field(45.0, gt=0, description="a lease that was not renewed for so long is taken back")
    events_kept_days: float = Field(
        7.0, ge=1, description="events that were published and handled are kept for so long"
    )
    dft_workers: int = Field(2, gt=0, description="DFT worker processes of this machine, one thread each")
    dft_memory_mb: int = Field(3000, gt=0, description="memory limit of one calculation whose level names none")
    dft_time_limit_s: float = Field(
        3600.0, gt=0, description="wall-time limit of one calculation whose level names none"
    )
    dft_queues: str = Field("dft,xtb", pattern="^(dft|xtb|dft,xtb|xtb,dft)$", description="kinds of jobs taken here")
    levels: Path | None = Field(None, description="YAML file of your own levels of theory")
    threads: int = Field(1, gt=0, description="threads of a service's numerical libraries")
    surrogate_weights: Path | None = Field(None, description="instead of the shipped surrogate")
    generator_weights: Path | None = Field(None, description="instead of the shipped generator")

    @property
    def models(self) -> Path:
        """Folder of the models that were trained here."""
        return self.home / "models"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once; raises InputError for a variable that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(["GAPSMITH", *map(str, first["loc"])]).upper()
        raise InputError(f"{name}: {first['msg']}; it is {first['input']!r}") from error
