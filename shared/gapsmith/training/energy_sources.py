"""What energy can be read from: CPU time of processes, RAPL counters of the packages, NVML counters of the GPUs.

Needs nothing but the standard library, so that it works wherever a training does.
"""

import ctypes
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"  # comes with the driver
_BUSY = (0, 1, 2, 5, 6)  # columns of /proc/stat: user, nice, system, irq, softirq (user holds the guests' already)


def cpu_s(*, itself: bool = True, proc: Path = PROC) -> float:
    """CPU-seconds of this process's descendants, also of those that ended, and of this process ``itself``.

    Where there is no /proc, of the process and of the descendants that ended.
    """
    try:  # itself first: what ends meanwhile is missed, not doubled
        _, user, system, waited = _times(proc / "self" / "stat")
    except OSError:
        times = os.times()
        return times.children_user + times.children_system + (times.user + times.system if itself else 0.0)
    ticks = waited + (user + system if itself else 0)
    children: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for path in proc.glob("[0-9]*/stat"):
        try:
            parent, *used = _times(path)
        except (OSError, ValueError):
            continue  # it ended meanwhile
        children[parent].append((int(path.parent.name), sum(used)))
    family = [os.getpid()]
    while family:
        for pid, used_ticks in children.pop(family.pop(), ()):
            family.append(pid)
            ticks += used_ticks
    return ticks / os.sysconf("SC_CLK_TCK")


def _times(path: Path) -> tuple[int, int, int, int]:
    """Parent's id, and clock ticks in user mode, in the kernel, and of children that were waited for."""
    fields = path.read_text().rpartition(")")[2].split()  # what is before may hold blanks
    return int(fields[1]), int(fields[11]), int(fields[12]), int(fields[13]) + int(fields[14])


def machine_cpu_s(proc: Path = PROC) -> float | None:
    """CPU-seconds that all processes of the machine used since it started; None where that cannot be read."""
    try:
        columns = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
        return sum(int(columns[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


@dataclass
class _Counter:
    """A counter of microjoules that begins again at nought."""

    path: Path
    wraps_at: int
    last: int


class Rapl:
    """Energy of all CPU packages and their memory, by the counters of Linux's powercap.

    Cores and the like are parts of a package, and ``psys`` holds the packages: neither is added. Two readings must lie
    less than one turn of a counter apart, which is some ten minutes at full load.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._counters = []
        self._joules = 0.0
        for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's, too, are called so
            try:
                name = (zone / "name").read_text().strip()
                if name.startswith("package") or name == "dram":
                    value = int((zone / "energy_uj").read_text())
                    wraps_at = int((zone / "max_energy_range_uj").read_text())
                    self._counters.append(_Counter(zone / "energy_uj", wraps_at, value))
            except (OSError, ValueError):
                self._counters = []  # one that only root may read: a part is no measurement
                break

    @property
    def readable(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._counters)

    def joules(self) -> float:
        """Energy since the reader was made."""
        for counter in self._counters:
            try:
                now = int(counter.path.read_text())
            except (OSError, ValueError):
                continue
            turned = counter.wraps_at + 1 if now < counter.last else 0
            self._joules += (now - counter.last + turned) / 1e6
            counter.last = now
        return self._joules


class Nvml:
    """Energy of the GPUs that this process may use, by the counters of the driver (Volta and newer)."""

    def __init__(self, library: str = NVML) -> None:
        self._library: Any = None
        self._devices: list[ctypes.c_void_p] = []
        try:
            found: Any = ctypes.CDLL(library)
            if found.nvmlInit_v2() == 0:
                self._library, self._devices = found, _visible(found)
        except (OSError, AttributeError):  # no driver, or one that has no such function
            self._devices = []
        start = [self._millijoules(device) for device in self._devices]
        self._start = [value for value in start if value is not None]
        self.readable = bool(start) and len(self._start) == len(start)

    def joules(self) -> float:
        """Energy since the reader was made."""
        now = [self._millijoules(device) for device in self._devices] if self.readable else []
        return sum((last or first) - first for last, first in zip(now, self._start, strict=False)) / 1e3

    def _millijoules(self, device: ctypes.c_void_p) -> int | None:
        value = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value))
        return None if failed else value.value


def _visible(library: Any) -> list[ctypes.c_void_p]:
    """Handles of the devices of ``CUDA_VISIBLE_DEVICES``, or of all."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        count = ctypes.c_uint()
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))  # stays nought if that fails
        names = [str(index) for index in range(count.value)]
    else:
        names = [name.strip() for name in chosen.split(",") if name.strip()]
    handles = []
    for name in names:
        handle = ctypes.c_void_p()
        if name.isdigit():
            failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
        else:
            failed = library.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(name.encode()), ctypes.byref(handle))
        if not failed:
            handles.append(handle)
    return handles
