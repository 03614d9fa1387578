"""The loss of all heads, and the scales in which their errors are measured."""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.bases import fit_base
from gapsmith.surrogate.batches import Batch, Part
from gapsmith.surrogate.heads import IntensiveHead, Members
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity

NLL_WEIGHT = 0.1
LEAST_SCALE = 1e-3


def losses(model: SurrogateNetwork, batch: Batch) -> dict[str, Tensor]:
    """Named losses: ``loss`` to minimise, and every head's absolute error in its base unit.

    Means learn from absolute errors, weighted by each member's bootstrap; noise from the Gaussian likelihood with the
    mean detached. Only heads of which a part has labels take part, so nothing else is touched.
    """
    total = model.task_log_variance.new_zeros((), dtype=torch.float64)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for part in batch.parts:
        wanted = [name for name in model.names if name in part.heads]
        output = model(part.graph, wanted)
        for name in wanted:
            error, known = errors(name, output.heads[name], part)
            own, absolute = _head_loss(model, name, output.heads[name], error, known, part)
            total = total + own
            found.setdefault(name, []).append((absolute, known.sum()))
    named = {"loss": total}
    for name, pairs in found.items():
        count = sum(number for _, number in pairs)
        named[f"{name}_mae"] = cast(Tensor, sum(value for value, _ in pairs)) / cast(Tensor, count).clamp(min=1)
    return named


def errors(name: str, members: Members, part: Part) -> tuple[Tensor, Tensor]:
    """Errors (rows, members), zero where unknown, and which rows are known (rows, 1)."""
    values = part.labels[name].double()
    target = values if name == FORCES else values.unsqueeze(-1)
    known = torch.isfinite(target[:, :1])
    return torch.where(known, members.mean - target, 0.0), known


def _head_loss(
    model: SurrogateNetwork, name: str, members: Members, error: Tensor, known: Tensor, part: Part
) -> tuple[Tensor, Tensor]:
    """Weighted loss of one head, and the sum of its absolute errors over the known rows."""
    scale = model.scale(name)
    scaled = error / scale
    count = known.sum().clamp(min=1) * scaled.shape[1]
    absolute = scaled.abs()
    if name == FORCES:
        loss = absolute.sum() / count
    else:
        weights = part.weights[:, : scaled.shape[1]].double()
        if quantity(name).kind == "node":
            weights = weights[part.graph.molecule]
        likelihood = members.log_variance + scaled.detach().square() * torch.exp(-members.log_variance)
        nll = 0.5 * torch.where(known, weights * likelihood, 0.0)
        loss = (weights * absolute).sum() / count + NLL_WEIGHT * nll.sum() / count
    weight = model.config.heads[name].weight
    own = model.task_log_variance[model.names.index(name)]
    if own.requires_grad:  # Kendall, Gal, Cipolla, CVPR 2018, for absolute errors
        loss = loss * torch.exp(-own) + own
    return weight * loss, (absolute.detach().mean(1, keepdim=True) * scale).sum()


@torch.no_grad()
def normalise(model: SurrogateNetwork, molecules: list[Molecules], only: str | None = None) -> None:
    """Set every head's scale, offset and references of elements from training molecules, in place.

    Energies and polarizabilities are fitted as sums over elements by least squares; what is left sets the scale.

    Args:
        model: a new network.
        molecules: one set per source, with labels of that source's heads only.
        only: this head; None: all.
    """
    for name in model.heads if only is None else [only]:
        head, form = model.head(name), quantity(name).form
        for some in molecules:
            if name not in some.labelled():
                continue
            if form == "charge":
                charges = some.node[name]
                reference = [
                    float(np.nanmean(charges[mine])) if (mine := some.numbers == z).any() else 0.0
                    for z in range(len(head.reference))
                ]
                left = charges - np.array(reference)[some.numbers]
                head.reference.copy_(torch.tensor(reference))
            else:
                known = np.isfinite(some.target(name))
                values = some.target(name)[known]
                left = values - values.mean()
                if form == "extensive":
                    fit, *_ = np.linalg.lstsq(some.composition(model.config.most_element)[known], values, rcond=None)
                    left = values - some.composition(model.config.most_element)[known] @ fit
                    head.reference.copy_(torch.from_numpy(fit))
                elif isinstance(head, IntensiveHead) and head.base != "none":
                    left = values - fit_base(head, some, name)[known]
                elif form == "intensive":
                    head.offset.fill_(float(values.mean()))
            head.scale.fill_(max(LEAST_SCALE, float(np.nanstd(left))))
            break
    if FORCES in model.names and only is None:
        for some in molecules:
            if FORCES in some.node:
                model.force_scale.fill_(max(LEAST_SCALE, float(np.sqrt(np.nanmean(some.node[FORCES] ** 2)))))
                break
