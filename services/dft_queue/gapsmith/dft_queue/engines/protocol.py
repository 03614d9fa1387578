"""What a quantum-chemistry program must offer to serve as an engine: a plug-in of the group ``gapsmith.engines``.

An engine is made without arguments. It refuses what it cannot do before anything is queued, and opens a ``Surface`` for the
rest: energies and gradients for a relaxation, and everything else at the geometry where that ends. The test of a
plug-in inherits ``tests/contracts/engines/contract.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.lowest_mode import Mode
from gapsmith.dft_queue.jobs import CalculationInput


class SaddlePoint(Exception):  # a finding on the way, not an error
    """A geometry where a minimum is demanded is none; the energy falls along ``mode``."""

    def __init__(self, mode: Mode) -> None:
        super().__init__(f"a saddle point: imaginary mode at {-mode.wavenumber_cm1:.0f}i cm^-1")
        self.mode = mode


@dataclass(frozen=True)
class Found:
    """What an engine found at a geometry: fields of ``CalculationOutput`` by name, and how it got there."""

    values: Mapping[str, Any]  # energy_hartree at least
    findings: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=())  # names in the folder that was given
    software: Mapping[str, str] = field(default_factory=dict)  # versions that only a run tells


class Surface(Protocol):
    """The potential-energy surface of one molecule. Every point may start from the one before."""

    def gradient(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (atoms, 3) (hartree / bohr).

        Args:
            positions: (atoms, 3), angstrom.

        Raises:
            CalculationError: chemistry, if it does not converge.
        """
        ...

    def properties(self, positions: np.ndarray, folder: Path) -> Found:
        """Everything that the level asks for at a geometry (atoms, 3) in angstrom; files go into ``folder``.

        Raises:
            CalculationError: chemistry, if something does not converge.
            SaddlePoint: the level demands a minimum, and this is none.
            OSError: a file could not be written.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """A quantum-chemistry program."""

    def fault(self, level: LevelOfTheory) -> str | None:
        """What this engine cannot make sense of in a level, whatever the molecule, in one sentence, or None."""
        ...

    def memory_mb(self, job: CalculationInput) -> int | None:
        """What a job needs, roughly; None where the worker's limit is enough for whatever the engine is given."""
        ...

    def refusal(self, job: CalculationInput) -> str | None:
        """Why a job's molecule or level is not for this engine, in one sentence, or None. Quick: nothing is computed."""
        ...

    def surface(self, job: CalculationInput, memory_mb: int) -> Surface:
        """Open a job; computes nothing yet."""
        ...

    def software(self) -> Mapping[str, str]:
        """Versions of what computes, by name."""
        ...
