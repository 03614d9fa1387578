"""Fine-tuning the surrogate on a campaign's labels: how fast, which weights, and how much replay, against forgetting.

The labels are those of molecules that the shipped generator drew for 4 eV, at their GFN2-xTB geometries: what a campaign
computes. The first ones teach, the last ones judge, and QM9's validation split shows what was forgotten. They are kept in
``benchmarks/reference/``; ``python -m benchmarks.fine_tuning labels`` makes them anew, in half an hour.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LABELS = Path(__file__).parent / "reference" / "campaign_labels.jsonl"
MOLECULES, SEED = 56, 11
TEACHING = 32
BASE_MOLECULES = 2000  # what the promotion gate looks at
BATCH_SIZE = 32
VARIANTS: dict[str, dict[str, Any]] = {
    "all weights, 5e-5": {"learning_rate": 5e-5},
    "all weights, 2e-5": {"learning_rate": 2e-5},
    "heads only, 5e-4": {"learning_rate": 5e-4, "tuned": "heads"},
    "heads only, 2e-4": {"learning_rate": 2e-4, "tuned": "heads"},
    "all weights, 2e-5, no replay": {"learning_rate": 2e-5, "replay_fraction": 0.0},
}


def measure() -> dict[str, Any]:
    """Fine-tune the shipped surrogate in every way."""
    import torch

    from gapsmith.surrogate import WEIGHTS
    from gapsmith.training.checkpoint import load_weights, read_card
    from gapsmith.training.loop import TrainingPlan, train
    from gapsmith.training.protocol import trainable

    torch.set_num_threads(1)
    architecture, weights = trainable("equivariant_gnn"), WEIGHTS
    card = read_card(weights, role="surrogate")
    labels = load_labels()
    teaching, judging = labels[:TEACHING], labels[TEACHING:]

    def parent() -> torch.nn.Module:
        model = architecture.build(card["config"])
        load_weights(model, weights)
        return model

    def scores(model: torch.nn.Module) -> dict[str, float]:
        base, new = architecture.evaluate(model, limit=BASE_MOLECULES), architecture.evaluate_labels(model, judging)
        return {
            "qm9_gap_mae_ev": round(base["gap_mae_ev"], 4),
            "qm9_nll": round(base["gap_nll"], 3),
            "new_gap_mae_ev": round(new["gap_mae_ev"], 4),
            "new_nll": round(new["gap_nll"], 3),
        }

    rows = {"shipped": scores(parent().eval())}
    for name, change in VARIANTS.items():
        given = {"tuned": "all", "replay_fraction": 0.75, "steps": 150, **change}
        started, model = time.monotonic(), parent()
        architecture.freeze(model, given["tuned"])
        source = architecture.fine_tuning_source(
            model, [teaching], batch_size=BATCH_SIZE, replay_fraction=given["replay_fraction"], seed=0, device="cpu"
        )
        plan = TrainingPlan(steps=given["steps"], learning_rate=given["learning_rate"], warmup_steps=15)
        model, _ = train(architecture, model, source, plan)
        trained_s = time.monotonic() - started
        architecture.finish(model, teaching)
        rows[name] = {**scores(model), "training_s": round(trained_s, 1)}
        print(name, rows[name], flush=True)
    return {"teaching": len(teaching), "judging": len(judging), "variants": rows}


def load_labels() -> list[Any]:
    """The kept labels, as a training gets them."""
    from gapsmith.training.protocol import LabelledGeometry

    rows = [json.loads(line) for line in LABELS.read_text().splitlines()]
    return [
        LabelledGeometry(
            np.array(row["numbers"], np.uint8), np.array(row["coordinates_angstrom"], np.float32), row["targets"]
        )
        for row in rows
    ]


def makeload_labels() -> None:
    """Draw molecules, compute them with ``gapsmith dft --level triage``, keep what is needed of the results."""
    from rdkit import Chem

    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        drawn, results = Path(folder) / "drawn.sdf", Path(folder) / "results.sdf"
        command = [sys.executable, "-m", "gapsmith.cli.main"]
        subprocess.run(
            [*command, "generate", "--gap", "4.0", "-n", str(MOLECULES), "--seed", str(SEED), "-o", str(drawn)],
            check=True,
        )
        subprocess.run([*command, "dft", str(drawn), "--level", "triage", "-o", str(results)], check=False)
        with LABELS.open("w") as file:
            for molecule in Chem.SDMolSupplier(str(results), removeHs=False):
                if molecule is None or not molecule.HasProp("gap_ev"):
                    continue
                positions = molecule.GetConformer().GetPositions()
                row = {
                    "smiles": Chem.MolToSmiles(Chem.RemoveHs(molecule)),
                    "numbers": [atom.GetAtomicNum() for atom in molecule.GetAtoms()],
                    "coordinates_angstrom": np.round(positions, 4).tolist(),
                    "targets": {name: float(molecule.GetProp(name)) for name in ("gap_ev", "homo_ev", "lumo_ev")},
                }
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["labels"]:
        sys.exit("python -m benchmarks.fine_tuning labels")
    makeload_labels()
