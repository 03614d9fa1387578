"""The exception tree. Whoever catches ``GapsmithError`` catches everything that a user can act upon.

GapsmithError
├── InputError            a file, a field or an option that a person wrote: what, where, what is allowed
│   └── InvalidMolecule   atoms and bonds that are no molecule, with a reason that can be counted
├── UnavailableError      a server or a resource that cannot be reached: which one, which address, what to start
├── CheckpointError       model weights that are missing, damaged or of another format
├── DataError             a data set that is missing or damaged
└── CalculationError      a quantum-chemical calculation that failed, with its failure class
"""

from enum import StrEnum


class GapsmithError(Exception):
    """Base of all errors whose message is meant for a person."""


class InputError(GapsmithError):
    """Input from a person is wrong; the message says what, where and what to do."""


class InvalidMolecule(InputError):
    """Atoms and bonds that are no molecule.

    Args:
        reason: to count by: empty, element, geometry, bonds, fragments, charge, valence, radical or sanitisation.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"not a valid molecule ({reason}): {detail}")
        self.reason = reason
        self.detail = detail


class UnavailableError(GapsmithError):
    """A server or resource cannot be reached; the message names it, its address and what to start."""


class CheckpointError(GapsmithError):
    """Model weights are missing, damaged or of another format."""


class DataError(GapsmithError):
    """A data set is missing or damaged."""


class FailureClass(StrEnum):
    """Why a calculation failed, which decides whether it is tried again."""

    TRANSIENT = "transient"  # time-out of a server, full disk: try again
    COMPUTE_LOST = "compute_lost"  # the worker died or was killed: try again
    CHEMISTRY = "chemistry"  # SCF or relaxation does not converge, the molecule falls apart: do not
    POISON = "poison"  # it killed its worker repeatedly, or its input is broken: quarantined


class CalculationError(GapsmithError):
    """A quantum-chemical calculation failed.

    Args:
        failure_class: decides whether the calculation is tried again.
        reason: one sentence for a person.
    """

    def __init__(self, failure_class: FailureClass, reason: str) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.reason = reason
