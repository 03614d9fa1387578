"""Bases of heads, which are fits of GFN2-xTB's HOMO and LUMO, and beginning with weights of a network that has none."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from gapsmith.core.errors import CheckpointError
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import ROLE
from gapsmith.surrogate.config import Config, parse
from gapsmith.surrogate.electronic_inputs import terms
from gapsmith.surrogate.graph import Electronic
from gapsmith.surrogate.heads import FIRST_LOG_VARIANCE, IntensiveHead
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.training.checkpoint import load_tensors, read_card

CONTRAST = "contrast."  # what the names of a contrast's weights begin with
OF_ALL_HEADS = ("task_log_variance", "sigma_scale", "sigma_power", "interval")  # calibration sets them anew


def begin_from(model: SurrogateNetwork, weights: Path, heads: Collection[str]) -> None:
    """Load weights of a network with at least the same heads, which need not see GFN2-xTB's electronic structure.

    What they lack of it begins at zero, so that the predictions are the same. Heads that the model has not are left out.

    Args:
        model: a new network. A contrast of its own stays as it is.
        weights: a file whose card was read.
        heads: which it has.

    Raises:
        CheckpointError: the weights do not fit otherwise.
    """
    own, found = model.state_dict(), load_tensors(weights)
    dropped = tuple(f"heads.{name}." for name in heads if name not in model.names)
    found = {name: tensor for name, tensor in found.items() if not name.startswith((CONTRAST, *dropped))}
    kept = {name for name in own if ("electronic" in name and name not in found) or name.startswith(CONTRAST)} | (
        set(OF_ALL_HEADS) if dropped else set()
    )
    found |= {name: own[name] for name in kept}
    wrong = sorted(own.keys() ^ found.keys()) or [name for name in own if own[name].shape != found[name].shape]
    if wrong:
        raise CheckpointError(f"{weights} does not fit the configuration to begin with: {', '.join(wrong[:5])} differ")
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in found.items()})


def contrasted(config: Config, weights: Path | None, start: Path | None) -> tuple[Config, dict[str, torch.Tensor]]:
    """A configuration with the contrast of a network that is going to be trained, and the contrast's weights.

    Args:
        config: of the network.
        weights: of the contrast; None: the one that ``start`` has, if any.
        start: weights that the training begins with.

    Raises:
        CheckpointError: a file or its card is wrong.
        InputError: such a network cannot be the contrast of the other.
    """
    if weights is not None:
        found, card = load_tensors(weights), read_card(weights, role=ROLE)["config"]
    elif start is not None and (card := read_card(start, role=ROLE)["config"].get("contrast")) is not None:
        tensors = load_tensors(start).items()
        found = {name.removeprefix(CONTRAST): tensor for name, tensor in tensors if name.startswith(CONTRAST)}
    else:
        return config, {}
    return parse({**config.as_dict(), "contrast": card}), found


@torch.no_grad()
def begin_with_bases(model: SurrogateNetwork, molecules: Sequence[Molecules]) -> None:
    """Fit the bases that the loaded weights lacked; such a head predicts its base until it is trained.

    Args:
        model: with the weights.
        molecules: one set per source, with labels of that source's heads only.
    """
    for name in model.heads:
        head = model.head(name)
        if not isinstance(head, IntensiveHead) or head.base == "none" or bool(head.electronic_base.any()):
            continue
        some = next(one for one in molecules if name in one.labelled())
        head.scale.fill_(float(np.nanstd(some.target(name) - fit_base(head, some, name))))
        head.offset.zero_()
        torch.nn.init.normal_(head.readout.last.weight, std=1e-3)  # not zero: members start differently
        torch.nn.init.zeros_(head.readout.last.bias)
        for noise in (head.noise, model.lumo_noise if name == "gap" else None):  # it was of smaller errors
            if noise is not None:
                last = noise[-1]
                assert isinstance(last, torch.nn.Linear)  # see heads.Head
                torch.nn.init.zeros_(last.weight)
                torch.nn.init.constant_(last.bias, FIRST_LOG_VARIANCE)


@torch.no_grad()
def fit_base(head: IntensiveHead, molecules: Molecules, name: str) -> np.ndarray:
    """Fit a head's base to labels by least squares, in place; returns the base of all molecules, base unit."""
    seen = molecules.electronic
    assert seen is not None  # or the configuration would have been refused
    levels = torch.from_numpy(seen.orbital_energies_ev)
    rows = terms(Electronic(levels, levels, levels), quadratic=head.base == "quadratic").numpy()
    known = np.isfinite(molecules.target(name))
    fit, *_ = np.linalg.lstsq(rows[known], molecules.target(name)[known], rcond=None)
    head.electronic_base.copy_(torch.from_numpy(fit))
    return np.asarray(rows @ fit)
