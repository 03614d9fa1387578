"""Fine-tuning the generator on a campaign's labels: what it learns of new molecules, what it forgets of QM9, and the verdict.

The labels are those of ``fine_tuning``. Every loss is with the same noise for all models, so that differences are paired.
"""

import math
import time
from typing import Any

import numpy as np

from benchmarks.fine_tuning import BASE_MOLECULES, BATCH_SIZE, TEACHING, load_labels

VARIANTS: dict[str, dict[str, Any]] = {
    "all weights, 2e-5": {"learning_rate": 2e-5},
    "all weights, 1e-4": {"learning_rate": 1e-4},
    "heads only, 4e-4": {"learning_rate": 4e-4, "tuned": "heads"},
    "all weights, 2e-5, no replay": {"learning_rate": 2e-5, "replay_fraction": 0.0},
}


def measure() -> dict[str, Any]:
    """Fine-tune the shipped generator in every way."""
    import torch

    from gapsmith.generator import WEIGHTS
    from gapsmith.trainer.gate import Scores, judge
    from gapsmith.training.checkpoint import load_weights, read_card
    from gapsmith.training.judging import judged_by
    from gapsmith.training.loop import TrainingPlan, train
    from gapsmith.training.protocol import trainable

    torch.set_num_threads(1)
    architecture = trainable("masked_diffusion")
    card = read_card(WEIGHTS, role="generator")
    labels = load_labels()
    teaching, judging = labels[:TEACHING], labels[TEACHING:]

    def parent() -> torch.nn.Module:
        model = architecture.build(card["config"])
        load_weights(model, WEIGHTS)
        return model

    def measured(model: torch.nn.Module) -> Scores:
        base = architecture.evaluate(model, limit=BASE_MOLECULES)["loss"]
        each = [found["loss"] for label in judging if (found := architecture.evaluate_labels(model, [label]))]
        return Scores(base={"loss": base}, labels={"loss": tuple(each)})

    started = time.monotonic()
    live = measured(parent().eval())
    rows: dict[str, Any] = {"shipped": {**_losses(live, live), "measuring_s": round(time.monotonic() - started, 1)}}
    print("shipped", rows["shipped"], flush=True)
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
        candidate = measured(model)
        verdict = judge(candidate, live, judged_by(architecture))
        rows[name] = {**_losses(candidate, live), "training_s": round(trained_s, 1), "promoted": verdict.promoted}
        print(name, rows[name], verdict.sentence, flush=True)
    return {"teaching": len(teaching), "judging": len(live.labels["loss"]), "variants": rows}


def _losses(candidate: Any, live: Any) -> dict[str, float]:
    """Means, and what the new molecules' loss is more than the live model's, with its standard error."""
    new, old = np.array(candidate.labels["loss"]), np.array(live.labels["loss"])
    return {
        "qm9_loss": round(candidate.base["loss"], 4),
        "new_loss": round(float(new.mean()), 4),
        "difference": round(float((new - old).mean()), 4),
        "standard_error": round(float((new - old).std(ddof=1) / math.sqrt(len(new))), 4),
    }
