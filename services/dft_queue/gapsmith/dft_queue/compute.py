"""One calculation in this process: the stages of its relaxation, then everything that its level asks for."""

import os
import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core.chemistry.geometry import rearranged
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.levels import GFN2, Stage
from gapsmith.core.lowest_mode import along, lowest_mode
from gapsmith.core.multiplicity import name_of
from gapsmith.core.properties import computed
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.core.xtb import Evaluator, downhill, off_symmetry
from gapsmith.core.xtb import relax as relax_xtb
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.engines.protocol import SaddlePoint, Surface
from gapsmith.dft_queue.engines.tblite_engine import solvent_of
from gapsmith.dft_queue.ensemble import search
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

SPIN_CONTAMINATION: Final = 0.1  # of S^2, above which it is told
MOST_DESCENTS: Final = 2  # from saddle points of the level's own surface


def compute(job: CalculationInput, folder: Path, *, memory_mb: int = 3000) -> CalculationOutput:
    """Run a calculation.

    A relaxation in which bonds break or form ends there, and the rest is computed at the geometry where it ended: a
    finding, not a failure. A relaxation that ends at a saddle point goes on downhill from there.

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
    positions, steps, values = job.positions, 0, {}
    stages = job.level.stages(job.geometry_method) if len(job.numbers) > 1 else ()
    searched = None
    if stages and job.level.conformers is not None:
        searched = search(job, engine, folder, memory_mb=memory_mb)
        positions, stages = searched.positions, stages[1:]  # GFN2-xTB's
    for attempt in range(1 + MOST_DESCENTS):
        relaxed = _relaxed(job, surface, positions, stages[-1:] if attempt else stages)
        positions, steps, values = relaxed.positions, steps + relaxed.steps, dict(relaxed.values)
        findings = list(relaxed.findings)
        if searched is not None:
            values = {**searched.values, **values}
            findings[:0] = searched.findings
        try:
            if relaxed.own and not relaxed.rearranged:
                values["lowest_wavenumber_cm1"] = _lowest_wavenumber_cm1(job, surface, positions, findings)
            found = surface.properties(positions, folder)
            findings += doubts(found.values, job.spin)
            break
        except SaddlePoint as saddle:
            print(saddle, flush=True)
            if not stages or attempt == MOST_DESCENTS:
                reason = f"the geometry is {saddle}"
                raise CalculationError(FailureClass.CHEMISTRY, reason, FailureCode.SADDLE) from saddle
            positions = downhill(
                positions / BOHR_TO_ANGSTROM,
                saddle.mode,
                lambda moved: surface.gradient(moved * BOHR_TO_ANGSTROM)[0],
            )
            positions *= BOHR_TO_ANGSTROM
    moved = tuple((float(x), float(y), float(z)) for x, y, z in positions) if stages or searched is not None else None
    return CalculationOutput(
        **values | dict(found.values),
        rearranged=relaxed.rearranged,
        findings=(*findings, *found.findings),
        files=(*found.files, *(() if searched is None else searched.files)),
        ensemble=None if searched is None else searched.ensemble.with_final(computed(found.values)),
        coordinates_angstrom=moved,
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


def doubts(values: Mapping[str, Any], spin: int) -> list[str]:
    """What in a result a person should not believe without looking."""
    out = []
    homo, lumo, squared = (values.get(name) for name in ("homo_ev", "lumo_ev", "s_squared"))
    if homo is not None and lumo is not None and lumo < homo:
        out.append(f"the gap is negative ({lumo - homo:.2f} eV): this is not the ground state of charge and spin")
    if homo is not None and homo > 0:
        out.append(f"the HOMO's energy is positive ({homo:.2f} eV): an electron is not bound in this basis set")
    pure = spin / 2 * (spin / 2 + 1)
    if squared is not None and abs(squared - pure) > SPIN_CONTAMINATION:
        out.append(f"S^2 is {squared:.2f} where a pure {name_of(spin)} has {pure:.2f}: the state is mixed with others")
    return out


@dataclass(frozen=True)
class _Relaxed:
    """Where a molecule is after the stages of its relaxation."""

    positions: np.ndarray  # (atoms, 3), angstrom
    steps: int = 0  # gradients of the level's own stage
    own: bool = False  # whether the level's own engine relaxed it, other than GFN2-xTB, which proves its minima itself
    rearranged: str | None = None  # bonds that broke or formed
    values: Mapping[str, float | None] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


def _relaxed(job: CalculationInput, surface: Surface, start: np.ndarray, stages: tuple[Stage, ...]) -> _Relaxed:
    """Go through stages of a relaxation, up to one in which bonds break or form."""
    numbers, now = np.array(job.numbers), _Relaxed(start)
    for stage in stages:
        if stage == GFN2 or job.level.engine == "tblite":
            print("relaxation with GFN2-xTB", flush=True)
            solvent = None if stage == GFN2 else solvent_of(job.level)
            found = relax_xtb(numbers, now.positions, charge=job.charge, spin=job.spin, solvent=solvent)
            changed = rearranged(numbers, start, found.coordinates)
            lowest = {"lowest_wavenumber_cm1": found.lowest_wavenumber_cm1}
            now = _Relaxed(found.coordinates, rearranged=changed, values=lowest)
        else:
            from gapsmith.dft_queue.relaxation import relax  # its import costs half a second that a single point saves

            ended = relax(job, surface, off_symmetry(now.positions) if stage == stages[0] else now.positions)
            now = _Relaxed(ended.coordinates, ended.steps, own=True, rearranged=ended.rearranged)
        if now.rearranged:
            return replace(now, findings=(f"the molecule rearranged while it was relaxed: {now.rearranged}",))
    return now


def _lowest_wavenumber_cm1(
    job: CalculationInput, surface: Surface, positions: np.ndarray, findings: list[str]
) -> float | None:
    """The lowest vibration, by GFN2-xTB's second derivatives; where those are negative the level's own gradients decide.

    Raises:
        SaddlePoint: the energy falls along it at the level itself.
    """
    numbers, here = np.array(job.numbers), positions / BOHR_TO_ANGSTROM
    try:
        evaluate = Evaluator(numbers, here, job.charge, job.spin)
        mode = lowest_mode(numbers, here, evaluate.precise_gradient)
    except CalculationError as error:
        findings.append(f"whether the geometry is a minimum is not known: {error.reason}")
        return None
    if mode is not None and mode.falling:
        mode = along(numbers, here, mode, lambda moved: surface.gradient(moved * BOHR_TO_ANGSTROM)[1])
        if mode.falling:
            raise SaddlePoint(mode)
    return None if mode is None else mode.wavenumber_cm1


def _cpu_s() -> float:
    """CPU-seconds of this process and of the programs that it has run to their end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
