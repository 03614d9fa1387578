"""Train the generator: ``python -m gapsmith.generator.train --directory runs/a --time-budget-s 4800``.

Resumes what it finds in the folder. Needs torch, numpy and safetensors; no chemistry package.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gapsmith.core.errors import CheckpointError
from gapsmith.generator.trainable import GeneratorTrainable
from gapsmith.training import resume
from gapsmith.training.checkpoint import load_weights, read_card, save_model
from gapsmith.training.loop import TrainingPlan, TrainingState, train

log = logging.getLogger("gapsmith.generator.train")


def run(
    directory: Path,
    plan: TrainingPlan,
    *,
    batch_size: int = 64,
    device: str = "cpu",
    config: dict[str, Any] | None = None,
    compiled: bool = False,
    start: Path | None = None,
) -> Path:
    """Train from nothing, or further from what ``directory`` holds; returns the weights file (card beside it).

    Args:
        directory: of the run's state and weights.
        plan: how long and how to train.
        batch_size: molecules of a step.
        device: of the network.
        config: sizes of the network; if None those of ``start``, or else of the shipped one.
        compiled: compile the network.
        start: weights to begin with instead of random ones.

    Raises:
        CheckpointError: ``start`` or the saved state is damaged or does not fit.
    """
    trainable = GeneratorTrainable()
    torch.manual_seed(plan.seed)
    before = read_card(start, kind=trainable.kind) if start is not None else None
    config = config or (before["config"] if before else trainable.default_config())
    model = trainable.build(config)
    if start is not None:
        load_weights(model, start)
    model = model.to(device)
    if compiled:
        model.compile(dynamic=True)
    source = trainable.base_source(batch_size=batch_size, seed=plan.seed, device=device)
    log.info("%d parameters, batches of %d on %s", sum(p.numel() for p in model.parameters()), batch_size, device)

    def report(state: TrainingState, rate: float) -> None:
        terms = " ".join(f"{name} {value:.4f}" for name, value in state.losses.items())
        speed = state.step * batch_size / max(state.elapsed_s, 1e-9)
        log.info("step %d  %.0f s  %.1f molecules/s  rate %.2e  %s", state.step, state.elapsed_s, speed, rate, terms)

    model, state = train(trainable, model, source, plan, directory=directory, on_progress=report)
    facts = {
        "optimizer": plan.optimizer,
        "learning_rate": plan.learning_rate,
        "batch_size": batch_size,
        "device": device,
    }
    if before is not None:
        facts["begun_from"] = {"sha256": before["sha256"], "training": before.get("training")}
    return export(directory / "generator.safetensors", model, config, state, facts)


def export(
    weights: Path, model: torch.nn.Module, config: dict[str, Any], state: TrainingState, facts: dict[str, Any]
) -> Path:
    """Write averaged weights in half precision with a card that says how they came about."""
    trainable = GeneratorTrainable()
    device = str(next(model.parameters()).device)
    card = {
        **trainable.finish(model, []),
        "description": "masked equivariant diffusion of molecules with bonds, conditioned on the HOMO-LUMO gap and others",
        "training": {
            **facts,
            "steps": state.step,
            "molecules_seen": state.step * facts["batch_size"],
            "wall_s": round(state.elapsed_s),
            "threads": torch.get_num_threads(),
            "skipped_steps": state.skipped,
        },
        "metrics": trainable.evaluate(model, limit=2048, device=device),
        "licence": "Apache-2.0",
        "created": time.strftime("%Y-%m-%d", time.gmtime()),
        "torch": torch.__version__,
    }
    save_model(weights, model, kind="generator", config=config, card=card, half=True)
    return weights


def export_snapshot(directory: Path, weights: Path, *, batch_size: int, config: dict[str, Any] | None = None) -> Path:
    """Write the averaged weights of a run that is still going; raises CheckpointError if it has saved none yet."""
    if not resume.saved(directory):
        raise CheckpointError(f"{directory} holds no saved state yet; a run saves one every few minutes")
    trainable = GeneratorTrainable()
    config = config or trainable.default_config()
    model = trainable.build(config)
    state = resume.load_average(directory, model)
    return export(weights, model.eval(), config, state, {"batch_size": batch_size, "device": "cpu"})


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m gapsmith.generator.train", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the run keeps its state and its weights")
    parser.add_argument("--time-budget-s", type=float, help="seconds of training, all resumed runs together")
    parser.add_argument("--steps", type=int, help="or a number of steps")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--config", type=json.loads, default={}, help="""sizes to change, e.g. '{"layers": 8, "width": 256}'"""
    )
    sizes.add_argument("--start", type=Path, help="weights (.safetensors) to begin with; their sizes are taken over")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    parser.add_argument("--snapshot", type=Path, help="only write the averaged weights of the run in --directory here")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    config = {**GeneratorTrainable().default_config(), **given.config} if given.start is None else None
    if given.snapshot is not None:
        export_snapshot(given.directory, given.snapshot, batch_size=given.batch_size, config=config)
        return
    plan = TrainingPlan(
        steps=given.steps,
        time_budget_s=given.time_budget_s,
        optimizer=given.optimizer,
        learning_rate=given.learning_rate,
        seed=given.seed,
    )
    weights = run(
        given.directory,
        plan,
        batch_size=given.batch_size,
        device=given.device,
        config=config,
        compiled=given.compile,
        start=given.start,
    )
    log.info("wrote %s: %s", weights, json.loads(weights.with_suffix(".json").read_text())["metrics"])


if __name__ == "__main__":
    main()
