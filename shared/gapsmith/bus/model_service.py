"""A service that works with the live model of its role, and takes up another one without a restart."""

from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

import structlog

from gapsmith.bus.service import TaskService
from gapsmith.core.errors import CheckpointError
from gapsmith.core.settings import Settings
from gapsmith.store import models
from gapsmith.store.database import Database
from gapsmith.store.models import Model
from gapsmith.training.card import read_card
from gapsmith.training.shipped import shipped

log = structlog.get_logger()
T = TypeVar("T")


class Loaded(NamedTuple, Generic[T]):
    """The model in use."""

    id: UUID
    model: T


class ModelService(TaskService, Generic[T]):
    """Asks the registry between any two tasks, and as often while it has none, which model is live."""

    role: ClassVar[str]

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self._loaded: Loaded[T] | None = None
        self._shipped_id: UUID | None = None
        self.unusable: UUID | None = None  # the live model, if it could not be loaded

    def shipped(self) -> Path:
        """Weights that go live if no others are: those of the installation, or what the settings name instead."""
        return shipped(self.role, self.settings)

    def load(self, weights: Path) -> T:
        """The model of a weights file, by the architecture that its card names; raises CheckpointError."""
        from gapsmith.training.protocol import loaded  # imports torch

        return cast(T, loaded(weights, role=self.role))

    def setup(self) -> None:
        """Register the shipped weights and load the live ones; raises CheckpointError."""
        self.model()

    def work(self) -> bool:
        """Take up another model if one went live; then do a task."""
        self.model()
        return super().work()

    def model(self) -> Loaded[T]:
        """The live model; the one in use if that cannot be loaded, or else the shipped one.

        Raises:
            CheckpointError: the shipped weights are missing or damaged, on the first call.
        """
        shipped_id = self._shipped_id or self._register()
        with self.database.transaction() as connection:
            live = models.live(connection, self.role)
        wanted = shipped_id if live is None else live.id
        if self._loaded is not None and wanted == self._loaded.id:
            self.unusable = None
        elif self._loaded is None or wanted != self.unusable:
            self._loaded = self._take_up(wanted, live, shipped_id)
        return self._loaded

    def _register(self) -> UUID:
        path = self.shipped()
        if not path.is_file():
            variable = f"GAPSMITH_{self.role.upper()}_WEIGHTS"
            raise CheckpointError(f"{path} is missing: install gapsmith again, or set {variable}")
        card = read_card(path, role=self.role)
        with self.database.transaction() as connection:
            self._shipped_id = models.ensure_shipped(connection, path, card)
        return self._shipped_id

    def _take_up(self, wanted: UUID, live: Model | None, shipped_id: UUID) -> Loaded[T]:
        try:
            if live is None or wanted == shipped_id:
                loaded = Loaded(wanted, self.load(self.shipped()))  # wherever another host has its own copy
            else:
                models.check(live)
                loaded = Loaded(wanted, self.load(Path(live.path)))
        except Exception as error:  # whatever is wrong with a file, the work goes on with another one
            if wanted == shipped_id and self._loaded is None:
                raise
            self.unusable = wanted
            log.error("live model cannot be used", model=str(wanted), reason=f"{type(error).__name__}: {error}")
            return self._loaded or Loaded(shipped_id, self.load(self.shipped()))
        self.unusable = None
        log.info("model loaded", model=str(wanted), version=None if live is None else live.version)
        return loaded
