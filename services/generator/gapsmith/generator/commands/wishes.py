"""What people write on the command line about the molecules they want."""

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

import click

from gapsmith.core.chemistry.elements import number_of
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain

CONSISTENT_EV: Final = 0.3  # a gap is the LUMO less the HOMO; wishes that differ by more contradict each other


def within(
    *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> Callable[[click.Context, click.Parameter, float | None], float | None]:
    """A check of an option: a finite number, above ``above`` or from ``least`` on, up to ``most``."""

    def check(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
        if value is None:
            return None
        if not math.isfinite(value):
            raise click.BadParameter(f"{value} is not a finite number.")
        if value < least or value > most or value <= above:
            low = f"at least {least:g}" if math.isinf(above) else f"above {above:g}"
            high = "" if math.isinf(most) else f" and at most {most:g}"
            raise click.BadParameter(f"{value:g} is out of range: it should be {low}{high}.")
        return value

    return check


def elements(text: str | None, domain: ModelDomain) -> tuple[int, ...] | None:
    """Atomic numbers out of ``C,N,O``; hydrogen is always allowed. Raises InputError."""
    known = [symbol for symbol in domain.elements if symbol != "H"]
    if text is None:
        return None
    symbols = [word.strip() for word in text.split(",") if word.strip()]
    numbers = set()
    for symbol in symbols:
        if symbol not in {*known, "H"}:
            near = get_close_matches(symbol.capitalize(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"--elements: the generator does not know {symbol!r}; choose from {', '.join(known)}{hint}"
            )
        numbers |= {number_of(symbol)} if symbol != "H" else set()
    if not numbers:
        raise InputError(f"--elements: {text!r} names no element but hydrogen; choose from {', '.join(known)}")
    return tuple(sorted(numbers))


def span(text: str | None, option: str, least: int, most: int) -> tuple[int, int]:
    """Smallest and largest number out of ``4-9`` or ``6``; all that is possible out of None. Raises InputError."""
    if text is None:
        return least, most
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:[-:]\s*(\d{1,9})\s*)?", text)
    if found is None:
        raise InputError(f"{option}: {text!r} is no range; write 4-9, or 6 for exactly six")
    low = int(found[1])
    high = int(found[2]) if found[2] else low
    if low > high:
        raise InputError(f"{option}: {text!r} runs backwards; write the smaller number first")
    if low < least or high > most:
        raise InputError(f"{option}: {text!r} is impossible; the generator knows molecules of {least} to {most}")
    return low, high


def numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Atom numbers out of ``3,4,7-9``; none out of None. Raises InputError."""
    out: list[int] = []
    for word in [] if text is None else text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", word)
        if found is None:
            raise InputError(f"{option}: {text!r} is no list of atom numbers; write 3,4,5 or 3-5")
        low, high = int(found[1]), int(found[2] or found[1])
        if low > high:
            raise InputError(f"{option}: {word.strip()!r} runs backwards; write the smaller number first")
        if low < 1:
            raise InputError(f"{option}: atoms are counted from 1, as in the file")
        out.extend(range(low, min(high, low + 1000) + 1))
    return tuple(dict.fromkeys(out))


def contradiction(targets: Mapping[str, float]) -> str | None:
    """Why no molecule can have all these properties, if that is plain."""
    if not {"gap_ev", "homo_ev", "lumo_ev"} <= targets.keys():
        return None
    implied = targets["lumo_ev"] - targets["homo_ev"]
    if abs(implied - targets["gap_ev"]) <= CONSISTENT_EV:
        return None
    return (
        f"the gap is the LUMO less the HOMO, {implied:g} eV by your wishes, but you want {targets['gap_ev']:g} eV: no "
        "molecule has all three"
    )
