"""The generator as the training loop sees it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from gapsmith.core.errors import DataError
from gapsmith.data import qm9
from gapsmith.generator import diffusion, network
from gapsmith.generator.data import Batch, Molecules, MoleculeSource, from_geometries, load_split
from gapsmith.generator.sizes import Sizes
from gapsmith.training.protocol import BatchSource, LabelledGeometry, Tuned

TRAINING_SPLIT = "second"  # networks that judge the generator learn from the first half
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
        """The second of EDM's halves of QM9, as far as its bonds could be assigned."""
        return MoleculeSource(load_split(TRAINING_SPLIT), batch_size=batch_size, seed=seed, device=device)

    def fine_tuning_source(
        self, labels: Sequence[LabelledGeometry], *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> BatchSource:
        """Labelled molecules with a replay of QM9; raises DataError if no label's bonds can be assigned."""
        molecules = from_geometries(labels)
        if len(molecules) == 0:
            raise DataError(
                f"none of the {len(labels)} labelled molecules has a known property and bonds that can be assigned"
            )
        return MoleculeSource(
            molecules,
            batch_size=batch_size,
            seed=seed,
            device=device,
            replay=load_split(TRAINING_SPLIT),
            replay_fraction=replay_fraction,
        )

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """With "heads", all but the layers that predict tokens stay as they are."""
        denoiser = cast(network.Denoiser, model)
        denoiser.requires_grad_(tuned == "all")
        for part in (denoiser.atom_out, denoiser.ends_out, denoiser.pair_out, denoiser.bond_out):
            part.requires_grad_(True)

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
        """The card's facts that sampling needs: the tables of p(atoms | properties) of the training split."""
        train = load_split(TRAINING_SPLIT)
        everything = qm9.edm_halves(len(qm9.load()))[TRAINING_SPLIT]
        return {
            "sizes": Sizes.of(train).to_card(),
            "data": {
                "name": "QM9 (qm9pack), B3LYP/6-31G(2df,p)",
                "split": "second half of EDM's training molecules",
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
