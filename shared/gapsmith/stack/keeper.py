"""Watches the embedded servers beside a campaign, as the supervisor watches the services."""

import threading

import structlog

from gapsmith.core.errors import GapsmithError
from gapsmith.core.stopping import StopFlag
from gapsmith.stack.processes import wait_for_an_end
from gapsmith.stack.stack import EmbeddedStack

log = structlog.get_logger(__name__)


class Keeper:
    """Watches a running stack and starts a crashed server again, beside a campaign.

    Args:
        stack: to watch.
        interval_s: between two looks at what no process's end tells of.
    """

    def __init__(self, stack: EmbeddedStack, interval_s: float = 5.0) -> None:
        self._stack = stack
        self._interval_s = interval_s
        self._stopped = StopFlag()
        self._thread = threading.Thread(target=self._run, name="stack-keeper", daemon=True)
        self.problem: str | None = None  # why a server could not be started again, for display

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; to be called before the stack goes down."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            crashed = self._stack.crashed()
            if not crashed:
                wait_for_an_end(self._stack.pids(), self._stopped, self._interval_s)
                continue
            log.warning("embedded servers are gone and are started again", servers=crashed)
            try:
                self._stack.restore()
                self.problem = None
            except GapsmithError as error:
                self.problem = str(error)
                log.error("embedded servers cannot be started again", error=self.problem)
                self._stopped.wait(5.0)
