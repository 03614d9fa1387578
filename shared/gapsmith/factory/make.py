"""``gapsmith data make``: pools of molecules, GFN2-xTB geometries and records, and DFT labels, as a label set."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gapsmith.core.signals import ending
from gapsmith.core.terminal import echo

if TYPE_CHECKING:
    from gapsmith.core.levels import LevelOfTheory
    from gapsmith.factory.making import Chunk
    from gapsmith.factory.shards import LabelSetWriter

ROUND: Final = 100  # molecules that are made before their labels are asked for
TELL_EVERY_S: Final = 15.0
AHEAD: Final = 10  # calculations left in the queue while more molecules are made


@click.command()
@click.argument("name")
@click.option(
    "--molecules", type=click.IntRange(1, 10**9), required=True, metavar="N", help="Size of the set at the end."
)
@click.option("--pool", metavar="POOL", help="generated, moses, mutated, organic, qm9 or table:FILE.  [NAME]")
@click.option("--level", "level_name", metavar="LEVEL", help="Level of theory of the DFT labels.  [GFN2-xTB only]")
@click.option(
    "--labels", type=click.IntRange(0, 10**9), metavar="N", help="Most labels of the level in the set.  [all molecules]"
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N", help="Seed of the pool."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of one thread.",
)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=Path("shared/labels"), show_default=True,
    metavar="DIR", help="Folder of the sets.",
)  # fmt: skip
def make(
    name: str,
    molecules: int,
    pool: str | None,
    level_name: str | None,
    labels: int | None,
    seed: int,
    workers: int,
    into: Path,
) -> None:
    """Make the label set NAME, or add to it: molecules of a pool, relaxed with GFN2-xTB, and DFT labels through the queue.

    What the set has is not computed again. Stop it whenever you like: finished labels are stored, the rest stays queued, and
    the same command goes on.

    For example: gapsmith data make generated --molecules 2000 --level triage
    """
    import os

    from gapsmith.core.levels import configured
    from gapsmith.factory import pools
    from gapsmith.factory.shards import LabelSetWriter

    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    chosen = pool or name
    level = None if level_name is None else configured()[level_name]
    provenance = pools.find(chosen).provenance()
    writer = LabelSetWriter(into / name, pool=chosen.partition(":")[0], seed=seed, provenance=provenance)
    with _signals() as stopped:
        if level is None:
            _make_molecules(writer, chosen, molecules, workers, stopped)
        else:
            most_labels = molecules if labels is None else labels
            _make_labels(writer, chosen, level, molecules, most_labels, workers, stopped)
            _make_molecules(writer, chosen, molecules, workers, stopped)  # more than are to be labelled
        _conclude(writer, stopped())


@contextmanager
def _signals() -> "Iterator[Callable[[], bool]]":
    """Whether the command was told to end: Ctrl-C and SIGTERM let it store what is finished."""
    got: list[int] = []
    with ExitStack() as restore:
        for number in ending():
            restore.callback(signal.signal, number, signal.signal(number, lambda one, _: got.append(one)))
        yield lambda: bool(got)


def _make_molecules(
    writer: "LabelSetWriter", pool: str, most: int, workers: int, stopped: "Callable[[], bool]"
) -> None:
    """Add molecules until there are ``most``, the pool ends or ``stopped``."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from gapsmith.factory.making import make_chunk

    begun = writer.manifest["pool"]
    if len(writer.molecules) >= most or begun["exhausted"]:
        return
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_signals
    ) as executor:
        chunks: list[Chunk] = []
        while not stopped():
            made = [one.inchikey for chunk in chunks for one in chunk.made]
            ended = len(writer.molecules) + len(made) >= most or any(chunk.exhausted for chunk in chunks)
            if ended or len(made) >= ROUND:
                writer.add_chunks(chunks)
                echo(f"{len(writer.molecules)} of {most} molecules", err=True)
                chunks, made = [], []
            if ended and (len(writer.molecules) >= most or begun["exhausted"]):
                return
            known, first = writer.inchikeys | frozenset(made), begun["next_chunk"] + len(chunks)
            pending = [
                executor.submit(make_chunk, pool, number, begun["seed"], known)
                for number in range(first, first + workers)
            ]
            chunks += [future.result() for future in pending]
        writer.add_chunks(chunks)  # stopped


def _ignore_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops after this round


def _make_labels(
    writer: "LabelSetWriter",
    pool: str,
    level: "LevelOfTheory",
    most_molecules: int,
    most_labels: int,
    workers: int,
    stopped: "Callable[[], bool]",
) -> None:
    """Make molecules and have them labelled, some at a time, so that labels come from the first minutes on."""
    from gapsmith.core.levels import GFN2
    from gapsmith.factory.labelling import Labelling
    from gapsmith.stack.dft_workers import DftWorkers
    from gapsmith.store.database import Database

    with DftWorkers(workers, "gapsmith data make") as computing:
        echo(computing.work(), err=True)
        database = Database.from_settings(computing.connected, connections=2)
        with database:
            labelling, progress = Labelling(writer, database, level), _Progress()
            try:
                while not stopped():
                    asked = len(writer.labelled.get(level.identity(GFN2), ())) + labelling.open
                    room = min(ROUND, most_labels - asked)
                    waiting = [one for one in writer.unlabelled(level) if one[0] not in labelling.asked][: max(0, room)]
                    if (
                        len(waiting) < room
                        and len(writer.molecules) < most_molecules
                        and not writer.manifest["pool"]["exhausted"]
                    ):
                        target = min(most_molecules, len(writer.molecules) + room - len(waiting))
                        _make_molecules(writer, pool, target, workers, stopped)
                        continue
                    labelling.ask(waiting)
                    labelling.wait(stopped, progress, until_left=AHEAD if waiting else 0)
                    if not waiting:
                        break
            finally:
                labelling.flush()
            if labelling.undecided:
                echo(
                    f"{labelling.undecided} calculations ended without a label for a reason that is not the molecule's: "
                    "see gapsmith jobs list --state failed,cancelled; gapsmith jobs retry, and then this command again, "
                    "computes them",
                    err=True,
                )


class _Progress:
    """A line on standard error whenever labels have come, at most every few seconds."""

    def __init__(self) -> None:
        self._told, self._when = 0, 0.0

    def __call__(self, labels: int, left: int) -> None:
        if labels > self._told and time.monotonic() - self._when > TELL_EVERY_S:
            self._told, self._when = labels, time.monotonic()
            echo(f"{labels} labels, {left} in the queue", err=True)


def _conclude(writer: "LabelSetWriter", stopped: bool) -> None:
    from gapsmith.factory.card import card

    echo(f"{writer.folder}: {len(writer.molecules)} molecules")
    echo("\n".join(line for line in card(writer.manifest).splitlines() if line.startswith("|")))
    if stopped:
        echo("stopped; the same command goes on where it was", err=True)
        raise click.exceptions.Exit(130)
