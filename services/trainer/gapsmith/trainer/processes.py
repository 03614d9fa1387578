"""How a training's processes are started: the command line and the environment of one rank made those of several."""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

Backend = Literal["horovod", "torch"]
NEEDED: Final = {
    "GAPSMITH_CACHE",
    "GAPSMITH_GENERATOR_WEIGHTS",
    "GAPSMITH_HOME",
    "GAPSMITH_SUPERVISED",  # by which the supervisor ends what a killed service left behind
    "GAPSMITH_SURROGATE_WEIGHTS",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",  # an allocator
    "LOGNAME",
    "PATH",
    "PYTHONPATH",
    "SSH_AUTH_SOCK",  # for --hosts
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
}
PREFIXES: Final = (
    "CUDA_",
    "GAPSMITH_TRAINER_",
    "GLOO_",
    "HOROVOD_",
    "LC_",
    "MALLOC_",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "TORCH",
    "PYTORCH_",
)


def together(
    command: Sequence[str],
    processes: int,
    backend: Backend,
    network_interface: str,
    folder: Path,
    hosts: str | None = None,
) -> list[str]:
    """The command line that runs a command in so many processes: itself, if in one of this machine."""
    if processes == 1 and hosts is None:
        return list(command)
    if backend == "horovod":
        return under_horovod(command, processes, network_interface, folder, hosts)
    return under_torch(command, processes, folder)


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
    command: Sequence[str], processes: int, network_interface: str, folder: Path, hosts: str | None = None
) -> list[str]:
    """The command line that runs a command in several processes that can exchange tensors and outlive each other.

    Args:
        command: of one process.
        processes: how many to start.
        network_interface: that they find each other by; nothing listens on any other.
        folder: of the training, which all machines see; what the processes share to find each other lies in it.
        hosts: ``a:2,b:2``, reached by ssh; this machine if None. The host that a process is lost of is left out for a
            while, with all its processes; so this machine counts as two.
    """
    here = f"localhost:{math.ceil(processes / 2)},127.0.0.1:{processes // 2}"
    launcher = [sys.executable, "-m", "gapsmith.trainer.elastic", str(folder), network_interface]
    options = ["--gloo", "--disable-cache", "--start-timeout", "120"]
    size = ["-np", str(processes), "--min-np", "1", "--max-np", str(processes), "-H", hosts or here]
    losses = ["--blacklist-cooldown-range", "5", "60", "--reset-limit", "20", "--elastic-timeout", "60"]
    return [*launcher, *options, *size, *losses, *command]


def under_torch(command: Sequence[str], processes: int, folder: Path) -> list[str]:
    """The same with torch's collective operations, on this machine; a lost process ends them all."""
    return [sys.executable, "-m", "gapsmith.trainer.ranks", str(processes), str(folder), "--", *command]


def environment(network_interface: str, threads: int = 1) -> dict[str, str]:
    """The variables of a training's processes: of this process's own those that they need, and no address of a server."""
    inherited = {name: value for name, value in os.environ.items() if name in NEEDED or name.startswith(PREFIXES)}
    return inherited | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "15",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "180",
        "GLOO_SOCKET_IFNAME": network_interface,
        "NCCL_SOCKET_IFNAME": network_interface,
    }
