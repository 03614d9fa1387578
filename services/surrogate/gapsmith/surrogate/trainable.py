"""The surrogate as the training loop sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gapsmith.core.errors import InputError
from gapsmith.surrogate import data
from gapsmith.surrogate.calibration import calibrate
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.network import GapNetwork, NetworkConfig
from gapsmith.training.protocol import BatchSource, LabelledGeometry

KIND = "surrogate"


class SurrogateTrainable:
    """Base training on QM9 and fine-tuning on a campaign's labels; see ``gapsmith.training.protocol.Trainable``."""

    kind = KIND

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new network with random weights; raises InputError on unknown, missing or impossible keys."""
        return build(config)

    def default_config(self) -> dict[str, Any]:
        """The configuration of the shipped size."""
        return asdict(NetworkConfig())

    def base_source(self, *, batch_size: int, seed: int, device: str) -> BatchSource:
        """QM9's training split."""
        return data.TrainingSource(data.base_split("train"), batch_size=batch_size, seed=seed, device=device)

    def fine_tuning_source(
        self, labels: Sequence[LabelledGeometry], *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> BatchSource:
        """New labels mixed with QM9; raises InputError if there are none or the share is not in [0, 1)."""
        return data.ReplaySource(
            labelled(labels),
            data.base_split("train"),
            batch_size=batch_size,
            replay_fraction=replay_fraction,
            seed=seed,
            device=device,
        )

    def loss(self, model: nn.Module, batch: data.Batch) -> dict[str, Tensor]:
        """Absolute errors of HOMO, LUMO and gap for the means, Gaussian NLL for the variance.

        The NLL sees the mean and the latent detached: fitting the noise cannot make the mean worse, which is what
        beta-NLL is for (Seitzer et al., ICLR 2022), taken to its end.
        """
        output = model(batch.numbers, batch.coordinates, batch.molecule, len(batch))
        homo, gap = (column.unsqueeze(1) for column in batch.targets.unbind(1))  # (molecules, 1)
        weights = batch.weights[:, : output.gap_ev.shape[1]]
        known = torch.isfinite(homo)
        homo = torch.where(known, homo, output.homo_ev.detach())
        lumo_error = torch.where(known, output.homo_ev + output.gap_ev - homo - gap, torch.zeros_like(gap))
        error = output.gap_ev - gap
        gap_l1 = (weights * error.abs()).mean()
        homo_l1 = (weights * (output.homo_ev - homo).abs()).mean()
        lumo_l1 = (weights * lumo_error.abs()).mean()
        log_variance = output.log_variance
        nll = 0.5 * (weights * (log_variance + error.detach().square() * torch.exp(-log_variance))).mean()
        return {
            "loss": gap_l1 + 0.5 * (homo_l1 + lumo_l1) + 0.1 * nll,
            "gap_l1_ev": gap_l1,
            "homo_l1_ev": homo_l1,
            "lumo_l1_ev": lumo_l1,
            "gap_nll": nll,
        }

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """Errors and NLL on the first ``limit`` molecules of QM9's validation split."""
        molecules = data.base_split("validation")
        if limit is not None:
            molecules = molecules.take(np.arange(min(limit, len(molecules))))
        return summary(predict_molecules(cast(GapNetwork, model), molecules, device=device), molecules)

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """The same on labelled molecules."""
        molecules = labelled(labels)
        device = str(next(model.parameters()).device)
        return summary(predict_molecules(cast(GapNetwork, model), molecules, device=device), molecules)

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """Recalibrate the standard deviation and the out-of-distribution score, in place."""
        return calibrate(cast(GapNetwork, model), labelled(labels) if labels else None)


def build(config: Mapping[str, Any]) -> GapNetwork:
    """A network of that configuration; raises InputError on unknown, missing or impossible keys."""
    known = {field.name: field.type for field in fields(NetworkConfig)}
    for key in config:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise InputError(f"the surrogate's configuration has no key {key!r}{hint}")
    if missing := [key for key in known if key not in config]:
        raise InputError(f"the surrogate's configuration lacks {', '.join(missing)}")
    for key, value in config.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise InputError(f"the surrogate's {key} must be a positive number, got {value!r}")
        if key != "cutoff_angstrom" and not isinstance(value, int):
            raise InputError(f"the surrogate's {key} must be a whole number, got {value!r}")
    wanted = NetworkConfig(**config)
    if wanted.features % (2 * wanted.heads) or wanted.vector_features % wanted.heads:
        raise InputError(
            f"features ({wanted.features}) must be a multiple of twice the heads ({wanted.heads}) and "
            f"vector_features ({wanted.vector_features}) a multiple of them"
        )
    if wanted.members > data.MEMBERS:
        raise InputError(f"members must be at most {data.MEMBERS}, got {wanted.members}")
    return GapNetwork(wanted)


def labelled(labels: Sequence[LabelledGeometry]) -> data.Molecules:
    """Labels as molecules; raises InputError if one has no gap."""
    for index, label in enumerate(labels):
        if not np.isfinite(label.targets.get("gap_ev", np.nan)):
            raise InputError(f"label {index} has no finite gap_ev: {dict(label.targets)}")
    return data.from_geometries([(x.numbers, x.coordinates) for x in labels], [x.targets for x in labels])


def summary(predicted: Predicted, molecules: data.Molecules) -> dict[str, float]:
    """Mean absolute errors and the gap's NLL; properties that no molecule has are left out."""
    homo, gap = molecules.targets.T.astype(np.float64)
    error, sigma = predicted.gap_ev - gap, predicted.gap_std_ev
    out = {
        "gap_mae_ev": float(np.abs(error).mean()),
        "gap_rmse_ev": float(np.sqrt((error**2).mean())),
        "gap_nll": float((0.5 * np.log(2 * np.pi * sigma**2) + 0.5 * (error / sigma) ** 2).mean()),
    }
    if (known := np.isfinite(homo)).any():
        out["homo_mae_ev"] = float(np.abs(predicted.homo_ev - homo)[known].mean())
        out["lumo_mae_ev"] = float(np.abs(predicted.homo_ev + predicted.gap_ev - homo - gap)[known].mean())
    return out
