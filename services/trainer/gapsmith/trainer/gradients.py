"""A model's gradients as ranks exchange them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Gradients:
    """Tensors to be replaced by their means over the ranks, in place."""

    parameters: list[nn.Parameter]  # that are trained
    tensors: list[Tensor]  # which parameters have a gradient (0 or 1), and the gradients, zeros in place of none

    @classmethod
    def of(cls, model: nn.Module, *, half: bool = False) -> "Gradients":
        """A model's gradients; with ``half`` in half precision, half the bytes."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        device = parameters[0].device if parameters else torch.device("cpu")
        present = torch.tensor([float(p.grad is not None) for p in parameters], device=device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        return cls(parameters, [present, *(g.half() if half else g for g in gradients)])

    def put_back(self) -> None:
        """Make the means the model's gradients; a parameter without a gradient on any rank gets none."""
        present, *gradients = self.tensors
        for parameter, gradient, share in zip(self.parameters, gradients, present.tolist(), strict=True):
            parameter.grad = gradient.to(parameter.dtype) if share > 0 else None
