"""Devices of torch."""

import torch

from gapsmith.core.errors import InputError


def usable_device(name: str) -> str:
    """A device that is there; ``auto`` is a GPU if there is one. Raises InputError."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        raise InputError(
            f"--device: {name!r} cannot be used here ({str(error).splitlines()[0]}); cpu always can"
        ) from error
    return str(device)
