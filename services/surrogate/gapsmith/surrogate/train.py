"""Base training on QM9: ``python -m gapsmith.surrogate.train --directory D --time-budget-s S --batch-size B``."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from gapsmith.core.errors import GapsmithError
from gapsmith.data import qm9
from gapsmith.surrogate import data
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.network import GapNetwork
from gapsmith.surrogate.trainable import KIND, SurrogateTrainable, summary
from gapsmith.training.checkpoint import save_model
from gapsmith.training.loop import TrainingPlan, TrainingState, train
from gapsmith.training.memory import keep_freed_memory


def arguments() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description="Train the surrogate on QM9.")
    parser.add_argument("--directory", type=Path, required=True, help="state of the run and, in the end, the weights")
    parser.add_argument("--time-budget-s", type=float, required=True, help="seconds, all resumed runs together")
    parser.add_argument(
        "--split",
        choices=("train", "first"),
        default="train",
        help="first: EDM's half, to judge generators that learned the other",
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate-every-s", type=float, default=300.0)
    return parser.parse_args()


def card(options: argparse.Namespace, state: TrainingState) -> dict[str, Any]:
    """How the weights came to be."""
    whole = len(data.base())
    splits = qm9.split(whole) if options.split == "train" else {"first": qm9.edm_halves(whole)["first"]}
    return {
        "data": "QM9, B3LYP/6-31G(2df,p), geometries with Gaussian noise",
        "noise_angstrom": data.NOISE_ANGSTROM,
        "split_sha256": {name: qm9.split_hash(indices) for name, indices in splits.items()},
        "steps": state.step,
        "batch_size": options.batch_size,
        "molecules_seen": state.step * options.batch_size,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "wall_s": round(state.elapsed_s),
        "device": options.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Train, calibrate, evaluate, save."""
    options = arguments()
    keep_freed_memory()
    torch.manual_seed(options.seed)
    trainable = SurrogateTrainable()
    config = trainable.default_config()
    model = trainable.build(config).to(options.device)
    plan = TrainingPlan(
        time_budget_s=options.time_budget_s, learning_rate=options.learning_rate, seed=options.seed, weight_decay=1e-4
    )
    evaluated = time.monotonic()

    def report(state: TrainingState, rate: float) -> None:
        nonlocal evaluated
        losses = " ".join(f"{name} {value:.4f}" for name, value in state.losses.items())
        speed = state.step * options.batch_size / state.elapsed_s
        print(f"step {state.step} {state.elapsed_s:.0f} s {speed:.0f} molecules/s rate {rate:.2e} {losses}", flush=True)
        if time.monotonic() - evaluated > options.evaluate_every_s:
            print("validation", trainable.evaluate(model, limit=1000, device=options.device), flush=True)
            evaluated = time.monotonic()

    molecules = data.base_split(options.split)
    source = data.TrainingSource(molecules, batch_size=options.batch_size, seed=options.seed, device=options.device)
    model, state = train(trainable, model, source, plan, directory=options.directory, on_progress=report)
    calibration = trainable.finish(model, [])
    held_out = data.base_split("validation" if options.split == "train" else "second")
    held_out = held_out.take(np.arange(min(qm9.VALIDATION, len(held_out))))
    metrics = summary(predict_molecules(cast(GapNetwork, model), held_out, device=options.device), held_out)
    print("validation", metrics, flush=True)
    whole = {**card(options, state), "calibration": calibration, "held_out": metrics}
    save_model(options.directory / "surrogate-0.safetensors", model, kind=KIND, config=config, card=whole, half=True)


if __name__ == "__main__":
    try:
        main()
    except GapsmithError as error:
        sys.exit(f"error: {error}")
