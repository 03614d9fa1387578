"""The generator as the training loop sees it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from gapsmith.core.errors import DataError
from gapsmith.data import qm9
from gapsmith.generator import diffusion, network
from gapsmith.generator.data import Batch, Molecules, MoleculeSource, SizeTable, from_geometries, load_split
from gapsmith.training.protocol import BatchSource, LabelledGeometry

EVALUATION_SEED = 20220617  # the same noise for every model, so that losses can be compared


class GeneratorTrainable:
    """Masked equivariant diffusion on QM9 and on labelled molecules."""

    kind = "generator"

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new denoiser; raises InputError on unknown or missing keys."""
        return network.build(config)

    def default_config(self) -> dict[str, Any]:
        """The configuration of the shipped size."""
        return network.default_config()

    def base_source(self, *, batch_size: int, seed: int, device: str) -> BatchSource:
        """QM9's training split, as far as its bonds could be assigned."""
        return MoleculeSource(load_split("train"), batch_size=batch_size, seed=seed, device=device)

    def fine_tuning_source(
        self, labels: Sequence[LabelledGeometry], *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> BatchSource:
        """Labelled molecules with a replay of QM9; raises DataError if no label's bonds can be assigned."""
        molecules = from_geometries(labels)
        if len(molecules) == 0:
            raise DataError(f"none of the {len(labels)} labelled molecules has a gap_ev and bonds that can be assigned")
        return MoleculeSource(
            molecules,
            batch_size=batch_size,
            seed=seed,
            device=device,
            replay=load_split("train"),
            replay_fraction=replay_fraction,
        )

    def loss(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Denoising losses; see ``diffusion.losses``."""
        return diffusion.losses(cast(network.Denoiser, model), cast(Batch, batch))

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """Denoising losses on the validation split, with the same noise every time."""
        return self._losses(model, load_split("validation"), limit, device)

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """Denoising losses on labelled molecules; empty if no label's bonds can be assigned."""
        device = str(next(model.parameters()).device)
        return self._losses(model, from_geometries(labels), None, device)

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """The card's facts that sampling needs: the table p(atoms | gap) of the training split."""
        train = load_split("train")
        table = SizeTable.of(train)
        everything = qm9.split(len(qm9.load()))["train"]
        return {
            "sizes": {"counts": table.counts.astype(int).tolist(), "low_ev": table.low_ev, "step_ev": table.step_ev},
            "data": {
                "name": "QM9 (qm9pack), B3LYP/6-31G(2df,p)",
                "split": "train",
                "split_sha256": qm9.split_hash(everything),
                "molecules": len(train),
            },
        }

    def _losses(self, model: nn.Module, molecules: Molecules, limit: int | None, device: str) -> dict[str, float]:
        count = min(len(molecules), limit or len(molecules))
        size = min(64, count)
        if count == 0:
            return {}
        source = MoleculeSource(molecules, batch_size=size, seed=EVALUATION_SEED, device=device)
        model.eval()
        sums: dict[str, float] = {}
        batches = max(1, count // size)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(EVALUATION_SEED)
            for step in range(batches):
                for name, value in self.loss(model, source.batch(step)).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / batches
        return {f"{name}_loss" if name != "loss" else name: value for name, value in sums.items()}
