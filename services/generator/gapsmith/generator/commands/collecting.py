"""Sampling until somebody has the number of different molecules that they asked for."""

import math
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol

import numpy as np

from gapsmith.core.chemistry.alerting import hazard
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.errors import InvalidMolecule
from gapsmith.data.known import in_qm9
from gapsmith.generator.generator import Generated
from gapsmith.generator.molecule import GeneratedMolecule

MOST_ATTEMPTS: Final = 20  # for each wanted molecule
FEWEST_ATTEMPTS: Final = 100  # before giving up, however few are wanted
FRUITLESS: Final = 320  # attempts in a row without a new molecule, after which no more are expected


class Found(NamedTuple):
    """One molecule for its user."""

    molecule: GeneratedMolecule
    identity: Identity
    in_qm9: bool
    parent: int | None  # number of its parent


@dataclass
class Collection:
    """What was found, and what became of the other attempts."""

    wanted: int
    found: list[Found] = field(default_factory=list)
    attempts: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    duplicates: int = 0  # of what was found before
    parents_again: int = 0  # attempts that ended where they began
    surplus: int = 0  # of the last round, more than wanted
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.found) == self.wanted


class Draw(Protocol):
    """Attempts of one round."""

    def __call__(self, count: int, seed: int, first: int, on_progress: Callable[[int], None]) -> Generated:
        """Try ``count`` molecules; ``first`` attempts were made in earlier rounds."""
        ...


def collect(
    wanted: int,
    draw: Draw,
    seed: int,
    *,
    most_at_once: int,
    without: Container[str] = (),
    on_progress: Callable[[int, int], None] = lambda found, attempts: None,
) -> Collection:
    """Draw in rounds until ``wanted`` different molecules are there, or it is plain that they cannot be had.

    Ctrl-C ends it; the rounds before it are kept.

    Args:
        wanted: number of molecules.
        draw: one round.
        seed: the same seed gives the same molecules in the same order.
        most_at_once: attempts of one round at most.
        without: InChIKeys of the parents, which are no result.
        on_progress: told the molecules found and the attempts made so far.
    """
    result = Collection(wanted)
    seen: set[str] = set()
    most = max(FEWEST_ATTEMPTS, MOST_ATTEMPTS * wanted)
    fruitless = round_number = 0
    started = time.monotonic()
    try:
        while not result.complete and result.attempts < most and fruitless < FRUITLESS:
            count = min(_round_size(result), most_at_once, most - result.attempts)
            found, first = len(result.found), result.attempts
            tell = partial(_tell, on_progress, found, first)
            sampled = draw(count, _round_seed(seed, round_number), first, tell)
            result.attempts += sampled.attempts
            result.refused.update(sampled.refused)
            for molecule, parent in zip(sampled.molecules, sampled.parents, strict=True):
                _sort_in(result, seen, without, molecule, parent)
            fruitless = 0 if len(result.found) > found else fruitless + count
            round_number += 1
            on_progress(len(result.found), result.attempts)
    except KeyboardInterrupt:
        result.interrupted = True
    result.seconds = time.monotonic() - started
    return result


def _tell(on_progress: Callable[[int, int], None], found: int, first: int, made: int) -> None:
    on_progress(found, first + made)


def _round_size(result: Collection) -> int:
    """Attempts that should be enough for what is missing, by what came of those before."""
    share = (len(result.found) + 1) / (result.attempts + 1)
    return math.ceil(1.15 * (result.wanted - len(result.found)) / max(share, 0.05))


def _round_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _sort_in(
    result: Collection, seen: set[str], without: Container[str], molecule: GeneratedMolecule, parent: int | None
) -> None:
    """Put a molecule where it belongs: found, duplicate, its parent again, or refused after all."""
    try:
        mol = to_rdkit(molecule)
        identity = identify(mol)
    except InvalidMolecule as error:
        result.refused[error.reason] += 1
        return
    if hazard(mol) is not None:
        result.refused["hazard"] += 1
        return
    if identity.inchikey in without:
        result.parents_again += 1
    elif identity.inchikey in seen:
        result.duplicates += 1
    elif result.complete:
        result.surplus += 1
    else:
        seen.add(identity.inchikey)
        result.found.append(Found(molecule, identity, in_qm9(identity.inchikey), parent))
