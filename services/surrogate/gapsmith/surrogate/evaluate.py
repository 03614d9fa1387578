"""Evaluate weights on QM9: ``python -m gapsmith.surrogate.evaluate [--weights W] [--split test] [-o out.json]``."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gapsmith.core.errors import GapsmithError
from gapsmith.data import qm9
from gapsmith.surrogate import data, relaxed
from gapsmith.surrogate.calibration import distances
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.metrics import mae, uncertainty
from gapsmith.surrogate.predictor import SHIPPED, Predictor
from gapsmith.surrogate.trainable import KIND
from gapsmith.training.checkpoint import read_card
from gapsmith.training.files import write_atomically


def errors(predicted: Predicted, molecules: data.Molecules) -> dict[str, Any]:
    """Errors per property and quality of the gap's standard deviation."""
    homo, gap = molecules.targets.T.astype(np.float64)
    error = predicted.gap_ev - gap
    return {
        "molecules": len(molecules),
        "gap_mae_ev": mae(error),
        "gap_bias_ev": float(error.mean()),
        "homo_mae_ev": mae(predicted.homo_ev - homo),
        "lumo_mae_ev": mae(predicted.homo_ev + predicted.gap_ev - homo - gap),
        **uncertainty(error, predicted.gap_std_ev),
    }


def evaluate(weights: Path, split: str, limit: int | None = None) -> dict[str, Any]:
    """Metrics of weights on a split at QM9's geometries, and at the GFN2-xTB geometries that are cached."""
    card = read_card(weights, kind=KIND)
    predictor = Predictor.load(weights)
    molecules = data.base_split(split)
    if limit is not None:
        molecules = molecules.take(np.arange(min(limit, len(molecules))))
    started = time.perf_counter()
    predicted = predict_molecules(predictor.model, molecules)
    seconds = time.perf_counter() - started
    out: dict[str, Any] = {
        "weights_sha256": card["sha256"],
        "split": split,
        "split_sha256": qm9.split_hash(qm9.split(len(data.base()))[split]),
        "threads": torch.get_num_threads(),
        "molecules_per_s": len(molecules) / seconds,
        "dft_geometry": errors(predicted, molecules),
        "out_of_distribution_share": float(
            (distances(predictor.model, predicted.latent) > float(predictor.model.ood_threshold)).mean()
        ),
    }
    if (cheap := relaxed.load(split)) is not None:
        out["xtb_geometry"] = errors(predict_molecules(predictor.model, cheap), cheap)
    return out


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Evaluate the surrogate on QM9.")
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--limit", type=int, help="molecules of the split, the first ones")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    text = json.dumps(evaluate(options.weights, options.split, options.limit), indent=2)
    if options.output is not None:
        write_atomically(options.output, text.encode() + b"\n")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except GapsmithError as error:
        sys.exit(f"error: {error}")
