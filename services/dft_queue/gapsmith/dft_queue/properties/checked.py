"""What a level asks for beyond energies, computed and put into words where a person should know of it."""

from pathlib import Path
from typing import Any, Final

from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.lowest_mode import FALLING_CM1
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.engines.protocol import SaddlePoint
from gapsmith.dft_queue.properties.excitations import excited_states
from gapsmith.dft_queue.properties.frequencies import frequencies
from gapsmith.dft_queue.properties.orbitals import write_cubes, write_molden
from gapsmith.dft_queue.properties.polarizability import polarizability
from gapsmith.dft_queue.properties.stability import check_stability, stable_against_unrestricted
from gapsmith.dft_queue.scf import Converged, converge

MOST_DESCENTS: Final = 2
OPEN_SHELL: Final = "an unrestricted wave function lies lower: the molecule has open-shell character"


def stable(scf: Converged, level: LevelOfTheory) -> tuple[Converged, list[str]]:
    """The SCF, or the lower one that lies behind an instability, and what was found; raises CalculationError."""
    findings = []
    first = float(scf.mean_field.e_tot)
    for _ in range(MOST_DESCENTS):
        print("stability of the wave function", flush=True)
        found = check_stability(scf.mean_field)
        if not found.internal:
            scf = converge(scf.mean_field.mol, level, start=found.density)
            continue
        break
    else:
        found = check_stability(scf.mean_field)
        if not found.internal:
            findings.append("the wave function is still a saddle point after following its instability twice")
    if (lower := first - float(scf.mean_field.e_tot)) > level.convergence_hartree:
        findings.append(
            f"the SCF had ended at a saddle point; the state below it ({lower * HARTREE_TO_EV:.3f} eV) is given"
        )
    if not found.external:
        findings.append(OPEN_SHELL)
    return scf, findings


def open_shell_character(field: Any) -> list[str]:
    """A finding, if a restricted field has an unrestricted one below it."""
    print("stability against an unrestricted wave function", flush=True)
    return [] if stable_against_unrestricted(field) else [OPEN_SHELL]


def asked_for(field: Any, level: LevelOfTheory, folder: Path) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """Values by the names of ``CalculationOutput``, findings, names of files.

    Raises:
        SaddlePoint: the level demands a minimum.
        CalculationError: something does not converge.
        OSError: a file cannot be written.
    """
    values: dict[str, Any] = {}
    findings: list[str] = []
    files: tuple[str, ...] = ()
    if "polarizability" in level.properties:
        print("polarizability", flush=True)
        values["polarizability_bohr3"] = tuple(tuple(map(float, row)) for row in polarizability(field))
    if level.minimum or "frequencies" in level.properties:
        print("harmonic frequencies", flush=True)
        modes = frequencies(field)
        values["wavenumbers_cm1"] = tuple(map(float, modes.wavenumbers_cm1))
        values["ir_intensities_km_mol"] = tuple(map(float, modes.ir_intensities_km_mol))
        values["zero_point_energy_hartree"] = modes.zero_point_energy_hartree
        values["lowest_wavenumber_cm1"] = float(modes.wavenumbers_cm1.min()) if len(modes.modes) else None
        if imaginary := [f"{-value:.0f}i" for value in modes.wavenumbers_cm1 if value < FALLING_CM1]:
            if level.minimum:
                raise SaddlePoint(modes.lowest)
            findings.append(f"not a minimum: imaginary modes at {', '.join(imaginary)} cm^-1")
    if asked := [name for name in ("excitations", "triplets") if name in level.properties]:
        print(" and ".join(asked), flush=True)
        values["excitations"], more = excited_states(
            field, level.states, triplets="triplets" in asked, others="excitations" in asked
        )
        findings += more
    if "orbitals" in level.properties:
        print("orbitals: cubes of the frontier ones, Molden file of all", flush=True)
        files = (*(path.name for path in write_cubes(field, folder).values()), write_molden(field, folder).name)
    return values, findings, files
