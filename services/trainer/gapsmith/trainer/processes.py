"""How a training's processes are started: the command line and the environment of one rank made those of several."""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

Backend = Literal["horovod", "torch"]
SECRETS = ("GAPSMITH_POSTGRES_URL", "GAPSMITH_CELERY_BROKER_URL", "GAPSMITH_KAFKA_BOOTSTRAP", "GAPSMITH_KAFKA_OPTIONS")


def together(
    command: Sequence[str], processes: int, backend: Backend, network_interface: str, hosts: str | None = None
) -> list[str]:
    """The command line that runs a command in so many processes: itself, if in one of this machine."""
    if processes == 1 and hosts is None:
        return list(command)
    if backend == "horovod":
        return under_horovod(command, processes, network_interface, hosts)
    return under_torch(command, processes)


def horovod_problem() -> str | None:
    """Why Horovod cannot be used by this Python and torch, or None if it can; takes some seconds if it is installed."""
    if importlib.util.find_spec("horovod") is None:
        return "Horovod is not installed (build it with 'make horovod')"
    probe = subprocess.run(
        [sys.executable, "-c", "import horovod.torch"], capture_output=True, text=True, timeout=120, check=False
    )
    if probe.returncode == 0:
        return None
    reason = probe.stderr.strip().rpartition("\n")[2] or f"exit code {probe.returncode}"
    return f"Horovod cannot be loaded: {reason} (build it again with 'make horovod')"


def under_horovod(
    command: Sequence[str], processes: int, network_interface: str, hosts: str | None = None
) -> list[str]:
    """The command line that runs a command in several processes that can exchange tensors and outlive each other.

    Args:
        command: of one process.
        processes: how many to start.
        network_interface: that they find each other by.
        hosts: ``a:2,b:2``, reached by ssh; this machine if None. The host that a process is lost of is left out for a
            while, with all its processes; so this machine counts as two.
    """
    here = f"localhost:{math.ceil(processes / 2)},127.0.0.1:{processes // 2}"
    launcher = [sys.executable, "-m", "horovod.runner.launch", "--gloo", "--disable-cache", "--start-timeout", "120"]
    size = ["-np", str(processes), "--min-np", "1", "--max-np", str(processes), "-H", hosts or here]
    losses = ["--blacklist-cooldown-range", "5", "60", "--reset-limit", "20", "--elastic-timeout", "60"]
    return [*launcher, *size, *losses, "--network-interface", network_interface, *command]


def under_torch(command: Sequence[str], processes: int) -> list[str]:
    """The same with torch's own launcher and collective operations, on this machine; a lost process ends them all."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    python, *rest = command
    return [*launcher, "--no-python", python, *rest]


def environment(network_interface: str, threads: int = 1) -> dict[str, str]:
    """This process's variables for the ranks: no addresses of servers (Horovod shows variables on command lines)."""
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return inherited | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "15",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "180",
        "GLOO_SOCKET_IFNAME": network_interface,
        "NCCL_SOCKET_IFNAME": network_interface,
    }
