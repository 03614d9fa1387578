"""Energy of a training: CPU time against known loads, counters that turn over, shares of a busy machine, GPUs."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gapsmith.training.energy import Energy, EnergyMeter, total
from gapsmith.training.energy_sources import Nvml, Rapl, cpu_s

pytestmark = [pytest.mark.slow, pytest.mark.serial, pytest.mark.timeout(60)]  # measures CPU time

BURN = "import time\nwhile time.process_time() < {s}: sum(range(1000))\nprint(time.process_time(), flush=True)\n"
TICK = os.sysconf("SC_CLK_TCK")


def burn(seconds: float) -> float:
    """Compute for so many CPU-seconds; returns how many it were."""
    start = time.process_time()
    while time.process_time() - start < seconds:
        sum(range(1000))
    return time.process_time() - start


def joules(energy: Energy) -> float:
    return energy.kwh * 3.6e6


def test_cpu_time_of_this_process_is_counted(tmp_path: Path) -> None:
    with EnergyMeter(watts_per_core=50.0, powercap=tmp_path) as meter:
        used_s = burn(1.0)
        energy = meter.read()
        assert joules(energy) == pytest.approx(50.0 * used_s, rel=0.1)
        time.sleep(0.2)
        assert joules(meter.read()) < 50.0 * (used_s + 0.1)  # sleeping costs nothing
        later_s = burn(0.3)
    assert joules(meter.read()) == pytest.approx(50.0 * (used_s + later_s), rel=0.1)
    assert (energy.measured, energy.method) == (False, "50 W per busy core")
    burn(0.2)
    assert joules(meter.read()) == pytest.approx(50.0 * (used_s + later_s), rel=0.1)  # it has ended


def test_grandchildren_are_counted_while_they_live_and_afterwards(tmp_path: Path) -> None:
    code = BURN.format(s=0.5) + "time.sleep(60)"
    with EnergyMeter(itself=False, watts_per_core=1.0, powercap=tmp_path) as meter:
        child = subprocess.Popen(["sh", "-c", '"$0" -c "$1" & wait', sys.executable, code], stdout=subprocess.PIPE)
        assert child.stdout is not None
        used_s = float(child.stdout.readline())
        alive = joules(meter.read())
        burn(0.3)  # of this process, which is not asked for
        (grandchild,) = psutil.Process(child.pid).children()
        grandchild.kill()
        child.wait(10)
        gone = joules(meter.read())
    assert alive == pytest.approx(used_s, abs=0.1)
    assert gone == pytest.approx(alive, abs=0.1)


def test_cpu_time_agrees_with_the_clock_of_the_process() -> None:
    assert cpu_s() - cpu_s(itself=False) == pytest.approx(time.process_time(), abs=0.05)


class Machine:
    """A powercap tree and a /proc of which every number is known."""

    def __init__(self, folder: Path) -> None:
        self.powercap, self.proc = folder / "powercap", folder / "proc"
        self.counters: dict[str, int] = {}
        self.processes(machine_s=1000.0, own_s=10.0)

    def zone(self, zone: str, name: str, microjoules: int, wraps_at: int = 10**12) -> None:
        path = self.powercap / zone
        path.mkdir(parents=True, exist_ok=True)
        (path / "name").write_text(f"{name}\n")
        (path / "energy_uj").write_text(f"{microjoules}\n")
        (path / "max_energy_range_uj").write_text(f"{wraps_at}\n")

    def processes(self, *, machine_s: float, own_s: float) -> None:
        (self.proc / "self").mkdir(parents=True, exist_ok=True)
        ticks = round(machine_s * TICK)
        (self.proc / "stat").write_text(f"cpu  {ticks} 0 0 999999 5 0 0 0 0 0\ncpu0 1 2 3\n")
        own = f"{os.getpid()} (a (strange) name) R 1 " + "0 " * 9 + f"{round(own_s * TICK)} 0 0 0 20 0\n"
        (self.proc / "self" / "stat").write_text(own)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_packages_and_memory_are_added_and_their_parts_are_not(machine: Machine) -> None:
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        machine.zone(zone, name, 1_000_000)
    reader = Rapl(machine.powercap)
    assert (reader.readable, reader.joules()) == (True, 0.0)
    for number, zone in enumerate(("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1")):
        machine.zone(zone, ("package-0", "package-1", "dram")[number], 1_000_000 + 10**number * 1_000_000)
    for zone, name in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        machine.zone(zone, name, 500_000_000)
    assert reader.joules() == pytest.approx(111.0)


def test_a_counter_that_turns_over_goes_on(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 90_000_000, wraps_at=99_999_999)
    reader = Rapl(machine.powercap)
    for value, expected in ((95_000_000, 5.0), (2_000_000, 12.0), (3_000_000, 13.0), (1_000_000, 111.0)):
        machine.zone("intel-rapl:0", "package-0", value, wraps_at=99_999_999)
        assert reader.joules() == pytest.approx(expected)


def test_a_process_gets_its_share_of_a_busy_machine(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 0)
    with EnergyMeter(proc=machine.proc, powercap=machine.powercap) as meter:
        machine.zone("intel-rapl:0", "package-0", 100_000_000)
        machine.processes(machine_s=1004.0, own_s=11.0)  # one of four CPU-seconds
        assert joules(meter.read()) == pytest.approx(25.0)
        machine.zone("intel-rapl:0", "package-0", 130_000_000)
        machine.processes(machine_s=1006.0, own_s=13.0)  # alone
    energy = meter.read()
    assert joules(energy) == pytest.approx(55.0)
    assert (energy.method, energy.measured) == ("RAPL", True)


def test_counters_that_may_not_be_read_are_no_measurement(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 0)
    machine.zone("intel-rapl:1", "package-1", 0)
    (machine.powercap / "intel-rapl:1" / "energy_uj").unlink()
    with EnergyMeter(proc=machine.proc, powercap=machine.powercap, watts_per_core=5.0) as meter:
        machine.processes(machine_s=1004.0, own_s=12.0)
    assert meter.read() == Energy(pytest.approx(10.0 / 3.6e6), "5 W per busy core", False)  # type: ignore[arg-type]


NVML = """
#include <stdlib.h>
static unsigned long long millijoules[2] = {7000000, 9000000};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index > 1) return 2;
    *device = &millijoules[index]; return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { *device = &millijoules[1]; return uuid[0] != 'G'; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
    *energy = *(unsigned long long *)device; *(unsigned long long *)device += device == millijoules ? 1000 : 20000;
    return getenv("NO_COUNTER") ? 3 : 0; }
