"""``gapsmith evaluate surrogate``: errors and calibration of every head."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapsmith.cli import options
from gapsmith.core.terminal import bar, echo

if TYPE_CHECKING:
    from gapsmith.surrogate.evaluate import Evaluation


@click.command()
@options.weights
@click.option("--split", type=click.Choice(("test", "validation")), default="test", show_default=True, help="Of QM9.")
@click.option("--limit", type=click.IntRange(2), metavar="N", help="Molecules of a set at most, the first ones.")
@click.option("--campaigns", is_flag=True, help="Measure on the DFT labels in the database too.")
@options.device
@options.threads
@options.evaluation_folder
def surrogate(
    weights: Path | None, split: str, limit: int | None, campaigns: bool, device: str, threads: int | None, output: Path
) -> None:
    """Measure the surrogate on QM9: at QM9's own geometries, and at the GFN2-xTB geometries that are cached.

    Mean absolute error, NLL, CRPS, ENCE, miscalibration area, rank correlation of deviation and error, coverage and width of
    the 90 % interval, for every head; and the speed.

    For example: gapsmith evaluate surrogate --limit 1000
    """
    import json
    import os

    import torch

    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.settings import settings
    from gapsmith.surrogate.evaluate import evaluate
    from gapsmith.surrogate.labels import campaign_labels
    from gapsmith.surrogate.picture import draw
    from gapsmith.training.devices import usable_device
    from gapsmith.training.files import write_atomically
    from gapsmith.training.shipped import shipped

    torch.set_num_threads(threads or os.cpu_count() or 1)
    chosen = weights or shipped("surrogate", settings())
    labels = campaign_labels() if campaigns else {}
    with bar() as shown:
        found = evaluate(
            chosen,
            split,
            limit,
            device=usable_device(device),
            labels=labels,
            on_progress=lambda name, done, of: shown.show(done, of, label=name),
        )
    try:
        write_atomically(output / "surrogate.json", json.dumps(found.numbers(), indent=2).encode() + b"\n")
        draw(found, output / "surrogate.png")
    except OSError as error:
        raise UnavailableError(f"the results cannot be written: {error}") from error
    for line in table(found):
        echo(line)
    echo(f"\nnumbers  {output / 'surrogate.json'}\npicture  {output / 'surrogate.png'}")


def table(found: "Evaluation") -> list[str]:
    """One line a head, one block a set."""
    lines = []
    for name, one in found.sets.items():
        rate, share = f"{one.molecules_per_s:.0f} molecules/s", f"{one.out_of_distribution_share:.1%}"
        lines += ["", f"{name}: {one.molecules} molecules, {rate}, {share} out of distribution"]
        lines.append(
            f"{'head':<20}{'unit':<12}{'MAE':>9}{'NLL':>8}{'CRPS':>9}{'ENCE':>7}{'area':>7}{'rank':>7}{'90 %':>8}{'width':>9}"
        )
        for head, result in one.heads.items():
            x, unit = result.numbers(), result.unit
            lines.append(
                f"{head:<20}{result.symbol:<12}{x[f'mae_{unit}']:>9.4f}{x['nll']:>8.2f}{x[f'crps_{unit}']:>9.4f}{x['ence']:>7.3f}"
                f"{x['miscalibration_area']:>7.3f}{x['spearman_sigma_error']:>7.2f}{x['conformal_coverage_90']:>8.1%}"
                f"{x[f'interval_width_{unit}']:>9.3f}"
            )
        if one.forces_mae_ev_per_angstrom is not None:
            lines.append(f"{'gfn2_forces':<20}{'eV/angstrom':<12}{one.forces_mae_ev_per_angstrom:>6.4f}")
    return lines
