"""Networks that see GFN2-xTB's electronic structure: what enters, warm starts, bases, molecules without it."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from model_cards import DOMAIN, as_role

from gapsmith.core.electronic import ElectronicStructure, electronic_structure
from gapsmith.core.errors import CalculationError, CheckpointError, FailureClass, InputError
from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import ROLE, inference, sources
from gapsmith.surrogate.base import SurrogateBase
from gapsmith.surrogate.bases import begin_from, begin_with_bases
from gapsmith.surrogate.batches import MixedSource, Share
from gapsmith.surrogate.cli import predict
from gapsmith.surrogate.config import parse
from gapsmith.surrogate.heads import IntensiveHead
from gapsmith.surrogate.loss import losses, normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.trainable import SurrogateTrainable, build
from gapsmith.training.checkpoint import load_tensors, load_weights, save_model, save_tensors
from gapsmith.training.protocol import BaseOptions, LabelledGeometry, Tuned

WATER = np.array([8, 1, 1]), np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])
METHANE = np.array([6, 1, 1, 1, 1]), 0.629 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
HYDROGEN_FLUORIDE = np.array([9, 1]), np.array([[0, 0, 0], [0, 0, 0.92]])


def seeing(config: dict[str, Any], base: str = "none") -> dict[str, Any]:
    """The configuration of a network that sees it, too."""
    found = {**config, "trunk": {**config["trunk"], "electronic": True}, "heads": dict(config["heads"])}
    for name in ("gap", "homo"):
        found["heads"][name] = {**config["heads"][name], "base": base}
    return found


def made_up(molecules: Molecules, seed: int = 0) -> ElectronicRecords:
    """Records of random numbers, in which some orbitals are not there."""
    draw = np.random.default_rng(seed)
    atoms, levels = len(molecules.numbers), np.sort(draw.normal(-6, 4, (len(molecules), 6)), axis=1)
    levels[::3, 0] = np.nan
    pairs = [np.argwhere(np.triu(np.ones((n, n)), 1) * (draw.random((n, n)) < 0.5)) for n in molecules.sizes]
    count = sum(map(len, pairs))
    return ElectronicRecords(
        energy_hartree=draw.normal(size=len(molecules)),
        orbital_energies_ev=levels.astype(np.float32),
        dipole_debye=np.zeros((len(molecules), 3), np.float32),
        charges_e=draw.normal(size=atoms).astype(np.float32),
        homo_populations=draw.random(atoms).astype(np.float32),
        lumo_populations=draw.random(atoms).astype(np.float32),
        pair_counts=np.array([len(some) for some in pairs], np.int32),
        pairs=np.concatenate(pairs).astype(np.uint8),
        bond_orders=draw.uniform(0, 3, count).astype(np.float32),
    )


@pytest.fixture
def molecules(small: SimpleNamespace) -> Molecules:
    found: Molecules = small.labelled(12)
    return found.seen(made_up(found))


def trained(config: dict[str, Any], seed: int = 1) -> SurrogateNetwork:
    """A network none of whose weights is zero."""
    torch.manual_seed(seed)
    model = build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.ood_threshold.fill_(3.0)  # as calibration does
    return model.eval()


def gaps(model: SurrogateNetwork, molecules: Molecules) -> np.ndarray:
    return inference.predict_molecules([model], molecules).mean["gap"]


def test_every_number_arrives_at_its_atom_and_pair(molecules: Molecules) -> None:
    chosen = np.array([7, 2, 9])
    batch = inference.as_graph(molecules.take(chosen), "cpu")
    seen, given = batch.electronic, molecules.electronic
    assert seen is not None
    assert given is not None
    starts = np.concatenate([[0], np.cumsum(given.pair_counts)])
    begin = np.concatenate([[0], np.cumsum(batch.sizes.numpy())])
    for place, molecule in enumerate(chosen):
        n = int(molecules.sizes[molecule])
        orders = np.zeros((n, n))
        own = slice(starts[molecule], starts[molecule + 1])
        orders[tuple(given.pairs[own].T)] = given.bond_orders[own]
        mine = (batch.molecule[batch.first] == place).numpy()
        first, second = batch.first.numpy()[mine] - begin[place], batch.second.numpy()[mine] - begin[place]
        assert seen.orders.numpy()[mine] == pytest.approx((orders + orders.T)[first, second])
        atoms = slice(molecules.offsets[molecule], molecules.offsets[molecule + 1])
        assert seen.atoms.numpy()[begin[place] : begin[place + 1], 2] == pytest.approx(given.lumo_populations[atoms])
    assert seen.levels.numpy() == pytest.approx(given.orbital_energies_ev[chosen], nan_ok=True)


def test_training_batches_hold_the_same(molecules: Molecules) -> None:
    source = MixedSource({"qm9": Share(molecules, 1.0, 0.0)}, batch_size=12, seed=0, device="cpu")
    part = source.batch(0).parts[0].graph
    order = np.argsort(molecules.sizes[source.chosen(0, 0)], kind="stable")
    wanted = inference.as_graph(molecules.take(source.chosen(0, 0)[order]), "cpu")
    assert part.electronic is not None
    assert wanted.electronic is not None
    assert torch.equal(part.numbers, wanted.numbers)
    for name in ("levels", "atoms", "orders"):
        torch.testing.assert_close(getattr(part.electronic, name), getattr(wanted.electronic, name), equal_nan=True)


def test_all_of_it_matters_and_no_batch_does(small: SimpleNamespace, molecules: Molecules) -> None:
    model = trained(seeing(small.only_gap(), "quadratic"))
    head = model.head("gap")
    assert isinstance(head, IntensiveHead)
    head.electronic_base.copy_(torch.linspace(-0.1, 0.1, 6))
    before, seen = gaps(model, molecules), molecules.electronic
    assert seen is not None
    assert np.isfinite(before).all()
    alone = [gaps(model, molecules.take(np.array([i])))[0] for i in range(len(molecules))]
    assert alone == pytest.approx(before, abs=1e-5)
    for name in ("orbital_energies_ev", "charges_e", "homo_populations", "lumo_populations", "bond_orders"):
        arrays = seen.arrays()
        changed = ElectronicRecords(**{**arrays, name: arrays[name] + np.float32(0.3)})
        moved = gaps(model, molecules.seen(changed))
        assert np.abs(moved - before).mean() > 1e-5, name  # far above rounding


def test_a_warm_start_changes_no_prediction(small: SimpleNamespace, molecules: Molecules, tmp_path: Path) -> None:
    old = trained(small.only_gap())
    save_tensors(tmp_path / "old.safetensors", old.state_dict())
    new = build(seeing(small.only_gap())).eval()
    with pytest.raises(CheckpointError, match="electronic"):
        load_weights(new, tmp_path / "old.safetensors")
    begin_from(new, tmp_path / "old.safetensors", ["gap", "homo", "lumo"])
    assert gaps(new, molecules) == pytest.approx(gaps(old, molecules), abs=1e-6)
    source = MixedSource({"qm9": Share(molecules, 1.0, 0.0)}, batch_size=12, seed=0, device="cpu")
    losses(new, source.batch(0))["loss"].backward()  # type: ignore[no-untyped-call]
    parameters = dict(new.named_parameters())
    fed = [
        x
        for name, x in parameters.items()
        if name.endswith(("filter.electronic", "atoms.2.weight", "molecules.2.weight"))
    ]
    assert len(fed) == 4  # two layers
    assert all(x.grad is not None and bool((x.grad != 0).any()) for x in fed)


def test_heads_that_are_not_wanted_are_left_behind(
    small: SimpleNamespace, molecules: Molecules, tmp_path: Path
) -> None:
    config = small.configuration()
    old, new = trained(config), build(seeing(small.only_gap())).eval()
    save_tensors(tmp_path / "old.safetensors", old.state_dict())
    begin_from(new, tmp_path / "old.safetensors", config["heads"])
    assert gaps(new, molecules) == pytest.approx(gaps(old, molecules), abs=1e-6)
    save_tensors(tmp_path / "new.safetensors", new.state_dict())
    with pytest.raises(CheckpointError, match="does not fit the configuration"):
        begin_from(old, tmp_path / "new.safetensors", ["gap", "homo", "lumo"])


@pytest.mark.parametrize("base", ["affine", "quadratic"])
def test_a_head_with_a_base_starts_as_the_best_fit(
    small: SimpleNamespace, molecules: Molecules, tmp_path: Path, base: str
) -> None:
    seen = molecules.electronic
    assert seen is not None
    homo, lumo = seen.orbital_energies_ev[:, 2].astype(float), seen.orbital_energies_ev[:, 3].astype(float)
    truth = 1.5 + 0.9 * lumo - 0.7 * homo + (0.03 * homo * lumo if base == "quadratic" else 0)
    known = replace(molecules, graph={"gap": truth, "homo": homo - 1})
    old = trained(small.only_gap())
    save_tensors(tmp_path / "old.safetensors", old.state_dict())
    new = build(seeing(small.only_gap(), base)).eval()
    begin_from(new, tmp_path / "old.safetensors", ["gap", "homo", "lumo"])
    begin_with_bases(new, [known])
    found = inference.predict_molecules([new], known)
    assert found.mean["gap"] == pytest.approx(truth, abs=0.02)
    assert found.mean["lumo"] == pytest.approx(truth + homo - 1, abs=0.04)
    new.ood_threshold.fill_(3.0)  # as calibration does
    save_tensors(tmp_path / "new.safetensors", new.state_dict())
    again = build(seeing(small.only_gap(), base)).eval()
    load_weights(again, tmp_path / "new.safetensors")
    assert gaps(again, known) == pytest.approx(found.mean["gap"], abs=1e-6)


def test_a_new_network_measures_errors_against_its_base(small: SimpleNamespace, molecules: Molecules) -> None:
    plain, based = build(seeing(small.only_gap())), build(seeing(small.only_gap(), "affine"))
    for model in (plain, based):
        normalise(model, [molecules])
    assert based.scale("gap") < plain.scale("gap")
    assert based.head("gap").offset == 0
    assert plain.head("gap").offset != 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "cubic"}, "heads.gap.base: 'cubic' is unknown"),
        ({"base": "affine"}, "heads.gap.base needs trunk.electronic"),
    ],
)
def test_wrong_bases_are_refused(small: SimpleNamespace, change: dict[str, str], message: str) -> None:
    config = small.only_gap()
    config["heads"]["gap"] |= change
    with pytest.raises(InputError, match=message):
        parse(config)


def test_forces_do_not_go_with_it(small: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="gfn2_forces"):
        parse(small.configuration(electronic=True))


@pytest.fixture
def fluorine_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """GFN2-xTB's SCF does not converge for molecules with fluorine."""

    def failing(numbers: np.ndarray, coordinates: np.ndarray) -> ElectronicStructure:
        if 9 in numbers:
            raise CalculationError(FailureClass.CHEMISTRY, "the SCF does not converge")
        return electronic_structure(numbers, coordinates)

    monkeypatch.setattr("gapsmith.core.electronic.electronic_structure", failing)


