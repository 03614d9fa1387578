"""Heads of levels of their own: what a network gets in addition to learn from imported data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from gapsmith.data.imported import AT
from gapsmith.data.molecules import Molecules, joined
from gapsmith.data.sources import find
from gapsmith.surrogate import sources
from gapsmith.surrogate.bases import OF_ALL_HEADS
from gapsmith.surrogate.calibration import recalibration
from gapsmith.surrogate.config import Config, parse
from gapsmith.surrogate.heads import IntensiveHead
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.loss import normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.training.checkpoint import load_weights

SHARE, WEIGHT = 0.1, 2.0  # of every batch of a base training; in the loss
PRIOR: Final = 10.0  # labels that a slope of one is worth


def widened(config: Mapping[str, Any], data: Sequence[str]) -> dict[str, Any]:
    """A configuration with the sources and heads that imported data sets need; raises InputError or NotFound.

    Args:
        config: of a trained network.
        data: names of the sets.
    """
    found = parse(config, trained=True).as_dict()
    for name in data:
        source = f"imported:{name}"
        ((head, label),) = find(source).labels.items()
        found["sources"].setdefault(source, {"share": SHARE, "noise_angstrom": 0.0})
        sibling = found["heads"].get(head.partition(AT)[0], {})
        own = found["heads"].setdefault(
            head,
            {
                "level": label.kind,
                "unit": sibling.get("unit", label.unit),
                "weight": sibling.get("weight", WEIGHT),
                "sources": [],
                **({"base": base} if (base := sibling.get("base", "none")) != "none" else {}),
            },
        )
        own["sources"] = [*own["sources"], *([source] if source not in own["sources"] else [])]
    return parse(found, trained=True).as_dict()


def extended(weights: Path, config: Mapping[str, Any], data: Sequence[str]) -> SurrogateNetwork:
    """A trained network with the heads that data sets need; what it predicted before, it still predicts.

    A new head begins as the network's head of the same quantity, mapped on the labels to learn from by a straight line, so
    that what is learned is the difference of two levels. Without such a head it begins at random.

    Args:
        weights: of the trained network.
        config: from its card.
        data: names of the sets.
    """
    before = SurrogateNetwork(parse(config, trained=True))
    load_weights(before, weights)
    model = SurrogateNetwork(parse(widened(config, data), trained=True))
    own, found = model.state_dict(), before.state_dict()
    places = [model.names.index(name) for name in before.names]
    for key, tensor in found.items():
        if key in OF_ALL_HEADS:
            own[key][places] = tensor
        else:
            own[key] = tensor
    model.load_state_dict(own)
    for name in model.names:
        if name not in before.names:
            _begin(model, name, _labelled(model.config, name))
    return model


def _labelled(config: Config, name: str) -> Molecules:
    """The molecules that a head learns from."""
    seen = config.trunk.electronic
    return joined([sources.there(source, "train", seen=seen) for source in config.heads[name].sources])


@torch.no_grad()
def _begin(model: SurrogateNetwork, name: str, molecules: Molecules) -> None:
    """Set a new head to its sibling on a straight line; to random weights on the scale of the labels without one."""
    sibling, head = name.partition(AT)[0], model.head(name)
    if sibling not in model.heads:
        normalise(model, [molecules], only=name)
        return
    head.load_state_dict(model.head(sibling).state_dict())
    some = molecules.take(np.flatnonzero(np.isfinite(molecules.target(name))))
    labels, place = some.target(name), model.names.index(name)
    if isinstance(head, IntensiveHead):
        slope, shift = straight(predict_molecules([model], some, wanted=[name]).mean[name], labels)
        head.scale.mul_(slope)
        head.offset.mul_(slope).add_(shift)
        if head.base != "none":
            head.electronic_base.mul_(slope)
    predicted = predict_molecules([model], some, wanted=[name])
    curve = recalibration(predicted.mean[name] - labels, predicted.std[name])
    model.sigma_scale[place], model.sigma_power[place] = curve.scale, curve.power


def straight(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and shift of the line through points, where few points hardly turn it away from a slope of one."""
    centre, middle = float(x.mean()), float(y.mean())
    dx, dy = x - centre, y - middle
    slope = 1 + float(dx @ (dy - dx)) / (float(dx @ dx) + PRIOR * float(x.var()) + 1e-12)
    return slope, middle - slope * centre
