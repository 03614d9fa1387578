"""What a level asks for beyond energies, computed and put into words where a person should know of it."""

from pathlib import Path
from typing import Any, Final

from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.properties.excitations import excitations
from gapsmith.dft_queue.properties.frequencies import frequencies
from gapsmith.dft_queue.properties.orbitals import write_cubes
from gapsmith.dft_queue.properties.polarizability import polarizability
from gapsmith.dft_queue.properties.stability import check_stability
from gapsmith.dft_queue.scf import Converged, converge

MOST_DESCENTS: Final = 2
IMAGINARY_CM1: Final = -20.0  # what is above is the noise of grids and loose relaxations


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
        findings.append("an unrestricted wave function lies lower: the molecule has open-shell character")
    return scf, findings


def asked_for(field: Any, level: LevelOfTheory, folder: Path) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """Values by the names of ``CalculationOutput``, findings, names of files; raises CalculationError, OSError."""
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
        if imaginary := [f"{-value:.0f}i" for value in modes.wavenumbers_cm1 if value < IMAGINARY_CM1]:
            findings.append(f"not a minimum: imaginary modes at {', '.join(imaginary)} cm^-1")
    if "excitations" in level.properties:
        print("excitations", flush=True)
        found = excitations(field, level.excitations)
        values["excitations"] = tuple(
            {
                "energy_ev": one.energy_ev,
                "wavelength_nm": one.wavelength_nm,
                "oscillator_strength": one.oscillator_strength,
            }
            for one in found
        )
        if any(one.method == "TDA" for one in found):
            findings.append("excitations are of the Tamm-Dancoff approximation: the full TDDFT did not converge")
    if "orbitals" in level.properties:
        print("cubes of the frontier orbitals", flush=True)
        files = tuple(path.name for path in write_cubes(field, folder).values())
    return values, findings, files
