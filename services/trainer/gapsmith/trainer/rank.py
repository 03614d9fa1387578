"""What every process of a training does whatever it trains: hold the folder's lock, end with the process that started it."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapsmith.core.errors import UnavailableError

STOPPED = 75  # exit code (EX_TEMPFAIL): told to stop, the state is saved


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold this rank's lock of a run; an orphan of a killed service gets some seconds to notice and end.

    Raises:
        UnavailableError: another process goes on holding it.
    """
    variables = ("HOROVOD_HOSTNAME", "HOROVOD_LOCAL_RANK", "RANK")
    slot = "-".join(os.environ[name] for name in variables if name in os.environ) or "0"
    with (folder / f"lock-{slot}").open("w") as lock:
        for _ in range(100):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise UnavailableError(f"another training runs in {folder}: wait for it, or end it")
        yield


def end_with(pid: int) -> None:
    """End this process at once when another one is gone, also when that one was killed."""
    import psutil  # only where services run

    try:
        other = psutil.Process(pid)
    except psutil.NoSuchProcess:
        os._exit(STOPPED)

    def watch() -> None:
        while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()
