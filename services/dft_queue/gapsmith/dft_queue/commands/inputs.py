"""Inputs for ORCA, Gaussian and Psi4 that compute what a level of theory computes, at a geometry that is there already.

What a program does not have is refused rather than replaced by something similar. Where a program's basis set differs from
that of the level (Pople's d functions are Cartesian here, as in Gaussian), the functions themselves are written.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError
from gapsmith.core.levels import GFN2, LevelOfTheory
from gapsmith.dft_queue.jobs import CalculationInput

# Names by program where they differ from the level's; an empty one: the program does not have it.
FUNCTIONALS: Final[Mapping[str, tuple[str, str, str]]] = {  # ORCA, Gaussian, Psi4
    "b3lyp": ("B3LYP/G", "B3LYP", "b3lyp"),  # VWN3, as everywhere but in ORCA's own B3LYP
    "b3lypg": ("B3LYP/G", "B3LYP", "b3lyp"),
    "pbe": ("PBE", "PBEPBE", "pbe"),
    "pbe0": ("PBE0", "PBE1PBE", "pbe0"),
    "blyp": ("BLYP", "BLYP", "blyp"),
    "bp86": ("BP86", "BP86", "bp86"),
    "tpss": ("TPSS", "TPSSTPSS", "tpss"),
    "tpssh": ("TPSSh", "TPSSh", "tpssh"),
    "m06": ("M06", "M06", "m06"),
    "m062x": ("M062X", "M062X", "m06-2x"),
    "m06l": ("M06L", "M06L", "m06-l"),
    "camb3lyp": ("CAM-B3LYP", "CAM-B3LYP", "cam-b3lyp"),
    "wb97x": ("wB97X", "wB97X", "wb97x"),
    "wb97x-v": ("wB97X-V", "", "wb97x-v"),
    "wb97x-d3bj": ("wB97X-D3BJ", "", "wb97x-d3bj"),
    "wb97m-v": ("wB97M-V", "", "wb97m-v"),
    "r2scan": ("r2SCAN", "", "r2scan"),
    "hf": ("HF", "HF", "hf"),
}
DISPERSION: Final[Mapping[str, tuple[str, str, str]]] = {
    "d3bj": ("D3BJ", "EmpiricalDispersion=GD3BJ", "-d3bj"),
    "d3zero": ("D3ZERO", "EmpiricalDispersion=GD3", "-d3"),
    "d4": ("D4", "", "-d4"),
}
CARTESIAN: Final = ("6-31g(2df,p)", "6-31g(d)")  # whose six d functions only Gaussian takes by the name
ANGULAR: Final = "SPDFGHI"
PROGRAMS: Final = ("ORCA", "Gaussian", "Psi4")


def orca(job: CalculationInput, title: str) -> str:
    """An input of ORCA."""
    method, dispersion = _method(job.level, 0)
    solvent, blocks = job.level.solvent, ["%maxcore 3000"]
    keywords = [method, dispersion, "TightSCF"]
    if method == "XTB2":
        keywords = [method, f"ALPB({solvent.name})" if solvent is not None and solvent.model == "alpb" else ""]
    elif basis := _own_functions(job):
        blocks.append("%basis\n" + "".join(_orca_functions(basis)) + "end")
    else:
        keywords.append(str(_name_of_basis(job)))
    if method != "XTB2":
        keywords.append("RIJK def2/JK" if job.level.density_fitting else "NORI")
    if solvent is not None and method != "XTB2":
        if solvent.model != "smd":
            raise _refused(job.level, "ORCA", f"the solvent model {solvent.model}")
        blocks.append(f'%cpcm\n  smd true\n  SMDsolvent "{solvent.name}"\nend')
    elif solvent is not None and solvent.model != "alpb":
        raise _refused(job.level, "ORCA", f"GFN2-xTB in {solvent.model}")
    lines = [f"# {title}", f"! {' '.join(filter(None, keywords))}", *blocks]
    return "\n".join([*lines, f"*xyz {job.charge} {job.spin + 1}", *_rows(job), "*", ""])


def gaussian(job: CalculationInput, title: str) -> str:
    """An input of Gaussian; integrals are exact there."""
    method, dispersion = _method(job.level, 1)
    basis = str(_name_of_basis(job)).replace("def2-", "def2")
    words = [f"#P {method}/{basis}", dispersion, "SCF=Tight", "Pop=Minimal"]
    if basis.lower() in CARTESIAN:
        words.append("6D 7F")
    if (solvent := job.level.solvent) is not None:
        if solvent.model not in ("smd", "pcm"):
            raise _refused(job.level, "Gaussian", f"the solvent model {solvent.model}")
        words.append(f"SCRF=({'SMD' if solvent.model == 'smd' else 'IEFPCM'},Solvent={solvent.name.title()})")
    head = ["%Mem=4GB", " ".join(filter(None, words)), "", title, "", f"{job.charge} {job.spin + 1}"]
    return "\n".join([*head, *_rows(job), "", ""])


def psi4(job: CalculationInput, title: str) -> str:
    """An input of Psi4."""
    method, dispersion = _method(job.level, 2)
    restricted, hartree_fock = job.spin == 0, method == "hf"
    settings = {
        "reference": f"{'r' if restricted else 'u'}{'hf' if hartree_fock else 'ks'}",
        "scf_type": "df" if job.level.density_fitting else "direct",
    }
    if job.level.density_fitting:
        settings["df_basis_scf"] = job.level.density_fitting
    basis = _own_functions(job)
    if not basis:
        settings["basis"] = str(_name_of_basis(job))
    if (solvent := job.level.solvent) is not None:
        if solvent.model not in ("pcm", "ddcosmo"):
            raise _refused(job.level, "Psi4", f"the solvent model {solvent.model}")
        settings |= {"ddx": "true", "ddx_solvent": solvent.name}
        settings["ddx_model"] = "cosmo" if solvent.model == "ddcosmo" else "pcm"
    lines = [f"# {title}", "memory 4 GB", "molecule {", f"{job.charge} {job.spin + 1}", *_rows(job)]
    lines += ["units angstrom", "no_com", "no_reorient", "symmetry c1", "}"]
    lines += ["set {", *(f"  {key} {value}" for key, value in settings.items()), "}"]
    if basis:
        lines += ["basis {", "spherical", *_psi4_functions(basis), "}"]
    return "\n".join([*lines, f"energy('{method}{dispersion}')", ""])


def _method(level: LevelOfTheory, program: int) -> tuple[str, str]:
    """Functional and dispersion correction as a program calls them."""
    if level.method == GFN2 and program == 0:
        return "XTB2", ""
    known, dispersion = level.method.lower(), ("", "", "")
    if known not in FUNCTIONALS:
        known, _, correction = known.partition("-")
        dispersion = DISPERSION.get(correction, ("", "", ""))
        if correction and not dispersion[program]:
            raise _refused(level, PROGRAMS[program], f"the method {level.method}")
    names = FUNCTIONALS.get(known, ("", "", ""))
    if level.engine != "pyscf" or not names[program]:
        raise _refused(level, PROGRAMS[program], f"the method {level.method}")
    return names[program], dispersion[program]


def _name_of_basis(job: CalculationInput) -> str | None:
    from gapsmith.dft_queue.basis import of_level

    return of_level(job.level, job.numbers)


def _own_functions(job: CalculationInput) -> Mapping[str, Any]:
    """PySCF's shells by element of a basis set that a program does not have under its name; empty if it has it."""
    from gapsmith.dft_queue.basis import by_name

    name = str(_name_of_basis(job)).lower()
    if name not in CARTESIAN:
        return {}
    shells = by_name(name, job.numbers)
    return {symbol: shells[symbol] for symbol in sorted({SYMBOLS[number] for number in job.numbers})}


