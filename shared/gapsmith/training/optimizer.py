"""Muon for the matrices inside a network, AdamW for all else, as one optimizer.

Muon replaces the momentum of a matrix by the nearest matrix whose singular values are alike, so that a step moves all
directions by the same amount (Jordan et al., 2024); scaled as AdamW's steps are (Liu et al., arXiv 2502.16982), one
learning rate serves both. Torch's own Muon computes in bfloat16, which is slow on CPUs, and one matrix at a time.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gapsmith.core.errors import InputError

QUINTIC: Final = (3.4445, -4.7750, 2.0315)  # Jordan's polynomial: steep at zero, near one after five rounds
ROUNDS: Final = 5
ADAMW_RMS: Final = 0.2  # root mean square of AdamW's steps, in learning rates
LEAST_SIDE: Final = 20  # thinner matrices, such as last layers of an ensemble, are left to AdamW


class MuonAdamW(Optimizer):
    """Two kinds of parameter groups in one optimizer; ``muon`` in a group says which."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": (0.9, 0.999), "eps": 1e-8}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # torch overloads it for closures
        """One step of all parameters that have gradients; ``closure`` is not supported.

        Where ``found_inf`` was set to one, gradients count as zero, as a look at it would stop a GPU.
        """
        assert closure is None
        broken: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            if broken is not None:
                for parameter in parameters:
                    parameter.grad = torch.where(broken > 0, 0.0, parameter.grad)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            (self._muon if group["muon"] else self._adamw)(parameters, group)

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = _gradients(parameters)
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov's
        alike: dict[torch.Size, list[int]] = {}
        for index, parameter in enumerate(parameters):
            alike.setdefault(parameter.shape, []).append(index)
        for shape, indices in alike.items():
            steps = orthogonalised(torch.stack([ahead[index] for index in indices]))
            size = -group["lr"] * ADAMW_RMS * max(shape) ** 0.5
            torch._foreach_add_([parameters[index] for index in indices], list(steps), alpha=size)

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                zeros = [torch.zeros_like(parameter) for _ in range(2)]
                self.state[parameter].update(step=torch.zeros(()), mean=zeros[0], square=zeros[1])
        gradients = _gradients(parameters)
        states = [self.state[parameter] for parameter in parameters]
        means, squares = [x["mean"] for x in states], [x["square"] for x in states]
        (first, second), counts = group["betas"], [x["step"] for x in states]
        torch._foreach_add_(counts, 1)
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        count = float(counts[0])
        below = torch._foreach_sqrt(torch._foreach_div(squares, 1 - second**count))
        torch._foreach_add_(below, group["eps"])
        torch._foreach_addcdiv_(parameters, means, below, -group["lr"] / (1 - first**count))


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def orthogonalised(matrices: Tensor) -> Tensor:
    """(n, rows, columns) to matrices with the same singular vectors and singular values near one (0.7 to 1.2)."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def make(kind: str, model: nn.Module, *, lr: float, weight_decay: float) -> Optimizer:
    """The optimizer of a kind, ``adamw`` or ``muon``; raises InputError for another."""
    if kind == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    if kind != "muon":
        raise InputError(f"the optimizer must be adamw or muon, got {kind!r}")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    inner = {id(parameter) for parameter in inner_matrices(model)}
    matrices = [parameter for parameter in trained if id(parameter) in inner]
    others = [parameter for parameter in trained if id(parameter) not in inner]
    return MuonAdamW(matrices, others, lr=lr, weight_decay=weight_decay)


def inner_matrices(model: nn.Module) -> list[Tensor]:
    """Weights of linear layers between hidden features, at least ``LEAST_SIDE`` on both sides: neither inputs nor outputs."""
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad and min(module.weight.shape) >= LEAST_SIDE
    ]
