"""Measure a generator: ``python -m gapsmith.generator.evaluate --molecules 1000 --output quality.json``.

Prints the row of real QM9 molecules beside that of the generated ones, in the same measures.
"""

import argparse
import json
import platform
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gapsmith.core.domain import Molecule
from gapsmith.data import qm9
from gapsmith.generator import bonds
from gapsmith.generator.generator import DEFAULT_WEIGHTS, Generator
from gapsmith.generator.metrics import Quality
from gapsmith.generator.sampling import SamplingOptions
from gapsmith.training.checkpoint import card_path, read_card
from gapsmith.training.files import sha256, write_atomically


def measure(
    weights: Path, molecules: int, gaps_ev: list[float | None], seed: int, options: SamplingOptions
) -> dict[str, Any]:
    """Quality and speed for each wanted gap (None: whatever the data has), and of real molecules."""
    generator = Generator.load(weights)
    rows: dict[str, Any] = {}
    for gap_ev in gaps_ev:
        wall, cpu = time.perf_counter(), time.process_time()
        sampled = generator.sample(molecules, gap_ev, seed, options=options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        quality = Quality.of(sampled.molecules, sampled.attempts, sampled.refused)
        speed = {
            "molecules_per_s": round(molecules / wall, 2),
            "molecules_per_cpu_s": round(molecules / cpu, 2),
            "valid_per_s": round(quality.valid * molecules / wall, 2),
        }
        rows["any gap" if gap_ev is None else f"{gap_ev} eV"] = asdict(quality) | speed
    rows["QM9, test split"] = asdict(of_qm9(molecules, seed))
    return {
        "weights_sha256": sha256(weights),
        "training": generator.card["training"],
        "options": asdict(options),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "rows": rows,
    }


def of_qm9(molecules: int, seed: int) -> Quality:
    """The same measures of real molecules, bonds assigned as for training."""
    data = qm9.load()
    chosen = np.random.default_rng(seed).permutation(qm9.split(len(data))["test"])[:molecules]
    found, missing = [], 0
    for index in chosen:
        atoms = data.atoms(int(index))
        assigned = bonds.assign(data.numbers[atoms], data.coordinates[atoms])
        if assigned is None:
            missing += 1
            continue
        orders, charges = assigned
        first, second = np.nonzero(np.triu(orders))
        listed = np.stack([first, second, orders[first, second]], axis=1).astype(np.int16)
        found.append(Molecule(data.numbers[atoms], data.coordinates[atoms].astype(np.float64), charges, listed))
    return Quality.of(found, len(chosen), Counter({"bonds": missing}) if missing else Counter())


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    defaults = SamplingOptions()
    parser = argparse.ArgumentParser(prog="python -m gapsmith.generator.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--molecules", type=int, default=1000, help="attempts per row")
    parser.add_argument("--gap", type=float, action="append", default=[], help="a wanted gap in eV; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--temperature", type=float, default=defaults.temperature)
    parser.add_argument("--guidance", type=float, default=defaults.guidance)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--card", action="store_true", help="write the rows into the weights' card too")
    parser.add_argument("--output", type=Path, help="JSON file; otherwise it is printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    options = SamplingOptions(steps=given.steps, temperature=given.temperature, guidance=given.guidance)
    result = measure(given.weights, given.molecules, [None, *given.gap], given.seed, options)
    if given.card:
        card = read_card(given.weights, kind="generator")
        write_atomically(card_path(given.weights), json.dumps({**card, "quality": result["rows"]}, indent=2).encode())
    text = json.dumps(result, indent=2)
    if given.output is None:
        print(text)
    else:
        write_atomically(given.output, (text + "\n").encode())


if __name__ == "__main__":
    main()
