"""GPU4PySCF, where it and a GPU are there."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any


@cache
def gpu4pyscf_version() -> str | None:
    """Version of GPU4PySCF if it is installed and finds a GPU, else None."""
    if find_spec("gpu4pyscf") is None or find_spec("cupy") is None:
        return None
    import cupy

    try:
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return None
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    for name in ("gpu4pyscf", "gpu4pyscf-cuda12x", "gpu4pyscf-cuda13x"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def on_gpu(field: Any) -> Any:
    """A mean field moved to the GPU if there is one; the same object otherwise."""
    return field.to_gpu() if gpu4pyscf_version() else field


def on_cpu(field: Any) -> Any:
    """A converged mean field with its arrays in ordinary memory."""
    return field.to_cpu() if gpu4pyscf_version() else field
