"""Every head with its error bar, and whether the network knows such molecules, from a weights file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.units import UNITS
from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.surrogate import ROLE, WEIGHTS, calibration
from gapsmith.surrogate.calibration import Calibration, in_rows
from gapsmith.surrogate.config import Config, parse
from gapsmith.surrogate.data import from_geometries
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity
from gapsmith.training.checkpoint import load_tensors, load_weights, read_card, save_tensors, sha256, write_card
from gapsmith.training.roles import Geometry, HeadPrediction, Prediction

if TYPE_CHECKING:
    from gapsmith.core.electronic import ElectronicStructure


class Predictor:
    """A network, or several as a deep ensemble, ready to predict."""

    def __init__(
        self,
        models: SurrogateNetwork | Sequence[SurrogateNetwork],
        domain: ModelDomain,
        *,
        calibration: Calibration | None = None,
        device: str = "cpu",
    ) -> None:
        self.models = [models] if isinstance(models, SurrogateNetwork) else list(models)
        for model in self.models:
            model.to(device).eval()
        self.domain, self._calibration, self.device = domain, calibration, device

    @property
    def model(self) -> SurrogateNetwork:
        """The network, or the first of several."""
        return self.models[0]

    @property
    def config(self) -> Config:
        """The configuration that all networks share in their heads."""
        return self.model.config

    @property
    def calibration(self) -> Calibration:
        """Error bars and flags: the ensemble's, or those the network carries."""
        return self._calibration or Calibration.of(self.model)

    @classmethod
    def load(cls, weights: Path = WEIGHTS, *, device: str = "cpu") -> "Predictor":
        """Load weights after checking their card; raises CheckpointError if anything about them is wrong."""
        card = read_card(weights, role=ROLE)
        domain = ModelDomain.of(card["domain"])
        if "members" not in card:
            return cls(load_network(weights), domain, device=device)
        models = []
        for member in card["members"]:
            file = weights.parent / str(member["file"])
            models.append(load_network(file))
            if sha256(file) != member["sha256"]:
                raise CheckpointError(f"{file} is another network than the one that {weights} was made of")
        names = models[0].names
        return cls(models, domain, calibration=calibration.from_tensors(load_tensors(weights), names), device=device)

    @property
    def columns(self) -> tuple[str, ...]:
        """What it predicts, names with unit."""
        return tuple(self.config.column(name) for name in self.model.names if name != FORCES)

    @property
    def sees_electronic(self) -> bool:
        """Whether it needs GFN2-xTB's electronic structure of every molecule."""
        return any(model.config.trunk.electronic for model in self.models)

    def predict(
        self, geometries: Sequence[Geometry], electronic: "Sequence[ElectronicStructure | None] | None" = None
    ) -> Prediction:
        """Predict every head but forces at GFN2-xTB or DFT geometries.

        Args:
            geometries: atomic numbers and coordinates.
            electronic: GFN2-xTB's electronic structure there; what is missing and needed is computed, 11 ms a molecule.

        Returns:
            All molecules; those of which GFN2-xTB's SCF fails where it is needed are NaN throughout.

        Raises:
            InputError: a molecule outside the domain, coordinates that are not finite, atoms that coincide.
        """
        for index, (numbers, _) in enumerate(geometries):
            if reason := self.domain.refusal(numbers):
                raise InputError(f"molecule {index}: {reason}")
        molecules = from_geometries(geometries)
        there = np.ones(len(molecules), bool)
        if self.sees_electronic:
            records = ElectronicRecords.of(molecules.offsets, molecules.numbers, molecules.coordinates, electronic)
            there = records.there
            molecules = replace(molecules, electronic=records)
        predicted = predict_molecules(self.models, molecules.take(np.flatnonzero(there)), device=self.device)
        for name in predicted.mean:
            values = predicted.mean[name] + predicted.std.get(name, 0.0)
            if broken := int((~np.isfinite(values)).sum()):
                raise CheckpointError(
                    f"the surrogate predicts {name} with {broken} values that are not finite; fetch or train it again"
                )
        predicted = predicted.spread(there, np.repeat(there, molecules.sizes))
        calibrated = self.calibration
        unlike = calibrated.unlike(predicted)
        heads, molecular = {}, {}
        for name, mean in predicted.mean.items():
            std, unit = calibrated.std(predicted, name), self.config.heads[name].known_unit.in_base
            half, least = calibrated.half(predicted, name, in_rows(unlike, molecules, name)), _least(name)
            low, high = np.maximum(mean - half, least), np.maximum(mean + half, least)
            heads[self.config.column(name)] = HeadPrediction(mean / unit, std / unit, low / unit, high / unit)
            if quantity(name).kind == "graph":
                molecular[name] = HeadPrediction(mean, std, low, high)
        return Prediction(
            mean_ev=predicted.mean["gap"],
            std_ev=calibrated.std(predicted, "gap"),
            homo_ev=predicted.mean.get("homo", np.full(len(molecules), np.nan)),
            distance=calibrated.distances(predicted.latent),
            out_of_distribution=unlike,
            heads=heads,
            offsets=molecules.offsets,
            molecular=molecular,
            members={name: one for name, one in predicted.members.items() if name in molecular},
            of_atoms=tuple(
                self.config.column(name) for name in predicted.mean if self.config.heads[name].level == "node"
            ),
        )

    def forces(self, geometry: Geometry) -> np.ndarray:
        """(atoms, 3) eV / angstrom, minus the gradient of the GFN2-xTB energy; raises InputError without such a head."""
        if FORCES not in self.model.names:
            raise InputError(f"these weights have no head {FORCES}; they have {', '.join(self.model.names)}")
        return predict_molecules(self.models, from_geometries([geometry]), device=self.device, wanted=[FORCES]).mean[
            FORCES
        ]


def _least(name: str) -> float:
    """The least possible value of a quantity, base unit."""
    label = quantity(name)
    return label.least * UNITS[label.unit].in_base


def load_network(weights: Path) -> SurrogateNetwork:
    """One network; raises CheckpointError if its file or its card is wrong."""
    card = read_card(weights, role=ROLE)
    try:
        model = SurrogateNetwork(parse(card["config"], trained=True))
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{weights}: its card describes no network of this version: {error}") from error
    load_weights(model, weights)
    return model.eval()


def save_deep(weights: Path, files: Sequence[Path], *, device: str = "cpu") -> Predictor:
    """Make a deep ensemble of networks that were trained from different seeds, calibrate it and save it beside them.

    Args:
        weights: of the ensemble.
        files: the networks.
        device: of torch.

    Raises:
        CheckpointError: a file is no network of this version.
        InputError: files of other folders, or networks with different heads.
    """
    if any(file.resolve().parent != weights.resolve().parent for file in files):
        raise InputError(f"the networks of an ensemble must lie beside it, in {weights.parent}")
    models = [load_network(file).to(device) for file in files]
    if len({(model.names, model.config.trunk.electronic) for model in models}) != 1:
        raise InputError("the networks of an ensemble must see the same and have the same heads in the same order")
    fitted, card = calibration.fit(models, device=device)
    save_tensors(weights, calibration.as_tensors(fitted))
    members = [{"file": file.name, "sha256": sha256(file)} for file in files]
    first = read_card(files[0], role=ROLE)
    shared = {name: first[name] for name in ("format", "role", "architecture", "domain", "config")}
    write_card(weights, {**shared, "sha256": sha256(weights), "members": members, "calibration": card})
    return Predictor(models, ModelDomain.of(first["domain"]), calibration=fitted, device=device)
