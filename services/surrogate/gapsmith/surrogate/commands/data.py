"""``gapsmith data xtb``: compute the GFN2-xTB sources of training data."""

import click

SPLITS = ("train", "validation", "test")


@click.command()
@click.option("--molecules", type=click.IntRange(1), required=True, metavar="N", help="Of the split, the first ones.")
@click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True, help="Of QM9.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes of one thread each.  [all cores]")
def xtb(molecules: int, split: str, workers: int | None) -> None:
    """Relax molecules of QM9 with GFN2-xTB, displace them, and keep energies, forces and gaps.

    Two sources come out: QM9's properties at cheap geometries (qm9_gfn2), and GFN2-xTB's own energies, forces and gaps of
    relaxed and displaced geometries (gfn2). Stop it whenever you like: chunks that are done are not done again.

    For example: gapsmith data xtb --molecules 5000
    """
    import multiprocessing
    import os
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from rich.console import Console
    from rich.progress import track

    from gapsmith.surrogate import relaxed
    from gapsmith.surrogate.data import base_split

    number = workers or len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    there = len(base_split(split))
    if molecules > there:
        click.secho(f"warning: the split {split} has {there} molecules, not {molecules}", fg="yellow", err=True)
    firsts = range(0, min(molecules, there), relaxed.CHUNK)
    context = multiprocessing.get_context("spawn")
    label = f"chunks of {relaxed.CHUNK} molecules"
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        pending = [pool.submit(prepare_chunk, split, first) for first in firsts]
        try:
            for future in track(as_completed(pending), label, len(pending), console=Console(stderr=True)):
                future.result()
        except BaseException:
            for future in pending:
                future.cancel()
            raise
    click.echo(f"{relaxed.folder(split).parent.parent}: {summary(split)}")


def prepare_chunk(split: str, first: int) -> None:
    """One worker's task: a chunk of relaxed geometries, and what is computed from them."""
    from gapsmith.surrogate import displaced, relaxed

    relaxed.prepare_chunk(split, first)
    displaced.prepare_chunk(split, first)


def summary(split: str) -> str:
    """What is cached of a split."""
    from gapsmith.surrogate import sources

    counts = {name: len(sources.load(name, split) or ()) for name in ("qm9_gfn2", "gfn2")}
    return ", ".join(f"{count} geometries in {name}" for name, count in counts.items())