def _contractions(shells: Any) -> list[tuple[str, list[tuple[float, float]]]]:
    """Angular momentum and (exponent, coefficient) of each contracted function."""
    return [
        (ANGULAR[shell[0]], [(row[0], row[column]) for row in shell[1:]])
        for shell in shells
        for column in range(1, len(shell[1]))
    ]


def _orca_functions(basis: Mapping[str, Any]) -> list[str]:
    lines = []
    for symbol, shells in basis.items():
        lines.append(f"  NewGTO {symbol}\n")
        for letter, primitives in _contractions(shells):
            lines.append(f"  {letter} {len(primitives)}\n")
            lines += [f"    {place} {e:.10g} {c:.10g}\n" for place, (e, c) in enumerate(primitives, start=1)]
        lines.append("  end\n")
    return lines


def _psi4_functions(basis: Mapping[str, Any]) -> list[str]:
    lines = ["****"]
    for symbol, shells in basis.items():
        lines.append(f"{symbol} 0")
        for letter, primitives in _contractions(shells):
            lines.append(f"{letter} {len(primitives)} 1.0")
            lines += [f"  {e:.10g} {c:.10g}" for e, c in primitives]
        lines.append("****")
    return lines


def _rows(job: CalculationInput) -> list[str]:
    rows = zip(job.numbers, job.positions.tolist(), strict=True)
    return [f"{SYMBOLS[number]:2s} {x:15.8f} {y:15.8f} {z:15.8f}" for number, (x, y, z) in rows]


def _refused(level: LevelOfTheory, program: str, what: str) -> InputError:
    return InputError(f"level {level.name!r} cannot be written for {program}: no name is known there for {what}")


WRITERS: Final[Mapping[str, Callable[[CalculationInput, str], str]]] = {
    ".inp": orca,
    ".gjf": gaussian,
    ".com": gaussian,
    ".psi4": psi4,
}


def title_of(text: str) -> str:
    """A title that no program takes for a keyword, in one line."""
    return re.sub(r"[^\w ().,:/+=\[\]@#-]", " ", " ".join(text.split())).strip(" #") or "gapsmith"
