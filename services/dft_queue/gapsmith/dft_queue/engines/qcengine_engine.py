"""Other quantum-chemistry programs, through QCEngine (Smith et al., J. Chem. Phys. 155, 204801 (2021)).

A level names one in its options: ``options: {program: mopac, keywords: {...}}``; its method and basis set are passed on
under the program's own names.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import qcengine
from qcelemental.exceptions import NotAnElementError, ValidationError
from qcengine.config import TaskConfig
from qcengine.exceptions import (
    ConvergenceError,
    InputError,
    KnownErrorException,
    QCEngineException,
)

from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.hints import hint
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.engines.mopac import Mopac
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.engines.qcengine_result import energy_hartree, found
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.qcschema import Driver, input_fields

SAME_ANGSTROM: Final = 1e-6
MOST_CHARACTERS: Final = 240  # of a program's message in a reason
LOG_CHARACTERS: Final = 4000
MOPAC: Final = Mopac()
NOT_PASSED_ON: Final = ("density_fitting", "grid", "gradient_convergence", "solvent")
UNCONVERGED: Final = re.compile(r"(not|n't|fail\w*|unable)\b.{0,60}(converge|\bscf\b|self-consisten)", re.I | re.S)
TELLING: Final = re.compile(r"error|fail|abort|fatal|not converge|cannot|missing", re.I)


class QCEngineEngine:
    """The engine ``qcengine``."""

    def fault(self, level: LevelOfTheory) -> str | None:
        """What is wrong with the options, and what the program cannot be asked for."""
        options = level.options
        where = f"level {level.name!r}"
        if unknown := sorted(set(options) - {"program", "keywords"}):
            return f"{where}: option {unknown[0]!r} is not known to the engine qcengine; its options are program and keywords"
        if not isinstance(options.get("keywords", {}), Mapping):
            return f"{where}: options.keywords must be a mapping from the program's keywords to values"
        program, programs = options.get("program"), sorted(qcengine.list_all_programs())
        if not isinstance(program, str) or program not in programs:
            return f"{where}: options.program must name a program of QCEngine, not {program!r}{hint(str(program), programs)}"
        if asked := [name for name in NOT_PASSED_ON if getattr(level, name) is not None]:
            return (
                f"{where}: {', '.join(asked)} cannot be passed on to {program}; use its own names in options.keywords"
            )
        asked = [*level.properties, *(name for name in ("minimum", "stability") if getattr(level, name))]
        if asked:
            return f"{where}: {', '.join(asked)} cannot be computed with {program} through QCEngine here"
        if level.route != "usual":
            return f"{where}: {program} has one route to its result only"
        return None

    def memory_mb(self, job: CalculationInput) -> int | None:
        """The program is told the worker's limit."""
        return None

    def refusal(self, job: CalculationInput) -> str | None:
        """A program that is not there, and molecules that it does not take."""
        where, program = f"level {job.level.name!r}", job.level.options["program"]
        try:
            _harness(program).found(raise_error=True)
        except ModuleNotFoundError as error:
            return f"{where}: {program} is not installed on this machine: {error}"
        try:
            model = _model(job, "gradient")
        except (NotAnElementError, ValidationError, ValueError, InputError) as error:
            return f"QCSchema does not take the molecule: {_short(getattr(error, 'message', str(error)))}"
        if program == "mopac" and (reason := MOPAC.refusal(model, _config(1000), job.numbers)):
            return f"{where}: {reason}"
        return None

    def surface(self, job: CalculationInput, memory_mb: int) -> "QCEngineSurface":
        """Open a job."""
        return QCEngineSurface(job, memory_mb)

    def software(self) -> Mapping[str, str]:
        """Versions of QCEngine and its schema; a result has the program's own."""
        return {name: version(name) for name in ("qcengine", "qcelemental")}


class QCEngineSurface:
    """Every point is a run of the program."""

    def __init__(self, job: CalculationInput, memory_mb: int) -> None:
        self._job, self._memory_mb = job, memory_mb
        self._last: tuple[np.ndarray, Any] | None = None

    def gradient(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (atoms, 3) (hartree / bohr)."""
        result = self._run(positions, "gradient")
        gradient = np.asarray(result.return_result, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(gradient).all():
            raise CalculationError(FailureClass.CHEMISTRY, "the gradient is not finite")
        return energy_hartree(result), gradient

    def properties(self, positions: np.ndarray, folder: Path) -> Found:
        """What the program told at this geometry: that of the last gradient, or of a run of its own."""
        if self._last is not None and np.allclose(self._last[0], positions, rtol=0, atol=SAME_ANGSTROM):
            return found(self._last[1], self._job)
        return found(self._run(positions, "energy"), self._job)

    def _run(self, positions: np.ndarray, driver: Driver) -> Any:
        """An ``AtomicResult`` of QCSchema; raises CalculationError."""
        rows = tuple((float(x), float(y), float(z)) for x, y, z in positions)
        job = self._job.model_copy(update={"coordinates_angstrom": rows})
        config = _config(self._memory_mb)
        try:
            # Not qcengine.compute: in every new process that spends a second and a half to find out the processor's name.
            with qcengine.util.environ_context(config=config):
                result = _harness(self._job.level.options["program"]).compute(_model(job, driver), config)
        except (OSError, MemoryError):
            raise
        except QCEngineException as error:
            raise _failed(error.error_type, error.raw_message) from error
        except Exception as error:  # whatever a harness lets through, down to a KeyError in its parser
            raise _failed("", f"{type(error).__name__}: {error}") from error
        if isinstance(result, QCEngineException):  # which some harnesses return instead of raising it
            raise _failed(result.error_type, result.raw_message)
        if not result.success:
            raise _failed(result.error.error_type, result.error.error_message)
        self._last = positions.copy(), result
        return result


def _harness(program: str) -> Any:
    return MOPAC if program == "mopac" else qcengine.get_program(program, check=False)


def _model(job: CalculationInput, driver: Driver) -> Any:
    """The input as QCEngine's harnesses take it, whatever layout that is."""
    fields = input_fields(job, driver)
    wanted = {"protocols": {"wavefunction": "orbitals_and_eigenvalues"}}  # of the programs that can
    return _harness(job.level.options["program"]).build_input_model(fields | wanted)


def _config(memory_mb: int) -> TaskConfig:
    scratch = os.environ.get("TMPDIR") or tempfile.gettempdir()  # gettempdir keeps what it found before a fork
    memory_gib = memory_mb / 1024
    return TaskConfig(ncores=1, nnodes=1, memory=memory_gib, scratch_directory=scratch, retries=0, mpiexec_command=None)


def _failed(kind: str, text: str) -> CalculationError:
    """Whether to try again, and the program's own words; the end of its output goes into the log."""
    print(str(text)[-LOG_CHARACTERS:], flush=True)
    if kind in (ConvergenceError.error_type, KnownErrorException.error_type) or UNCONVERGED.search(str(text)):
        failure, code = FailureClass.CHEMISTRY, FailureCode.SCF
    elif kind == InputError.error_type:
        failure, code = FailureClass.POISON, FailureCode.LEVEL
    else:  # random, resources, unknown
        failure, code = FailureClass.TRANSIENT, FailureCode.OTHER
    return CalculationError(failure, f"the program failed: {_short(str(text))}", code)


def _short(text: str) -> str:
    """The line of an output that tells most."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip(" *-=")]
    telling = [line for line in lines if TELLING.search(line)]
    return ((telling or lines or ["it said nothing"])[-1])[:MOST_CHARACTERS]
