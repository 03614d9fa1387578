"""Settings of the dashboard beyond those of every service: ``GAPSMITH_DASHBOARD_*`` variables."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from gapsmith.core.settings import EnvironmentSettings


class DashboardSettings(EnvironmentSettings):
    """Where the dashboard listens."""

    model_config = SettingsConfigDict(env_prefix="GAPSMITH_DASHBOARD_", extra="ignore")

    host: str = Field(
        default="127.0.0.1", description="address to listen at; beyond loopback every request needs a token"
    )
    port: int = Field(default=8700, ge=0, le=65535, description="port; the next free one if it is taken, any if 0")
