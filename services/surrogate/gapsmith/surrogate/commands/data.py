"""``gapsmith data xtb`` and ``gapsmith data electronic``: compute the GFN2-xTB sources of training data."""

from collections.abc import Callable
from functools import partial

import click

from gapsmith.core.terminal import echo, track

SPLITS = ("train", "validation", "test")

MOLECULES = click.option(
    "--molecules", type=click.IntRange(1), required=True, metavar="N", help="Of the split, the first ones."
)
SPLIT = click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True, help="Of QM9.")
WORKERS = click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes of one thread each.  [all cores]"
)


@click.command()
@MOLECULES
@SPLIT
@WORKERS
def xtb(molecules: int, split: str, workers: int | None) -> None:
    """Relax molecules of QM9 with GFN2-xTB, displace them, and keep energies, forces and gaps.

    Two sources come out: QM9's properties at cheap geometries (qm9_gfn2), and GFN2-xTB's own energies, forces and gaps of
    relaxed and displaced geometries (gfn2). Stop it whenever you like: chunks that are done are not done again.

    For example: gapsmith data xtb --molecules 5000
    """
    from gapsmith.surrogate import relaxed, sources

    in_chunks(partial(prepare_chunk, split), split, molecules, workers)
    counts = {name: len(sources.load(name, split) or ()) for name in ("qm9_gfn2", "gfn2")}
    summary = ", ".join(f"{count} geometries in {name}" for name, count in counts.items())
    echo(f"{relaxed.folder(split).parent.parent}: {summary}")


@click.command()
@MOLECULES
@SPLIT
@click.option(
    "--geometries",
    type=click.Choice(("qm9", "qm9_gfn2")),
    default="qm9",
    show_default=True,
    help="QM9's own, or those of gapsmith data xtb, which are computed if need be.",
)
@WORKERS
def electronic(molecules: int, split: str, geometries: str, workers: int | None) -> None:
    """Compute GFN2-xTB's electronic structure of QM9: orbital energies and populations, charges, bond orders.

    About 10 ms a molecule, 25 minutes for all of QM9 on one core. Stop it whenever you like: chunks that are done are not
    done again.

    For example: gapsmith data electronic --molecules 110000
    """
    from gapsmith.surrogate import electronic as module

    in_chunks(partial(module.prepare_chunk, geometries, split), split, molecules, workers)
    echo(f"{module.folder(geometries, split)}: {len(module.load(geometries, split) or ())} molecules")


def in_chunks(prepare: Callable[[int], object], split: str, molecules: int, workers: int | None) -> None:
    """Prepare the chunks of a split's first molecules in several processes; a bar shows how far it is."""
    import multiprocessing
    import os
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from gapsmith.surrogate import relaxed
    from gapsmith.surrogate.data import base_split

    number = workers or len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    there = len(base_split(split))
    if molecules > there:
        echo(f"warning: the split {split} has {there} molecules, not {molecules}", fg="yellow", err=True)
    firsts = range(0, min(molecules, there), relaxed.CHUNK)
    context = multiprocessing.get_context("spawn")
    label = f"chunks of {relaxed.CHUNK} molecules"
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        pending = [pool.submit(prepare, first) for first in firsts]
        try:
            for future in track(as_completed(pending), label, len(pending)):
                future.result()
        except BaseException:
            for future in pending:
                future.cancel()
            raise


def prepare_chunk(split: str, first: int) -> None:
    """One worker's task: a chunk of relaxed geometries, and what is computed from them."""
    from gapsmith.surrogate import displaced, relaxed

    relaxed.prepare_chunk(split, first)
    displaced.prepare_chunk(split, first)
