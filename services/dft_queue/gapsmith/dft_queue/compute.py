"""One calculation in this process: the stages of its relaxation, then everything that its level asks for."""

import os
import platform
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from gapsmith.core.chemistry.geometry import rearranged
from gapsmith.core.levels import GFN2
from gapsmith.core.xtb import relax as relax_xtb
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput


def compute(job: CalculationInput, folder: Path, *, memory_mb: int = 3000) -> CalculationOutput:
    """Run a calculation.

    A relaxation in which bonds break or form ends there, and the rest is computed at the geometry where it ended: a
    finding, not a failure.

    Args:
        job: what to compute.
        folder: for files of the result.
        memory_mb: what the engine may take.

    Raises:
        CalculationError: it failed, with class and reason.
        OSError: a file could not be written.
    """
    job.check()
    wall, cpu = time.perf_counter(), _cpu_s()
    engine = find(job.level.engine)
    surface = engine.surface(job, memory_mb)
    numbers, start = np.array(job.numbers), job.positions
    positions, steps, changed = start, 0, None
    stages = job.level.stages(job.geometry_method) if len(numbers) > 1 else ()
    for stage in stages:
        if stage == "gfn2-xtb" or job.level.own_geometry == GFN2:
            print("relaxation with GFN2-xTB", flush=True)
            positions = relax_xtb(numbers, positions, charge=job.charge, spin=job.spin).coordinates
            changed = rearranged(numbers, start, positions)
        else:
            from gapsmith.dft_queue.relaxation import relax  # its import costs half a second that a single point saves

            relaxed = relax(job, surface, positions)
            positions, steps, changed = relaxed.coordinates, relaxed.steps, relaxed.rearranged
        if changed:
            break
    found = surface.properties(positions, folder)
    findings = found.findings
    if changed:
        findings = (f"the molecule rearranged while it was relaxed: {changed}", *findings)
    return CalculationOutput(
        **found.values,
        rearranged=changed,
        findings=findings,
        files=found.files,
        coordinates_angstrom=tuple((float(x), float(y), float(z)) for x, y, z in positions) if stages else None,
        relaxation_steps=steps,
        wall_s=time.perf_counter() - wall,
        cpu_s=_cpu_s() - cpu,
        host=socket.gethostname(),
        software={
            **engine.software(),
            **found.software,
            **{name: _version(name) for name in ("gapsmith", "tblite", "geometric", "numpy")},
            "python": platform.python_version(),
        },
    )


def _cpu_s() -> float:
    """CPU-seconds of this process and of the programs that it has run to their end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
