"""The exception tree. Whoever catches ``GapsmithError`` catches everything that a user can act upon.

GapsmithError
├── InputError            a file, a field or an option that a person wrote: what, where, what is allowed
│   ├── EmptyInput        a file or a stream without any record
│   ├── InvalidMolecule   atoms and bonds that are not a molecule, with a reason that can be counted
│   ├── NotFound          a name or an id that does not exist (any more)
│   └── Conflict          a change that the present state does not allow
├── UnavailableError      a server or a resource that cannot be reached: which one, which address, what to start
│   ├── OutdatedSchema    a database of an earlier version
│   └── DiskFull          a file that does not fit
├── TooSlow               a query that was ended because it took too long
├── CheckpointError       model weights that are missing, damaged or of another format
├── DataError             a data set that is missing or damaged
├── CalculationError      a quantum-chemical calculation that failed, with its failure class
└── Internal              a mistake of ours, with the number under which the log has its traceback
"""

import errno
import os
from enum import StrEnum
from pathlib import Path


class ErrorCode(StrEnum):
    """What kind of error: the value is stable and meant for programs. The only table of HTTP statuses, exit codes and advice.

    Exit code 0 is success, 1 means that some records failed, 130 that the user interrupted the command.
    """

    status: int  # of HTTP
    exit_code: int
    summary: str
    advice: str  # what helps in general; the message of an error says what helps in particular

    def __new__(cls, value: str, status: int, exit_code: int, summary: str, advice: str = "") -> "ErrorCode":
        """A member of the table."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.status, member.exit_code, member.summary, member.advice = status, exit_code, summary, advice
        return member

    INPUT = "input", 422, 2, "The input cannot be used"
    EMPTY = "empty-input", 422, 1, "There is nothing to read"
    INVALID_MOLECULE = "invalid-molecule", 422, 2, "Not a valid molecule"
    TOO_SLOW = "too-slow", 422, 2, "The query takes too long", "ask for less at once, for example within one campaign"
    MALFORMED = "malformed-request", 400, 2, "The request cannot be read"
    METHOD = "method-not-allowed", 405, 2, "The address does not support this method"
    TOO_LARGE = "too-large", 413, 2, "The request is too large"
    NOT_FOUND = "not-found", 404, 3, "Not found"
    CONFLICT = "conflict", 409, 4, "Not possible in the present state"
    UNAVAILABLE = "unavailable", 503, 5, "A server cannot be reached", "'gapsmith status' shows what runs"
    OUTDATED_SCHEMA = (
        "outdated-schema", 503, 5, "The database is of an earlier version", "bring it up to date with: gapsmith migrate"
    )  # fmt: skip
    DISK_FULL = "disk-full", 507, 5, "A disk is full"
    TOO_MANY = "too-many-requests", 429, 5, "Too many requests"
    CHECKPOINT = "checkpoint", 500, 6, "Model weights cannot be used", "'gapsmith models list' shows all models"
    DATA = "data", 500, 6, "A data set cannot be used"
    CALCULATION = "calculation", 500, 7, "A calculation failed"
    TRAINING = "training", 500, 7, "A training failed"
    UNAUTHENTICATED = "token-needed", 401, 8, "A valid token is needed"
    FORBIDDEN = "forbidden", 403, 8, "Not permitted"
    INTERNAL = "internal", 500, 70, "Unexpected error", "please report it, with the traceback from the log"

    @classmethod
    def of_status(cls, status: int) -> "ErrorCode":
        """The first code with an HTTP status; INTERNAL if none has it."""
        return next((code for code in cls if code.status == status), cls.INTERNAL)


class GapsmithError(Exception):
    """Base of all errors whose message is meant for a person."""

    code: ErrorCode = ErrorCode.INTERNAL

    @property
    def advice(self) -> str:
        """What helps with errors of this code, unless the message says so itself."""
        return "" if self.code.advice in str(self) else self.code.advice


class InputError(GapsmithError):
    """Input from a person is wrong; the message says what, where and what to do."""

    code = ErrorCode.INPUT


class EmptyInput(InputError):
    """A file or a stream without any record: nothing is wrong, and nothing can be done."""

    code = ErrorCode.EMPTY


class NotFound(InputError):
    """A name or an id that does not exist (any more); the message says what there is."""

    code = ErrorCode.NOT_FOUND


class Conflict(InputError):
    """A change that the present state does not allow; the message names the state."""

    code = ErrorCode.CONFLICT


class InvalidMolecule(InputError):
    """Atoms and bonds that are not a molecule.

    Args:
        reason: to count by: empty, size, element, geometry, drawing, hydrogens, bonds, fragments, charge, spin, valence,
            radical, sanitisation, embedding, level or unreadable.
        detail: one sentence for a person.
    """

    code = ErrorCode.INVALID_MOLECULE

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"not a valid molecule ({reason}): {detail}")
        self.reason = reason
        self.detail = detail


class UnavailableError(GapsmithError):
    """A server or resource cannot be reached; the message names it, its address and what to start."""

    code = ErrorCode.UNAVAILABLE


class OutdatedSchema(UnavailableError):
    """The database's schema is of an earlier version."""

    code = ErrorCode.OUTDATED_SCHEMA


