"""What labels of one's own are worth: the error on a held-out tenth after so many, beside a network that begins with nothing.

The table has gaps of PubChem molecules at a level of its own (``cran/iqspr``, MIT). It is not part of this repository:
``GAPSMITH_IQSPR=iqspr.csv.gz python -m benchmarks own_data``. Of its 16,674 rows only those within the shipped surrogate's
domain count: H, C, N, O and F, at most nine other atoms than hydrogen.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

NAME, COLUMN, HEAD = "iqspr", "HOMO-LUMO gap", "gap@iqspr"
COUNTS = (100, 1000, 10_000)  # labels to train on, as far as there are
EPOCHS, LEAST_STEPS, BATCH_SIZE = 30, 300, 32
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "own-data.png"


def measure() -> dict[str, Any]:
    """Import the table unless it was, and train on the first labels of its training split."""
    import torch

    from gapsmith.data import imported
    from gapsmith.trainer import data_sets

    torch.set_num_threads(1)
    if NAME not in imported.names():
        table = os.environ.get("GAPSMITH_IQSPR") or sys.exit(
            "set GAPSMITH_IQSPR to the table, see the top of this file"
        )
        words = ["--name", NAME, "--column", COLUMN, "--level", NAME, "--unit", "eV", "--licence", "MIT"]
        subprocess.run([sys.executable, "-m", "gapsmith.cli.main", "data", "import", table, *words], check=False)
    card, training = imported.card(NAME), data_sets.labelled([NAME], "train")
    held_out = data_sets.labelled([NAME], "test")
    order = np.random.default_rng(0).permutation(len(training))
    rows = {0: {"live model, no label": _error(_extended(), held_out)}}
    print(0, rows[0], flush=True)
    for count in COUNTS:
        some = [training[place] for place in order[:count]]
        rows[len(some)] = {"from the live model": _continued(some, held_out), "from nothing": _anew(some, held_out)}
        print(len(some), rows[len(some)], flush=True)
        if len(some) < count:
            break
    _draw(rows)
    return {"records": card["records"], "molecules": card["molecules"], "held_out": len(held_out), "mae_ev": rows}


def _extended() -> Any:
    """The shipped network with a head for the table, at random where it learns from labels."""
    from gapsmith.surrogate import WEIGHTS
    from gapsmith.training.card import card_alone
    from gapsmith.training.protocol import extensible, trainable

    model: Any = extensible(trainable("equivariant_gnn")).extended(WEIGHTS, card_alone(WEIGHTS)["config"], [NAME])
    model.head(HEAD).load_state_dict(model.head("gap").state_dict())  # it has seen none of the labels
    return model


def _steps(labels: int) -> int:
    return max(LEAST_STEPS, EPOCHS * labels // BATCH_SIZE)


def _error(model: Any, held_out: list[Any]) -> float:
    """Mean absolute error, eV."""
    from gapsmith.training.protocol import trainable

    return round(trainable("equivariant_gnn").evaluate_labels(model.eval(), held_out)[f"{HEAD}_mae_ev"], 4)


def _continued(labels: list[Any], held_out: list[Any]) -> float:
    """As ``gapsmith train surrogate --with`` trains: a head of its own on the network as it is."""
    from gapsmith.surrogate.own_heads import straight
    from gapsmith.trainer.data_sets import LEARNING_RATE
    from gapsmith.training.protocol import trainable

    kind, model = trainable("equivariant_gnn"), _extended()
    kind.freeze(model, "own")
    predicted, wanted = _predicted(model, labels), np.array([label.targets[HEAD] for label in labels])
    slope, shift = straight(predicted, wanted)
    head = model.head(HEAD)
    head.scale.mul_(slope)
    head.offset.mul_(slope).add_(shift)
    if head.base != "none":
        head.electronic_base.mul_(slope)
    return _trained(model, labels, held_out, learning_rate=LEARNING_RATE, optimizer="adamw")


def _predicted(model: Any, labels: list[Any]) -> np.ndarray:
    from gapsmith.surrogate.inference import predict_molecules
    from gapsmith.surrogate.trainable import labelled

    return predict_molecules([model], labelled(labels, model.config), wanted=[HEAD]).mean[HEAD]


def _anew(labels: list[Any], held_out: list[Any]) -> float:
    """The same network with random weights, by the recipe of a base training."""
    from gapsmith.surrogate.loss import normalise
    from gapsmith.surrogate.network import SurrogateNetwork
    from gapsmith.surrogate.trainable import labelled

    config = _extended().config
    model = SurrogateNetwork(config)
    normalise(model, [labelled(labels, config)], only=HEAD)
    recipe = config.training
    return _trained(model, labels, held_out, learning_rate=recipe.learning_rate, optimizer=recipe.optimizer)


def _trained(model: Any, labels: list[Any], held_out: list[Any], *, learning_rate: float, optimizer: str) -> float:
    from gapsmith.training.loop import TrainingPlan, train
    from gapsmith.training.protocol import trainable

    kind = trainable("equivariant_gnn")
    source = kind.fine_tuning_source(model, [labels], batch_size=BATCH_SIZE, replay_fraction=0.0, seed=0, device="cpu")
    plan = TrainingPlan(steps=_steps(len(labels)), learning_rate=learning_rate, optimizer=optimizer, warmup_steps=20)
    model, _ = train(kind, model, source, plan)
    return _error(model, held_out)


def _draw(rows: dict[int, dict[str, float]]) -> None:
    """Error against labels, for the documentation."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.5, 3.6))
    counts = [count for count in rows if count]
    for name, colour in (("from the live model", "#2a6f97"), ("from nothing", "#bc4749")):
        axis.plot(counts, [rows[count][name] for count in counts], "o-", color=colour, label=name)
    axis.axhline(
        rows[0]["live model, no label"], color="black", linewidth=0.8, linestyle="--", label="live model, no label"
    )
    axis.set(xscale="log", yscale="log", xlabel="labels", ylabel="mean absolute error of the held-out tenth, eV")
    axis.legend(frameon=False)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)
