"""What the steps' model says of 8 to 1,024 GPUs. No GPU is measured: every figure of theirs is an assumption in here.

Counted on this machine: the operations of a step, their floating-point operations, the bytes of the gradients.
Published: an H100's 67 TFLOP/s (FP32), NVLink's 450 GB/s each way and one 400 Gb/s InfiniBand adapter for each of the
eight GPUs of a DGX H100 (NVIDIA's data sheets); latencies of the protocols LL, LL128 and Simple in NCCL's own model
(src/graph/tuning.cc). Guessed: what share of that a
training gets, the host's time for each operation, and the jitter.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scaling.model import Fabric, Link, Work, hierarchical_s, step_s
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.batches import MixedSource, Share
from gapsmith.surrogate.config import FOLDER, load
from gapsmith.surrogate.loss import losses
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.trainable import build
from gapsmith.training.optimizer import make

GPUS: Final = (1, 2, 4, *(2**power for power in range(3, 11)))
CONFIGURATIONS: Final = ("default", "gpu")
PEAK_FLOPS: Final = 67e12  # FP32 of an H100 SXM
NVLINK_BYTES_PER_S: Final = 450e9
INFINIBAND_BYTES_PER_S: Final = 50e9
BACKWARD: Final = 2 / 3  # of loss and gradients, behind which an all-reduce could hide
STRONG_BATCH: Final = 8192  # 8 molecules for each of 1,024 GPUs
COUNTED: Final = 16  # molecules of the step whose operations are counted


@dataclass(frozen=True)
class Assumed:
    """One level of the assumptions."""

    operation_s: float  # host's time to start an operation
    peak_share: float  # of PEAK_FLOPS that the arithmetic gets
    jitter: float  # of hosts, in means of the time that equal work takes
    fabric: Fabric


def _fabric(node_us: float, node_share: float, network_us: float, network_share: float) -> Fabric:
    return Fabric(
        Link(node_us * 1e-6, node_share * NVLINK_BYTES_PER_S),
        Link(network_us * 1e-6, network_share * INFINIBAND_BYTES_PER_S),
    )


GOOD: Final = Assumed(4e-6, 0.10, 0.01, _fabric(0.5, 1.0, 5.0, 0.95))
MIDDLE: Final = Assumed(8e-6, 0.05, 0.03, _fabric(1.9, 0.8, 8.5, 0.8))
BAD: Final = Assumed(16e-6, 0.02, 0.10, _fabric(3.4, 0.5, 14.0, 0.5))


@dataclass(frozen=True)
class Counted:
    """One configuration's step, as counted."""

    parameters: int
    gradient_bytes: int
    batch: int  # the configuration's own
    flops_per_molecule: float  # matrix products of loss and gradients
    operations: int  # of loss and gradients
    update_flops: float
    update_operations: int
    variation: float  # of the pairs of atoms of a molecule: standard deviation by mean


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no type here
    """Counts operations that do work, views not among them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type here
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run it and count."""
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def counted(name: str, molecules: Molecules) -> Counted:
    """Count one step of a configuration of the surrogate; sources and heads that QM9 has no labels of are left out."""
    config = load(FOLDER / f"{name}.yaml")
    model: SurrogateNetwork = build(config.as_dict())
    optimizer = make(config.training.optimizer, model, lr=1e-5, weight_decay=0.0)
    source = MixedSource({"qm9": Share(molecules, 1.0, 0.0)}, batch_size=COUNTED, seed=0, device="cpu")

    def gradients() -> None:
        losses(model, source.batch(0))["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type here

    flops, operations = _count(gradients)
    optimizer.step()  # the first one makes its buffers
    update_flops, update_operations = _count(lambda: optimizer.step())
    pairs = molecules.sizes.astype(np.float64) * (molecules.sizes - 1)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Counted(
        parameters=sum(parameter.numel() for parameter in trained),
        gradient_bytes=sum(parameter.numel() * parameter.element_size() for parameter in trained),
        batch=config.training.batch_size,
        flops_per_molecule=flops / COUNTED,
        operations=operations,
        update_flops=update_flops,
        update_operations=update_operations,
        variation=float(pairs.std() / pairs.mean()),
    )


def _count(work: Callable[[], object]) -> tuple[int, int]:
    with FlopCounterMode(display=False) as arithmetic, Operations() as operations:
        work()
    return arithmetic.get_total_flops(), operations.count


def work_of(step: Counted, assumed: Assumed) -> Work:
    """Times on a GPU: the host starts operations while the GPU computes, so that the slower of the two decides."""
    rate = assumed.peak_share * PEAK_FLOPS
    return Work(
        fixed_s=0.0,
        per_molecule_s=step.flops_per_molecule / rate,
        update_s=max(step.update_operations * assumed.operation_s, step.update_flops / rate),
        variation=step.variation,
        least_s=step.operations * assumed.operation_s,
        jitter=assumed.jitter,
    )


def molecules_per_s(step: Counted, gpus: int, per_gpu: float, assumed: Assumed, *, overlap: bool = False) -> float:
    """Molecules a second of all GPUs together."""
    exchanged = hierarchical_s(gpus, step.gradient_bytes, assumed.fabric)
    took = step_s(work_of(step, assumed), gpus, per_gpu, exchanged, BACKWARD if overlap else 0.0)
    return gpus * per_gpu / took


def predicted(step: Counted) -> dict[str, dict[str, list[float]]]:
    """Weak scaling at the configuration's batch for each GPU, strong scaling at STRONG_BATCH for all, over GPUS.

    Molecules a second, and speed-up over one GPU with the lowest and highest of all combinations of assumptions.
    """
    found = {}
    shares = {"weak": [float(step.batch) for _ in GPUS], "strong": [STRONG_BATCH / gpus for gpus in GPUS]}
    for name, share in shares.items():
        rates = {
            (assumed, overlap): np.array(
                [molecules_per_s(step, *both, assumed, overlap=overlap) for both in zip(GPUS, share, strict=True)]
            )
            for assumed in _combinations()
            for overlap in (False, True)
        }
        without = [rate for (_, overlap), rate in rates.items() if not overlap]
        speedups = np.array([rate / rate[0] for rate in without])
        middle = rates[MIDDLE, False]
        found[name] = {
            "gpus": list(GPUS),
            "molecules_per_s": [round(x) for x in middle],
            "molecules_per_s_lowest": [round(x) for x in np.min(without, axis=0)],
            "molecules_per_s_highest": [round(x) for x in np.max(without, axis=0)],
            "speedup": [round(float(x), 2) for x in middle / middle[0]],
            "speedup_lowest": [round(float(x), 2) for x in speedups.min(0)],
            "speedup_highest": [round(float(x), 2) for x in speedups.max(0)],
            "speedup_if_overlapped": [round(float(x), 2) for x in rates[MIDDLE, True] / rates[MIDDLE, True][0]],
        }
    return found


def _combinations() -> Iterator[Assumed]:
    levels = (GOOD, MIDDLE, BAD)
    for host, arithmetic, jitter, links in itertools.product(levels, repeat=4):
        yield Assumed(host.operation_s, arithmetic.peak_share, jitter.jitter, links.fabric)


def prediction(molecules: Molecules) -> dict[str, Any]:
    """Of every configuration: what was counted, and what follows."""
    found = {}
    for name in CONFIGURATIONS:
        step = counted(name, molecules)
        found[name] = {"counted": {**vars(step)}, **predicted(step)}
    return found


def assumptions() -> dict[str, Any]:
    """What the prediction rests on, for the record."""
    return {
        "measured": "no GPU",
        "gpu": "H100 SXM in DGX H100, 8 in a node",
        "peak_flops": PEAK_FLOPS,
        "peak_share": [x.peak_share for x in (BAD, MIDDLE, GOOD)],
        "operation_us": [round(x.operation_s * 1e6, 1) for x in (BAD, MIDDLE, GOOD)],
        "jitter": [x.jitter for x in (BAD, MIDDLE, GOOD)],
        "node_latency_us": [round(x.fabric.node.latency_s * 1e6, 1) for x in (BAD, MIDDLE, GOOD)],
        "node_gb_per_s": [round(x.fabric.node.bytes_per_s / 1e9, 1) for x in (BAD, MIDDLE, GOOD)],
        "network_latency_us": [round(x.fabric.network.latency_s * 1e6, 1) for x in (BAD, MIDDLE, GOOD)],
        "network_gb_per_s": [round(x.fabric.network.bytes_per_s / 1e9, 1) for x in (BAD, MIDDLE, GOOD)],
        "all_reduce": "reduce-scatter and all-gather in a node, faster of ring and double binary tree between nodes",
        "overlap": f"none; speedup_if_overlapped hides it behind {BACKWARD:.2f} of loss and gradients",
        "left_out": "reading data, molecules with forces, busy networks, whether so large a batch learns as well",
    }
