"""Base training: ``python -m gapsmith.surrogate.train --config C.yaml --directory D --time-budget-s S [--device cuda]``.

Needs torch, torch_geometric, numpy and safetensors, and the cached data sets (``GAPSMITH_CACHE``).
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gapsmith.core.errors import GapsmithError, InputError
from gapsmith.data import qm9
from gapsmith.surrogate import config as configuration
from gapsmith.surrogate import data, sources
from gapsmith.surrogate.batches import MixedSource
from gapsmith.surrogate.calibration import VALIDATION, calibrate
from gapsmith.surrogate.config import Config
from gapsmith.surrogate.loss import normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.noise import refit
from gapsmith.surrogate.predictor import KIND
from gapsmith.surrogate.trainable import SurrogateTrainable, build, evaluated
from gapsmith.training.checkpoint import save_model
from gapsmith.training.loop import TrainingPlan, TrainingState, train
from gapsmith.training.memory import keep_freed_memory

HELD_OUT = {"train": "validation", "first": "second"}  # what shows how good a training on a split is
DESCRIPTIONS = {
    "train": "predicts properties of molecules of H, C, N, O and F with error bars",
    "first": "judges generators: learned from EDM's first half of QM9, takes no part in campaigns",
}


def arguments() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description="Train the surrogate.")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT, help="YAML or JSON")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key of the configuration, e.g. training.batch_size=256",
    )
    parser.add_argument("--directory", type=Path, required=True, help="state of the run and, in the end, the weights")
    parser.add_argument("--time-budget-s", type=float, required=True, help="seconds, all resumed runs together")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--split",
        choices=("train", "first"),
        default="train",
        help="first: EDM's half of QM9, to judge generators that learned the other",
    )
    parser.add_argument("--molecules", type=int, help="only so many of every source, to try things out")
    parser.add_argument("--seed", type=int, default=0, help="networks of a deep ensemble differ in it")
    parser.add_argument("--compile", action="store_true", help="fuse the layers with torch.compile")
    parser.add_argument("--full-precision", action="store_true", help="no bfloat16 in the trunk on a GPU")
    parser.add_argument("--evaluate-every-s", type=float, default=120.0)
    return parser.parse_args()


def wanted(options: argparse.Namespace) -> Config:
    """The configuration with its changes; raises InputError naming what is wrong."""
    raw = configuration.load(options.config).as_dict()
    for change in options.set:
        path, equals, value = change.partition("=")
        *sections, key = path.split(".")
        place: Any = raw
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not sections or not isinstance(place, dict) or key not in place:
            raise InputError(f"--set {change}: there is no such key; write SECTION.KEY=VALUE, e.g. trunk.layers=4")
        try:
            place[key] = json.loads(value)
        except ValueError:
            place[key] = value
    return configuration.parse(raw)


def prepare(model: SurrogateNetwork, options: argparse.Namespace) -> None:
    """Precision and compilation for training."""
    if options.device != "cpu":
        torch.set_float32_matmul_precision("high")  # TF32
        model.trunk.low_precision = not options.full_precision
    if options.compile:
        model.compiled = True
        for interaction in model.trunk.interactions:
            interaction.compile(dynamic=True)


def card(options: argparse.Namespace, config: Config, counts: dict[str, int], state: TrainingState) -> dict[str, Any]:
    """How the weights came to be."""
    whole = len(data.base())
    splits = qm9.split(whole) if options.split == "train" else {"first": qm9.edm_halves(whole)["first"]}
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu"
    return {
        "description": DESCRIPTIONS[options.split],
        "licence": "Apache-2.0",
        "data": "QM9, B3LYP/6-31G(2df,p)" + (", and GFN2-xTB" if len(config.sources) > 1 else ""),
        "molecules": counts,
        "split_sha256": {name: qm9.split_hash(indices) for name, indices in splits.items()},
        "steps": state.step,
        "skipped": state.skipped,
        "molecules_seen": state.step * config.training.batch_size,
        "losses": state.losses,
        "seed": options.seed,
        "wall_s": round(state.elapsed_s),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Train, calibrate, evaluate, save."""
    options = arguments()
    config = wanted(options)
    keep_freed_memory()
    torch.manual_seed(options.seed)
    trainable = SurrogateTrainable()
    model = build(config.as_dict())
    shares = sources.of(config, options.split, options.molecules)
    normalise(model, [share.molecules for share in shares.values()])
    model.to(options.device)
    prepare(model, options)
    plan = TrainingPlan(
        time_budget_s=options.time_budget_s,
        optimizer=config.training.optimizer,
        learning_rate=config.training.learning_rate,
        weight_decay=config.training.weight_decay,
        warmup_steps=config.training.warmup_steps,
        ema_decay=config.training.ema_decay,
        seed=options.seed,
    )
    looked = time.monotonic()

    def report(state: TrainingState, rate: float) -> None:
        nonlocal looked
        losses = " ".join(f"{name} {value:.4f}" for name, value in state.losses.items())
        speed = state.step * config.training.batch_size / state.elapsed_s
        print(f"step {state.step} {state.elapsed_s:.0f} s {speed:.0f} molecules/s rate {rate:.2e} {losses}", flush=True)
        if time.monotonic() - looked > options.evaluate_every_s:
            some = data.base_split(HELD_OUT[options.split]).take(np.arange(1000))
            print("held out", evaluated(model, some, options.device), flush=True)
            looked = time.monotonic()

    source = MixedSource(
        shares,
        batch_size=config.training.batch_size,
        seed=options.seed,
        device=options.device,
        bootstrap=config.ensemble.bootstrap,
    )
    _, state = train(trainable, model, source, plan, directory=options.directory, on_progress=report)
    model.trunk.low_precision = False  # what is measured and shipped computes in full precision
    splits = (options.split, HELD_OUT[options.split])
    held_out = data.base_split(splits[1])
    held_out = held_out.take(np.arange(min(options.molecules or qm9.VALIDATION, len(held_out))))
    if len(held_out) > VALIDATION:
        refit(model, held_out.take(np.arange(VALIDATION, len(held_out))), device=options.device)
    calibration = calibrate(model, most=options.molecules or VALIDATION, splits=splits)
    metrics = evaluated(model, held_out, options.device)
    print("held out", metrics, flush=True)
    counts = {name: len(share.molecules) for name, share in shares.items()}
    whole = {
        **card(options, config, counts, state),
        "calibration": calibration,
        "held_out": {"split": splits[1], **metrics},
    }
    weights = options.directory / f"surrogate-{options.seed}.safetensors"
    save_model(weights, model, kind=KIND, config=config.as_dict(), card=whole, half=True)
    print(f"saved {weights}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except GapsmithError as error:
        sys.exit(f"error: {error}")
