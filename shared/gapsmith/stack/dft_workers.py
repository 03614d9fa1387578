"""DFT workers of a command: those that run already, or embedded servers and workers for as long as it takes."""

import time
from contextlib import ExitStack
from typing import Final, Self

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings, settings
from gapsmith.stack import machine
from gapsmith.stack.connect import bring_up_to_date, connected_settings, foreground, log_to, using
from gapsmith.stack.machine import Machine
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.stack.supervisor import ServiceState

SERVICES: Final = ("dft_queue", "dft_worker")
ASK_EVERY_S: Final = 2.0


class DftWorkers:
    """Servers, and workers if need be; what was started here is stopped at the end, unless another command uses it.

    Args:
        workers: DFT workers, if they are started here; none: the settings'.
        command: as other commands in the foreground are told, such as ``gapsmith dft``.
    """

    def __init__(self, workers: int | None, command: str) -> None:
        self._own, self._command = settings(), command
        if workers is not None:
            self._own = self._own.model_copy(update={"dft_workers": workers})
        self._cleanup = ExitStack()
        self._machine: Machine | None = None
        self._others: str | None = None  # who computes for good
        self._asked = -ASK_EVERY_S  # when it was last tried to be the one who computes
        self.connected: Settings = self._own

    def __enter__(self) -> Self:
        """Find or start the servers; raises UnavailableError."""
        try:
            self._open()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what was started."""
        self._cleanup.close()

    def _open(self) -> None:
        own = self._own
        if own.postgres_url and own.kafka_bootstrap and own.celery_broker_url:
            self._others = "the workers of the settings' servers"
            return
        if machine.background_pid(own.home) is not None:
            self._others = "the workers of gapsmith up"
        self._cleanup.enter_context(using(EmbeddedStack.of(own)))
        self.connected = connected_settings(quiet=True).model_copy(update={"dft_workers": own.dft_workers})
        bring_up_to_date(self.connected)

    def work(self) -> str:
        """Start workers unless others compute; who does, for a person."""
        if self._others is not None:
            return f"{self._others} compute"
        if self._machine is None:
            with ExitStack() as held:
                other = held.enter_context(foreground(self._own.home, self._command))
                self._asked = time.monotonic()
                if other is not None:
                    return f"the workers of another command compute ({other})"
                self._cleanup.push(held.pop_all())
            self._cleanup.enter_context(log_to(self._own.home / "logs" / "dft.log"))
            self._machine = self._cleanup.enter_context(Machine(self.connected, SERVICES))
        return f"{self.connected.dft_workers} workers compute here"

    def notes(self) -> list[str]:
        """What a person should know of the workers; raises UnavailableError if those that were started here gave up.

        When the command whose workers computed has ended, workers are started here.
        """
        if self._others is not None:
            return []
        if self._machine is None:
            words = self.work() if time.monotonic() - self._asked > ASK_EVERY_S else ""
            return [words] if self._machine is not None else []
        notes = self._machine.notes()
        if any(status.state is ServiceState.FAILED for status in self._machine.supervisor.statuses()):
            raise UnavailableError(f"the DFT workers do not run: {'; '.join(notes)}")
        return notes
