"""Settings of the trainer beyond those of every service: ``GAPSMITH_TRAINER_*`` variables."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from gapsmith.core.settings import EnvironmentSettings
from gapsmith.training.energy import WATTS_PER_CORE


class TrainerSettings(EnvironmentSettings):
    """How a model is fine-tuned."""

    model_config = SettingsConfigDict(env_prefix="GAPSMITH_TRAINER_", extra="ignore")

    batch_size: int = Field(default=32, gt=0, le=1_000_000, description="molecules of a step, all processes together")
    replay_fraction: float = Field(
        default=0.75,
        ge=0,
        lt=1,
        description="share of QM9 in every batch, against forgetting; more while labels are few",
    )
    learning_rate: float = Field(default=2e-5, gt=0, le=1, description="peak learning rate; more of it forgets QM9")
    tuned: Literal["all", "heads"] = Field(
        default="all", description="all weights, or the heads alone, which forgets less and learns less"
    )
    base_molecules: int = Field(
        default=2000, gt=0, le=1_000_000, description="molecules of QM9's validation split that the gate looks at"
    )
    device: str = Field(default="cpu", description="torch device of the training")
    nice: int = Field(default=3, ge=0, le=19, description="niceness of a training; much more, and DFT starves it")
    time_limit_s: float = Field(default=1800.0, gt=0, le=1e8, description="a training that takes longer is ended")
    room_mb: int = Field(
        default=200, ge=0, le=100_000_000, description="free disk space without which no training begins"
    )
    watts_per_core: float = Field(
        default=WATTS_PER_CORE,
        gt=0,
        le=10_000,
        description="power of a busy core: energy is estimated so where it cannot be measured",
    )
    backend: Literal["torch", "horovod"] = Field(
        default="torch", description="what several processes work together with: torch.distributed, or Horovod"
    )
    network_interface: str = Field(default="lo", description="network interface of several processes")
