"""``gapsmith evaluate generator`` at work: what is measured of weights or a file, and where it is written."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gapsmith.core.errors import UnavailableError
from gapsmith.core.terminal import echo
from gapsmith.generator.commands.request import chosen_weights, sampling_of
from gapsmith.generator.evaluation.conditional import DEFAULT_EVALUATOR, Evaluator
from gapsmith.generator.evaluation.measuring import Effort, Progress, measure_file, measure_generator
from gapsmith.generator.evaluation.picture import draw
from gapsmith.generator.evaluation.report import as_json, numbers
from gapsmith.generator.evaluation.results import Report
from gapsmith.generator.generator import Generator
from gapsmith.training.checkpoint import read_card, write_card
from gapsmith.training.devices import usable_device
from gapsmith.training.files import sha256, write_atomically


def write(report: Report, settings: dict[str, Any], output: Path, file: Path | None, options: dict[str, Any]) -> None:
    """Write numbers and picture, and the weights' card if that is wanted; raises UnavailableError."""
    try:
        write_atomically(output / "quality.json", as_json(report, settings).encode())
        draw(report, file.name if file is not None else "gapsmith's generator", output / "quality.png")
        if options["card"]:
            weights = chosen_weights(options)
            card = {**read_card(weights, role="generator"), "quality": numbers(report)}
            write_card(weights, card)
    except OSError as error:
        raise UnavailableError(f"the results cannot be written: {error}") from error


def effort_of(options: dict[str, Any]) -> Effort:
    """How much to measure, by the options."""
    molecules, threads = options["molecules"], options["threads"] or os.cpu_count() or 1
    conditional, busted = (molecules if options[x] is None else options[x] for x in ("conditional", "posebusters"))
    return Effort(molecules, conditional, busted, options["seed"], threads)


def of_file(file: Path, effort: Effort, show: Progress) -> tuple[Report, dict[str, Any]]:
    """Measure a file's molecules; the report, and what it depends on."""
    return measure_file(file, effort, on_progress=show), {"file": file.name, "file_sha256": sha256(file)}


def of_weights(effort: Effort, options: dict[str, Any], show: Progress) -> tuple[Report, dict[str, Any]]:
    """Measure what weights generate; the report, and what it depends on."""
    torch.set_num_threads(effort.processes)
    device = usable_device(options["device"])
    model = Generator.load(chosen_weights(options), device=device)
    evaluator = None
    if effort.conditional:
        evaluator = Evaluator.load(options["evaluator"] or DEFAULT_EVALUATOR)
    sampling = sampling_of(options)
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