@pytest.mark.usefixtures("fluorine_fails")
def test_what_gfn2_cannot_compute_is_left_out_and_the_rest_goes_on(small: SimpleNamespace) -> None:
    predictor = Predictor(trained(seeing(small.only_gap(), "affine")), DOMAIN)
    geometries = [WATER, HYDROGEN_FLUORIDE, METHANE]
    found = predictor.predict(geometries)
    assert np.isfinite(found.mean_ev).tolist() == [True, False, True]
    assert found.out_of_distribution[1]
    alone = predictor.predict([WATER, METHANE], [electronic_structure(*WATER), None])
    assert found.mean_ev[[0, 2]] == pytest.approx(alone.mean_ev)
    assert found.heads["homo_ev"].std[[0, 2]] == pytest.approx(alone.heads["homo_ev"].std)
    assert len(found.properties()) == 3


@pytest.mark.usefixtures("fluorine_fails")
def test_the_command_says_which_molecule_and_why(small: SimpleNamespace, tmp_path: Path) -> None:
    config = seeing(small.only_gap(), "affine")
    save_model(tmp_path / "w.safetensors", trained(config), **as_role(ROLE), config=config, card={})
    words = ["O", "F", "C", "-o", tmp_path / "out.csv", "--weights", tmp_path / "w.safetensors", "--threads", 1]
    result = CliRunner().invoke(predict, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 1
    assert "2 molecules predicted, 1 with an error" in result.output
    with (tmp_path / "out.csv").open(newline="") as file:
        water, fluoride, methane = csv.DictReader(file)
    assert "SCF does not converge" in fluoride["error"]
    assert fluoride["gap_ev"] == ""
    assert float(water["gap_ev"]) != float(methane["gap_ev"])


@pytest.mark.usefixtures("fluorine_fails")
def test_fine_tuning_leaves_out_such_labels(small: SimpleNamespace) -> None:
    model = trained(seeing(small.only_gap(), "affine"))
    labels = [LabelledGeometry(*geometry, {"gap_ev": 8.0}) for geometry in (WATER, HYDROGEN_FLUORIDE)]
    trainable = SurrogateTrainable()
    assert trainable.evaluate_labels(model, labels[1:]) == {}
    assert trainable.evaluate_labels(model, labels) == trainable.evaluate_labels(model, labels[:1])


def with_contrast(small: SimpleNamespace) -> SurrogateNetwork:
    """A network that sees the electronic structure, with one that does not."""
    config = small.only_gap()
    return trained(seeing(config, "affine") | {"contrast": config}, 1)


def test_the_difference_from_its_contrast_widens_the_deviation(small: SimpleNamespace, molecules: Molecules) -> None:
    model = with_contrast(small)
    contrast = model.contrast
    assert contrast is not None
    together = inference.predict_molecules([model], molecules)
    other = inference.predict_molecules([contrast], molecules)
    model.contrast = None
    alone = inference.predict_molecules([model], molecules)
    for name in model.names:
        assert together.mean[name] == pytest.approx(alone.mean[name])
        variance = alone.std[name] ** 2 + (alone.mean[name] - other.mean[name]) ** 2
        assert together.std[name] == pytest.approx(np.sqrt(variance))
    assert np.array_equal(together.latent, alone.latent)


def test_what_differs_much_from_the_contrast_is_flagged_and_has_intervals_of_its_own(
    small: SimpleNamespace, molecules: Molecules, tmp_path: Path
) -> None:
    model, file = with_contrast(small), tmp_path / "w.safetensors"
    found = inference.predict_molecules([model], molecules)
    middle = float(np.median(found.difference))
    model.difference_threshold.fill_(middle)
    model.interval.copy_(torch.tensor([[1.0, 3.0]]).expand_as(model.interval))
    save_model(file, model, **as_role(ROLE), config=model.config.as_dict(), card={})
    calibration = Predictor.load(file).calibration
    unlike = calibration.unlike(found)
    assert unlike.tolist() == (found.difference > middle).tolist()
    assert 0 < unlike.sum() < len(unlike)
    half = calibration.half(found, "gap", unlike) / calibration.std(found, "gap")
    assert half == pytest.approx(np.where(unlike, 3.0, 1.0))


@pytest.mark.parametrize("tuned", ["all", "heads"])
def test_training_leaves_the_contrast_alone(small: SimpleNamespace, tuned: Tuned) -> None:
    model, trainable = with_contrast(small), SurrogateTrainable()
    trainable.freeze(model, tuned)
    trained_ones = {name.partition(".")[0] for name, one in model.named_parameters() if one.requires_grad}
    assert "heads" in trained_ones
    assert "contrast" not in trained_ones


def test_a_training_takes_the_contrast_of_a_file_and_of_the_weights_it_begins_with(
    small: SimpleNamespace, molecules: Molecules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "load", lambda name, split, seen=False: molecules)
    plain, config = tmp_path / "plain.safetensors", small.only_gap()
    save_model(plain, trained(config, 3), **as_role(ROLE), config=config, card={})
    seen = seeing(config, "affine")
    first = SurrogateBase(seen, BaseOptions(contrast=plain))
    file = tmp_path / "first.safetensors"
    save_model(file, first.model, **as_role(ROLE), config=first.config, card={})
    second = SurrogateBase(seen, BaseOptions(start=file))
    expected = load_tensors(plain)
    for base in (first, second):
        assert base.model.contrast is not None
        found = base.model.contrast.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert SurrogateBase(seen, BaseOptions()).model.contrast is None
    assert Predictor.load(file).predict([WATER]).std_ev[0] > 0
    with pytest.raises(InputError, match="contrast must see the geometry alone"):
        SurrogateBase(seen, BaseOptions(contrast=file))
    with pytest.raises(InputError, match="contrast must see the geometry alone"):
        SurrogateBase(config, BaseOptions(contrast=plain))


def test_a_graph_without_it_is_refused(small: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="electronic structure"):
        gaps(trained(seeing(small.only_gap())), small.labelled(2))
