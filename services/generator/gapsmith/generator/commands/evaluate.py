"""``gapsmith evaluate generator``: measure the generator, or anybody's molecules, beside real ones."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli import options
from gapsmith.core.terminal import echo
from gapsmith.generator.commands.wishes import within

if TYPE_CHECKING:
    from gapsmith.generator.evaluation.measuring import Effort, Progress
    from gapsmith.generator.evaluation.results import Report


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@options.weights
@click.option(
    "--evaluator",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Other weights of the property network that scores gaps than the shipped ones.",
)
@click.option(
    "--molecules",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Attempts of a row, and real molecules at most.",
)
@click.option(
    "--conditional",
    type=click.IntRange(0),
    metavar="N",
    help="Gaps asked for by EDM's protocol, which published numbers have 10000 of; 0 leaves gaps out.  [--molecules]",
)
@click.option(
    "--posebusters",
    type=click.IntRange(0),
    metavar="N",
    help="Molecules of a row that PoseBusters tests, drawn at random; 0 leaves it out.  [--molecules]",
)
@click.option(
    "--gap",
    "gaps",
    type=float,
    multiple=True,
    metavar="EV",
    help="A wanted gap that gets a row of its own; may be given several times.",
)
@options.seed
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps of the reverse diffusion.")
@click.option(
    "--guidance", type=float, callback=within(least=0), metavar="W", help="How hard a wanted gap pulls; 0 not at all."
)
@options.device
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads, and processes of PoseBusters.  [all cores]"
)
@options.evaluation_folder
@click.option("--card", is_flag=True, help="Write the numbers into the card of the weights too.")
def generator(file: Path | None, output: Path, **given: Any) -> None:
    """Measure the generator, or the molecules of FILE (.sdf, .xyz, QCSchema .json), beside real ones.

    Stability by EDM's table, strict validity, uniqueness, novelty, connectedness, PoseBusters, distances of bond lengths,
    angles, rings, elements and sizes from QM9's, speed, and how well wanted gaps are met by EDM's protocol. Shares are of all
    attempts unless they say otherwise.

    For example: gapsmith evaluate generator --molecules 200, or gapsmith evaluate generator others.sdf
    """
    from gapsmith.core.errors import InputError
    from gapsmith.generator.evaluation.console import check_folder, prepare, progress
    from gapsmith.generator.evaluation.report import lines

    if file is not None and given["card"]:
        raise InputError("--card is of the generator's weights; a file of molecules has no card")
    if strange := [gap for gap in given["gaps"] if not math.isfinite(gap)]:
        raise InputError(f"--gap: {strange[0]} is not a finite number")
    check_folder(output)
    prepare()
    effort = _effort(given)
    with progress() as show:
        report, settings = _of_file(file, effort, show) if file is not None else _of_weights(effort, given, show)
    for note in report.notes[:10]:
        echo(f"warning: {note}", fg="yellow", err=True)
    if len(report.notes) > 10:
        echo(f"warning: and {len(report.notes) - 10} records more like these", fg="yellow", err=True)
    _write(report, settings | {"seed": effort.seed}, output, file, given)
    for line in lines(report):
        echo(line)
    echo(f"\nnumbers  {output / 'quality.json'}\npicture  {output / 'quality.png'}")


def _write(
    report: "Report", settings: dict[str, Any], output: Path, file: Path | None, options: dict[str, Any]
) -> None:
    from gapsmith.core.errors import UnavailableError
    from gapsmith.generator.evaluation.picture import draw
    from gapsmith.generator.evaluation.report import as_json, numbers
    from gapsmith.training.checkpoint import read_card, write_card
    from gapsmith.training.files import write_atomically

    try:
        write_atomically(output / "quality.json", as_json(report, settings).encode())
        draw(report, file.name if file is not None else "gapsmith's generator", output / "quality.png")
        if options["card"]:
            weights = _weights(options)
            card = {**read_card(weights, role="generator"), "quality": numbers(report)}
            write_card(weights, card)
    except OSError as error:
        raise UnavailableError(f"the results cannot be written: {error}") from error


def _weights(options: dict[str, Any]) -> Path:
    from gapsmith.generator.commands.request import chosen_weights

    return chosen_weights(options)


def _effort(options: dict[str, Any]) -> "Effort":
    from gapsmith.generator.evaluation.measuring import Effort

    molecules, threads = options["molecules"], options["threads"] or os.cpu_count() or 1
    conditional, busted = (molecules if options[x] is None else options[x] for x in ("conditional", "posebusters"))
    return Effort(molecules, conditional, busted, options["seed"], threads)


def _of_file(file: Path, effort: "Effort", show: "Progress") -> "tuple[Report, dict[str, Any]]":
    from gapsmith.generator.evaluation.measuring import measure_file
    from gapsmith.training.files import sha256

    return measure_file(file, effort, on_progress=show), {"file": file.name, "file_sha256": sha256(file)}


def _of_weights(effort: "Effort", options: dict[str, Any], show: "Progress") -> "tuple[Report, dict[str, Any]]":
    from dataclasses import asdict, replace

    import torch

    from gapsmith.generator.evaluation.conditional import DEFAULT_EVALUATOR, Evaluator
    from gapsmith.generator.evaluation.measuring import measure_generator
    from gapsmith.generator.generator import Generator
    from gapsmith.generator.sampling import SamplingOptions
    from gapsmith.training.devices import usable_device

    torch.set_num_threads(effort.processes)
    device = usable_device(options["device"])
    model = Generator.load(_weights(options), device=device)
    evaluator = None
    if effort.conditional:
        evaluator = Evaluator.load(options["evaluator"] or DEFAULT_EVALUATOR)
    given = {"steps": options["steps"], "guidance": options["guidance"], "coordinate_guidance": options["guidance"]}
    sampling = replace(SamplingOptions(), **{key: value for key, value in given.items() if value is not None})
    for gap in options["gaps"]:
        low, high = model.range_of("gap_ev")
        if not low <= gap <= high:
            echo(
                f"warning: --gap {gap:g} is outside what the generator learned from ({low:.3g} to {high:.3g} eV)",
                fg="yellow",
                err=True,
            )
    report = measure_generator(
        model, effort, sampling, gaps_ev=tuple(options["gaps"]), evaluator=evaluator, on_progress=show
    )
    return report, {
        "weights_sha256": model.card["sha256"],
        "evaluator_sha256": evaluator and evaluator.card["sha256"],
        "sampling": asdict(sampling),
        "threads": effort.processes,
        "device": device,
    }
