"""Levels of theory by name.

What stands here decides results: raise the version in ``gapsmith.core.calculation`` when a change would move them.
"""

from dataclasses import dataclass
from typing import Final

from gapsmith.core.calculation import LEVEL_VERSIONS
from gapsmith.core.domain import Level
from gapsmith.core.errors import InputError


@dataclass(frozen=True)
class LevelOfTheory:
    """How a calculation is done.

    The numbers were chosen on QM9 molecules of 3 to 9 heavy atoms, against direct SCF with grid level 3 converged to 1e-9
    hartree: the gap moves by about 1 meV and the cost falls by a factor of 10 to 17. Grid level 0 costs little less and moves
    it by 3 meV; other initial guesses take more iterations; the even-tempered auxiliary basis that PySCF makes for unknown
    sets is twice as large without being better; convergence to 1e-5 moves the gap by 2 to 3 meV.
    """

    name: Level
    relax: bool
    functional: str = "b3lypg"  # PySCF's name of B3LYP with VWN3, as in the Gaussian program and so in QM9
    basis: str = "6-31g(2df,p)"  # six d functions, seven f functions
    auxiliary_basis: str = "def2-universal-jkfit"
    grid_level: int = 1  # PySCF's
    convergence_hartree: float = 1e-6
    gradient_convergence: float = 3e-4  # norm of the orbital gradient
    most_steps: int = 60  # of a relaxation

    @property
    def version(self) -> str:
        """Goes into a calculation's content hash."""
        return LEVEL_VERSIONS[self.name]

    @property
    def method(self) -> str:
        """Name of the method, as stored with conformers that were relaxed with it."""
        return f"b3lyp/{self.basis}"


LEVELS: Final = {
    level.name: level
    for level in (LevelOfTheory(Level.TRIAGE, relax=False), LevelOfTheory(Level.CERTIFICATE, relax=True))
}


def find(name: str) -> LevelOfTheory:
    """The level of that name; raises InputError with the known names."""
    try:
        return LEVELS[Level(name)]
    except ValueError:
        raise InputError(f"unknown level of theory {name!r}; known: {', '.join(LEVELS)}") from None
