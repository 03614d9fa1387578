"""Energy of a training: of its processes' share of the CPUs, and of its GPUs.

Read with a small reader of RAPL and NVML instead of codecarbon (3.3.2), whose numbers are right for a machine that does one
thing: with RAPL its ``process`` mode gives a process the whole package, while DFT runs beside our trainings; without,
it guesses the CPU's power from its name and adds 5 to 10 W for every memory module. It brings sixteen packages along and
takes two seconds to start. Here:

- CPU: what the packages and their memory used (RAPL), times the processes' share of the busy CPU time. So the idle power
  of the package is shared, too, among those who compute.
- CPU where RAPL cannot be read (virtual machines, and since 2020 without root's leave): CPU-seconds times a stated power
  per busy core. That is an estimate and is called one.
- GPU: the driver's counters (NVML) of the devices that the training may use, whole: they are not shared out.

Fans, disks, networks and losses of power supplies are not counted.
"""

import json
import math
import os
import socket
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from gapsmith.training.energy_sources import NVML, POWERCAP, PROC, Nvml, Rapl, cpu_s, machine_cpu_s
from gapsmith.training.files import write_atomically

WATTS_PER_CORE = 10.0  # a busy core with its share of cache and memory: servers 4 to 8 W, desktops 8 to 15 W
SAMPLE_EVERY_S = 5.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Energy:
    """An amount of energy, and how it is known."""

    kwh: float
    method: str  # for people
    measured: bool  # False: estimated, wholly or in part


class EnergyMeter:
    """Measures while it is entered; may be read at any time.

    Counts this process and everything that it starts on this machine. Of several ranks on one machine either the process that
    started them all measures, or each measures itself, and one of them the GPUs.

    Args:
        device: torch device of the training; GPUs are counted if it is one of CUDA's.
        itself: count this process; otherwise only what it starts.
        directory: where this meter's share is written every few seconds, for ``total``.
        watts_per_core: power of a busy core, where it cannot be measured.
        proc: the kernel's folder of processes.
        powercap: the kernel's folder of energy counters.
        nvml: the driver's library.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        itself: bool = True,
        directory: Path | None = None,
        watts_per_core: float = WATTS_PER_CORE,
        proc: Path = PROC,
        powercap: Path = POWERCAP,
        nvml: str = NVML,
    ) -> None:
        self._itself, self._watts, self._proc = itself, watts_per_core, proc
        self._powercap, self._nvml, self._gpu = powercap, nvml, device.startswith("cuda")
        self._file = None if directory is None else directory / f"{socket.gethostname()}-{os.getpid()}-{uuid4()}.json"
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._cpu_j = 0.0
        self._final: Energy | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._rapl = Rapl(self._powercap)
        self._gpus = Nvml(self._nvml) if self._gpu else None
        machine_s = machine_cpu_s(self._proc)
        self._package_j, self._machine_s = 0.0, machine_s or 0.0
        self._shared_out = self._rapl.readable and machine_s is not None
        self._own_s = cpu_s(itself=self._itself, proc=self._proc)
        self._thread = threading.Thread(target=self._sample, name="energy", daemon=True)
        self._thread.start()
        self.write()
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was measured stays readable."""
        self._ended.set()
        self._thread.join()
        self._final = self.read()
        self.write()

    def read(self) -> Energy:
        """Energy so far."""
        if self._final is not None:
            return self._final
        with self._lock:
            self._count()
            gpu_j = 0.0 if self._gpus is None else self._gpus.joules()
            kwh = (self._cpu_j + gpu_j) / JOULES_PER_KWH
        method = "RAPL" if self._shared_out else f"{self._watts:g} W per busy core"
        if self._gpus is not None:
            method += " + NVML" if self._gpus.readable else ", GPUs not counted"
        return Energy(kwh, method, self._shared_out and (self._gpus is None or self._gpus.readable))

    def _count(self) -> None:
        """Add what the CPUs used since the last time."""
        now_s = cpu_s(itself=self._itself, proc=self._proc)
        own_s = max(self._own_s, now_s)  # one that ends while it is counted may be missed for once
        used_s = own_s - self._own_s
        if not self._shared_out:
            self._cpu_j += used_s * self._watts
        else:
            package_j, machine_s = self._rapl.joules(), machine_cpu_s(self._proc) or 0.0
            busy_s = max(used_s, machine_s - self._machine_s)
            if busy_s <= 0:
                return  # within one tick of the clock
            self._cpu_j += (package_j - self._package_j) * used_s / busy_s
            self._package_j, self._machine_s = package_j, machine_s
        self._own_s = own_s

    def _sample(self) -> None:
        """Look often enough for the counters not to turn over unseen, and for the shares to be those of the moment."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.read()
            self.write()

    def write(self) -> None:
        """Bring this meter's share in the directory up to date, which otherwise happens every few seconds."""
        if self._file is None:
            return
        with self._lock, suppress(OSError):  # a full disk must not end a training
            write_atomically(self._file, json.dumps(asdict(self.read())).encode())


def total(directory: Path) -> Energy | None:
    """What all meters of a directory counted together, also those of processes that are gone; None if there are none."""
    shares = []
    for path in directory.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            shares.append(Energy(**json.loads(path.read_text())))
    if not shares:
        return None
    methods = " and ".join(sorted({share.method for share in shares}))
    return Energy(math.fsum(share.kwh for share in shares), methods, all(share.measured for share in shares))
