"""What PySCF makes of a level's names: functional, dispersion, basis sets, solvent; what it does not know is refused."""

import warnings
from functools import cache, reduce
from importlib.util import find_spec
from typing import Any, Final

from pyscf import dft, gto
from pyscf.lib.exceptions import BasisNotFoundError
from pyscf.scf.dispersion import DISP_VERSIONS, parse_dft
from pyscf.solvent.smd import solvent_db

from gapsmith.core.hints import hint
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.basis import QM9

SOLVENT_MODELS: Final = ("smd", "pcm", "ddcosmo")
ELEMENTS: Final = ("H", "C", "O", "Ne", "I", "Fe", "U")  # a basis set that has none of them does not exist
COMMON: Final = (
    "b3lyp", "b3lypg", "pbe", "pbe0", "blyp", "bp86", "tpss", "tpssh", "scan", "r2scan", "m06", "m062x", "m06l", "camb3lyp",
    "wb97", "wb97x", "wb97x-v", "wb97x-d3bj", "wb97m-v", "wb97m-d3bj", "hse06", "lc_blyp", "lrc_wpbeh", "bhandhlyp", "b97m-v",
    "b3lyp-d3bj", "b3lyp-d4", "pbe0-d3bj", "pbe0-d4", "b2plyp", "x3lyp", "o3lyp", "revpbe", "rpbe", "lda,vwn", "svwn", "hf",
)  # fmt: skip  # names that typing errors are compared with; everything that PySCF parses is taken
NEEDS_DISPERSION: Final = "pyscf.dispersion"
IN_A_SOLVENT: Final = ("orbitals",)  # properties; responses would need the solvent's own


def functional(method: str) -> tuple[str, str | None]:
    """PySCF's name of the functional and, where that name does not imply the right one, the dispersion correction."""
    xc, _, dispersion = parse_dft(method)
    if dispersion is not None and xc == "b3lypg":
        return xc, f"{dispersion}:b3lyp"  # whose parameters are listed under the other name
    return method, None


def range_separated(method: str) -> bool:
    """Whether a functional has exact exchange of another share at long range, whose integrals are kept, too."""
    return bool(dft.numint.NumInt().rsh_and_hybrid_coeff(parse_dft(method)[0])[0])


def fault(level: LevelOfTheory) -> str | None:
    """What PySCF cannot make sense of in a level, whatever the molecule, in one sentence; None if nothing."""
    where = f"level {level.name!r}"
    if level.options:
        return (
            f"{where}: option {min(level.options)!r} is not known to the engine pyscf, which has none; solvent is a key"
        )
    if reason := _method_fault(level.method):
        return f"{where}: {reason}"
    if level.basis is None:
        return f"{where} names no basis set; PySCF needs one"
    for key in ("basis", "fallback_basis", "density_fitting"):
        name = getattr(level, key)
        if name is not None and not _basis_exists(name):
            return f"{where}: {key}: PySCF has no basis set {name!r}{hint(name.lower(), _basis_names())}"
    if level.solvent is None:
        return None
    if level.solvent.model not in SOLVENT_MODELS:
        return f"{where}: solvent.model is one of {', '.join(SOLVENT_MODELS)} with PySCF, not {level.solvent.model}"
    if level.solvent.name.lower() not in solvent_db:
        return (
            f"{where}: solvent.name: {level.solvent.name!r} is not known{hint(level.solvent.name.lower(), solvent_db)}"
        )
    asked = [*(set(level.properties) - set(IN_A_SOLVENT)), *(["minimum"] if level.minimum else [])]
    return f"{where}: {', '.join(sorted(asked))} cannot be computed in a solvent here" if asked else None


def _method_fault(method: str) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            xc, _, dispersion = parse_dft(method)
            if xc.lower() != "hf":
                dft.libxc.parse_xc(xc)
    except NotImplementedError:
        return f"PySCF has no dispersion correction for {method!r}; wb97x-d3bj and wb97x-v are functionals of that kind"
    except (KeyError, ValueError, IndexError):
        return f"PySCF knows no density functional {method!r}{hint(method.lower(), COMMON)}"
    if dispersion is None:
        return None
    version = dispersion.partition(":")[0].removesuffix("atm").removesuffix("2b")
    if version not in DISP_VERSIONS:
        return f"{method!r}: the dispersion correction {version!r} is not known{hint(version, DISP_VERSIONS)}"
    if find_spec(NEEDS_DISPERSION) is None:
        return f"{method!r} needs the package pyscf-dispersion, which is not installed here"
    return None


def in_solvent(field: Any, level: LevelOfTheory) -> Any:
    """A mean field in the level's solvent; the same one without."""
    if level.solvent is None:
        return field
    name = level.solvent.name.lower()
    if level.solvent.model == "smd":
        field = field.SMD()
        field.with_solvent.solvent = name
        return field
    if level.solvent.model == "pcm":
        field = field.PCM()
        field.with_solvent.method = "IEF-PCM"
    else:
        field = field.ddCOSMO()
    field.with_solvent.eps = solvent_db[name][5]  # static dielectric constant
    return field


@cache
def _basis_exists(name: str) -> bool:
    if name.lower() == QM9:
        return True
    with warnings.catch_warnings(action="ignore"):
        for symbol in ELEMENTS:
            try:
                if gto.basis.load(name, symbol):
                    return True
            except (BasisNotFoundError, KeyError, OSError, RuntimeError):
                continue
    return False


@cache
def _basis_names() -> tuple[str, ...]:
    """PySCF's names with the hyphens that people write."""
    short = [name for name in gto.basis.ALIAS if not name.endswith(("ri", "mp2fit"))]
    hyphens = (
        ("def2", "def2-"),
        ("ccpv", "cc-pv"),
        ("aug", "aug-"),
        ("6311", "6-311"),
        ("631", "6-31"),
        ("sto3g", "sto-3g"),
    )
    written = {reduce(lambda name, pair: name.replace(*pair, 1), hyphens, name) for name in short}
    return (QM9, "6-31g(d)", "6-31g(d,p)", *sorted(written), "def2-universal-jkfit")