"""  # every reading finds that the first has used a joule more, the second 20


@pytest.fixture
def driver(tmp_path: Path) -> str:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True, timeout=30)
    return str(library)


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, 21.0), ("0", 1.0), ("GPU-abc", 20.0), ("1,0", 21.0), ("", None)]
)
def test_gpus_that_the_process_may_use_are_counted(
    driver: str, visible: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    reader = Nvml(driver)
    assert (reader.joules() if reader.readable else None) == expected


def test_gpus_are_added_once_and_only_to_trainings_on_them(
    driver: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.zone("intel-rapl:0", "package-0", 0)
    with EnergyMeter(device="cuda:0", proc=machine.proc, powercap=machine.powercap, nvml=driver) as both:
        pass
    assert both.read() == Energy(pytest.approx(21 / 3.6e6), "RAPL + NVML", True)  # type: ignore[arg-type]
    with EnergyMeter(device="cpu", proc=machine.proc, powercap=machine.powercap, nvml=driver) as cpu:
        pass
    assert cpu.read() == Energy(0.0, "RAPL", True)
    monkeypatch.setenv("NO_COUNTER", "1")
    for library in (driver, "libno-such-driver.so.9"):
        with EnergyMeter(device="cuda", proc=machine.proc, powercap=machine.powercap, nvml=library) as neither:
            pass
        assert neither.read() == Energy(0.0, "RAPL, GPUs not counted", False)


def test_shares_of_several_meters_are_added_and_outlive_them(tmp_path: Path) -> None:
    assert total(tmp_path / "energy") is None
    for _ in range(2):
        with EnergyMeter(directory=tmp_path / "energy", watts_per_core=1000.0, powercap=tmp_path) as meter:
            burn(0.2)
    (tmp_path / "energy" / "half.json").write_text('{"kwh": 1')
    both = total(tmp_path / "energy")
    assert both is not None
    assert joules(both) == pytest.approx(400.0, rel=0.25)
    assert joules(both) > joules(meter.read()) * 1.5
    assert (both.method, both.measured) == ("1000 W per busy core", False)


def test_it_needs_nothing_that_a_bare_machine_lacks() -> None:
    code = """
import sys
for name in ("torch", "psutil", "pynvml", "codecarbon", "tensorboardX", "numpy"):
    sys.modules[name] = None
from gapsmith.training.energy import EnergyMeter
import gapsmith.training.metrics
with EnergyMeter(device="cuda") as meter:
    sum(range(10**6))
print(meter.read().kwh > 0)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.strip() == "True"
