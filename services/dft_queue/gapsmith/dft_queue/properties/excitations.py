"""Vertical excitations by linear-response time-dependent density functional theory, in full or by Tamm and Dancoff."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.states import States
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.jobs import Excitation
from gapsmith.dft_queue.properties.character import Characters
from gapsmith.dft_queue.properties.response import by_spin, prepared, unrestricted
from gapsmith.dft_queue.properties.stability import stable_against_unrestricted

TOLERANCE: Final = 1e-3  # of the residual: energies are then right to 1e-5 eV, oscillator strengths to 1e-5
MOST_CYCLES: Final = 60
MORE_GUESSES: Final = (
    8  # pairs of orbitals beyond the states: the lowest pairs alone can lack a state's symmetry altogether
)
TRIAL_VECTORS: Final = 600  # kept; PySCF takes room for thousands where the limit allows it
EV_NM: Final = 1239.8419843320026  # energy times wavelength
BELOW_ORBITALS_EV: Final = (
    1.0  # what an excitation lies below its orbitals' difference in energy: a guess, for the first count
)
METHODS: Final = {"tddft": ("TDDFT", "TDA"), "tda": ("TDA",)}  # in the order in which they are tried


@dataclass(frozen=True)
class _Solved:
    """States as PySCF has them, in order of their energies."""

    method: str
    energies_ev: np.ndarray
    strengths: np.ndarray
    amplitudes: list[list[np.ndarray]]  # by state and spin: (occupied, empty)


def excited_states(
    field: Any, wanted: States, *, others: bool = True, triplets: bool = False
) -> tuple[tuple[Excitation, ...], list[str]]:
    """The excitations of a converged Kohn-Sham field in order of their energies, and what a person should know of them.

    Coupling and exchange go through density fitting where the field has it. The field is left as it was.

    Args:
        field: converged RKS or UKS.
        wanted: how many of each multiplicity, and how.
        others: singlets of a restricted field, all states that keep the spin of an unrestricted one.
        triplets: of a restricted field.

    Raises:
        CalculationError: neither full TDDFT nor the Tamm-Dancoff approximation converges (chemistry).
    """
    ready = prepared(field)
    open_shell = unrestricted(ready)
    findings = ["no triplets of an open shell: its excited states mix spins"] if triplets and open_shell else []
    characters, found = Characters(ready), []
    for multiplicity in [None if open_shell else 1] * others + [3] * (triplets and not open_shell):
        methods, name = METHODS[wanted.method], "triplets" if multiplicity == 3 else "excitations"
        if multiplicity == 3 and methods[0] == "TDDFT" and not stable_against_unrestricted(field):
            methods = ("TDA",)  # TDDFT's lowest energy is imaginary, and PySCF would give the next one without a word
        solved = _within(ready, wanted, multiplicity, methods)
        if solved is None:
            continue
        if (lowest := float(solved.energies_ev.min(initial=np.inf))) <= 0:
            findings.append(f"no {name}: a state lies {-lowest:.2f} eV below this one, which is not the ground state")
            continue
        if solved.method != METHODS[wanted.method][0]:
            findings.append(f"{name} are of the Tamm-Dancoff approximation: full TDDFT has no solution here")
        if wanted.up_to_ev is not None and len(solved.energies_ev) == wanted.most:
            findings.append(
                f"there are more states below {wanted.up_to_ev:g} eV than the {wanted.most} lowest, which are given"
            )
        for ev, strength, amplitudes in zip(solved.energies_ev, solved.strengths, solved.amplitudes, strict=True):
            transition, weight, character = characters.of(amplitudes)
            found.append(
                Excitation(
                    energy_ev=float(ev),
                    wavelength_nm=EV_NM / float(ev),
                    oscillator_strength=float(strength),
                    multiplicity=multiplicity,
                    method=solved.method,
                    transition=transition,
                    weight=weight,
                    character=character,
                )
            )
    return tuple(sorted(found, key=lambda one: one.energy_ev)), findings


def _within(ready: Any, wanted: States, multiplicity: int | None, methods: tuple[str, ...]) -> _Solved | None:
    """So many states as are wanted, or as lie in the range, or as there are."""
    differences_ev = np.concatenate(
        [
            np.ravel(energies[filled == 0] - energies[filled > 0, None]) * HARTREE_TO_EV
            for _, energies, filled in by_spin(ready)
        ]
    )
    most = min(wanted.most, differences_ev.size)
    if most < 1:
        return None
    if wanted.up_to_ev is None:
        return _solve(ready, methods, most, multiplicity, differences_ev.size)
    number = min(most, int((differences_ev < wanted.up_to_ev + BELOW_ORBITALS_EV).sum()) + 1)
    while True:
        solved = _solve(ready, methods, number, multiplicity, differences_ev.size)
        inside = int((solved.energies_ev <= wanted.up_to_ev).sum())
        if inside < number or number == most:
            return _Solved(
                solved.method, solved.energies_ev[:inside], solved.strengths[:inside], solved.amplitudes[:inside]
            )
        number = min(most, 2 * number)


def _solve(ready: Any, methods: tuple[str, ...], number: int, multiplicity: int | None, there: int) -> _Solved:
    """The lowest states by the first of the methods that converges."""
    for method in methods:
        response = getattr(ready, method)()
        response.nstates, response.conv_tol, response.max_cycle = number, TOLERANCE, MOST_CYCLES
        response.singlet, response.verbose = multiplicity != 3, 0
        if method == "TDA":
            response.positive_eig_threshold = -np.inf  # what lies below is told of, not left out
        response.max_memory = min(ready.max_memory, 64e-6 * there * (TRIAL_VECTORS + 2 * number))
        try:
            response.kernel(x0=response.get_init_guess(ready, number + MORE_GUESSES))
        except (RuntimeError, np.linalg.LinAlgError):
            continue  # around an unstable wave function full TDDFT has no real solution
        energies = np.asarray(response.e)
        if len(energies) == number and np.all(response.converged):
            order = np.argsort(energies)
            strengths = np.zeros(number) if multiplicity == 3 else np.asarray(response.oscillator_strength())
            amplitudes = [_excited(response.xy[place][0]) for place in order]
            return _Solved(method, energies[order] * HARTREE_TO_EV, strengths[order], amplitudes)
    reason = (
        f"the {'triplets' if multiplicity == 3 else 'excitations'} did not converge within {MOST_CYCLES} cycles by "
        f"{' or '.join(methods)}"
    )
    raise CalculationError(FailureClass.CHEMISTRY, reason)


def _excited(amplitudes: Any) -> list[np.ndarray]:
    """(occupied, empty) amplitudes of each spin, or of both together."""
    return [np.asarray(one) for one in amplitudes] if isinstance(amplitudes, tuple | list) else [np.asarray(amplitudes)]
