"""Moving averages that a training keeps: of its weights, and of its losses. They stay on the device."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

LOSS_WINDOW = 100  # steps


class WeightAverage:
    """Exponential moving average of a model's parameters; buffers, which may be infinite, are copied."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move towards the model's present state."""
        pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}  # mixed precisions are not fused
        parameters = {name for name, _ in self.model.named_parameters()}
        for name, tensor in self.model.state_dict().items():
            if name in parameters:
                averaged, current = pairs.setdefault(tensor.dtype, ([], []))
                averaged.append(self.tensors[name])
                current.append(tensor)
            else:
                self.tensors[name].copy_(tensor)
        for averaged, current in pairs.values():
            torch._foreach_lerp_(averaged, current, 1 - decay)


class LossAverages:
    """Running means of named losses. Reading them waits for the device, adding does not."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._before = dict(values)
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, losses: Mapping[str, Tensor], step: int) -> None:
        """Count in the losses of the ``step``-th step, from 1; a value that is not finite is left out."""
        weight = 1.0 / min(step, LOSS_WINDOW)
        for name, loss in losses.items():
            value = loss.detach()
            if name not in self._means:
                self._means[name] = torch.full_like(value, self._before.get(name, math.nan))
            mean = self._means[name]
            moved = torch.where(torch.isfinite(mean), torch.lerp(mean, value, weight), value)
            self._means[name] = torch.where(torch.isfinite(value), moved, mean)

    def read(self) -> dict[str, float]:
        """The means, by name; a loss that was never finite is left out."""
        means = self._before | {name: float(mean) for name, mean in self._means.items()}
        return {name: mean for name, mean in means.items() if math.isfinite(mean)}