class TooSlow(GapsmithError):
    """A query was ended because it took too long."""

    code = ErrorCode.TOO_SLOW


class CheckpointError(GapsmithError):
    """Model weights are missing, damaged or of another format."""

    code = ErrorCode.CHECKPOINT


class DataError(GapsmithError):
    """A data set is missing or damaged."""

    code = ErrorCode.DATA


class DiskFull(UnavailableError):
    """A file does not fit; the message names it where that is known."""

    code = ErrorCode.DISK_FULL


def disk_full(error: BaseException) -> DiskFull | None:
    """What to tell of an exception that a full disk, a quota or a limit of a file's size has caused; None of any other."""
    import tempfile  # half of what this module costs, and seldom needed

    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    told = (number for number in full if f"(os error {number})" in str(error))  # as safetensors does, in Rust
    number = getattr(error, "errno", None) or next(told, None)
    if number not in full:
        return None
    where = getattr(error, "filename", None) or f"the output, or a temporary file in {tempfile.gettempdir()},"
    why = getattr(error, "strerror", None) or os.strerror(number)
    return DiskFull(f"{where} cannot be written: {why}; free some space, and give the same command again")


class Internal(GapsmithError):
    """An exception that was not expected.

    Args:
        error: the exception.
        number: under which the log has its traceback.
        log: that file; None if it could not be written.
    """

    code = ErrorCode.INTERNAL

    def __init__(self, error: BaseException, number: str, log: Path | None) -> None:
        where = "no log file could be written" if log is None else f"{log} has the details"
        super().__init__(f"unexpected {type(error).__name__}, number {number}: {where}")
        self.number = number
        self.log = log


class FailureClass(StrEnum):
    """Why a calculation failed, which decides whether it is tried again."""

    TRANSIENT = "transient"  # time-out of a server, full disk: try again
    COMPUTE_LOST = "compute_lost"  # the worker died or was killed: try again
    CHEMISTRY = "chemistry"  # SCF or relaxation does not converge, the molecule falls apart: do not
    POISON = "poison"  # it killed its worker repeatedly, or its input is broken: quarantined


class FailureCode(StrEnum):
    """What a calculation failed by, to count by and to find advice by."""

    MEMORY = "memory"
    TIME = "time"
    DISK = "disk"
    PROCESS = "process"  # it was ended from outside, or its worker went silent
    MOLECULE = "molecule"  # no atoms, too many, or some too close to each other
    SPIN = "spin"  # charge and unpaired electrons do not go together
    LEVEL = "level"  # it cannot compute this molecule
    SADDLE = "saddle"
    RELAXATION = "relaxation"
    SCF = "scf"
    UNCONFIRMED = "unconfirmed"  # a surprising gap that another route does not give
    OTHER = "other"


class CalculationError(GapsmithError):
    """A quantum-chemical calculation failed.

    Args:
        failure_class: decides whether the calculation is tried again.
        reason: one sentence for a person.
        failure_code: by which advice is found.
    """

    code = ErrorCode.CALCULATION

    def __init__(self, failure_class: FailureClass, reason: str, failure_code: FailureCode = FailureCode.OTHER) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.failure_code = failure_code
        self.reason = reason
