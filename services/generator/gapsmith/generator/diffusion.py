"""The corruption of molecules and the loss of undoing it.

Coordinates run on a straight line from Gaussian noise (t = 0) to the data (t = 1); atom, charge and bond tokens are
masked and appear with probability t to a random power, so that sampling may unmask sooner or later than it moves. Every
atom has its own time: half of the training molecules are masked whole, in the other half only a part of the atoms is,
and the rest stays at t = 1, exactly. Noise is matched to the data (rotated, and exchanged among the masked atoms) so
that the lines seldom cross (Klein et al., equivariant flow matching, NeurIPS 2023). Some molecules have ghosts among
their masked atoms: places that turn out empty and do not move.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gapsmith.generator.data import Batch
from gapsmith.generator.network import LENGTH_UNIT_ANGSTROM, Denoiser, Noisy, Prediction
from gapsmith.generator.vocabulary import BOND_ORDERS, MASK_BOND, Vocabulary

UNCONDITIONED = 0.1  # share of the molecules whose properties are all hidden, for classifier-free guidance
FIRST_ALONE = 0.55  # share of those that only their gap is known of; of the others, each property with probability 1/2
WITH_GHOSTS = 0.25  # share of the batches whose molecules get places that stay empty
MOST_GHOSTS = 2
WRONG_ATOMS, WRONG_BONDS = 0.02, 0.004  # shares of the visible tokens that are replaced, so that errors can be undone
WEIGHT_CAP = 4.0
LOSS_WEIGHTS = {"coordinates": 1.0, "atoms": 1.0, "charges": 0.5, "bonds": 3.0, "lengths": 1.0}


class Corrupted(NamedTuple):
    """A noisy batch with what it came from."""

    noisy: Noisy
    coordinates: Tensor  # (batch, atoms, 3), the data, in the same frame as the noisy ones
    masked: Tensor  # (batch, atoms) bool: atoms to be predicted
    weight: Tensor  # (batch,)


def partial_masks(coordinates: Tensor, present: Tensor) -> Tensor:
    """Masks over a share U(0.1, 1) of the atoms: in half of the molecules the neighbourhood of an atom, else at random.

    Args:
        coordinates: (batch, atoms, 3).
        present: (batch, atoms) bool.

    Returns:
        (batch, atoms) bool, True where masked; at least one atom.
    """
    batch, n = present.shape
    device = present.device
    scattered = torch.rand(batch, n, device=device)
    centre = torch.where(present, torch.rand(batch, n, device=device), -1.0).argmax(1)
    from_centre = (coordinates - coordinates[torch.arange(batch, device=device), centre][:, None]).norm(dim=-1)
    order = torch.where(torch.rand(batch, 1, device=device) < 0.5, scattered, from_centre)
    rank = torch.where(present, order, torch.inf).argsort(1).argsort(1)
    ratio = 0.1 + 0.9 * torch.rand(batch, device=device)
    count = (ratio * present.sum(1)).ceil()
    return (rank < count[:, None]) & present


def corrupt(batch: Batch, vocabulary: Vocabulary) -> Corrupted:
    """Noise a batch; draws from torch's global generator."""
    present, device = batch.present, batch.present.device
    ghost = batch.atoms == vocabulary.ghost_atom
    real = present & ~ghost
    count = len(present)
    data = batch.coordinates / LENGTH_UNIT_ANGSTROM
    whole = torch.rand(count, 1, device=device) < 0.5
    masked = torch.where(whole, present, partial_masks(data, real) | ghost)
    kept = present & ~masked
    reference = torch.where(kept.any(1, keepdim=True), kept, real)
    data = (data - _mean(data, reference)) * real[..., None]
    noise = torch.randn_like(data)
    noise = (noise - _mean(noise, present) * (~kept.any(1))[:, None, None]) * masked[..., None]
    noise = match(noise, data, masked, turn=~kept.any(1))
    data = torch.where(ghost[..., None], noise, data)

    time = torch.distributions.Beta(1.8, 1.0).sample((count,)).to(device).clamp(max=0.999)
    times = torch.where(masked, time[:, None], 1.0)
    mixed = torch.where(masked[..., None], (1 - times[..., None]) * noise + times[..., None] * data, data)

    fixed = kept[:, :, None] & kept[:, None, :]
    shown = times ** torch.exp2(2 * torch.rand(count, 1, device=device) - 1)
    atoms = _hide(batch.atoms, shown, kept, vocabulary.mask_atom, len(vocabulary.elements), WRONG_ATOMS)
    charges = _hide(batch.charges, shown, kept, vocabulary.mask_charge, 0, 0.0)
    pair_shown = torch.minimum(shown[:, :, None], shown[:, None, :])
    bonds = _hide(batch.bonds, pair_shown, fixed, MASK_BOND, len(BOND_ORDERS), WRONG_BONDS)
    bonds = torch.triu(bonds, 1)
    bonds = bonds + bonds.transpose(1, 2)
    noisy = Noisy(atoms, charges, bonds, mixed, times, present, batch.values, reveal_properties(batch.known))
    return Corrupted(noisy, data, masked, (1 / (1 - time)).clamp(max=WEIGHT_CAP))


def add_ghosts(batch: Batch, vocabulary: Vocabulary) -> Batch:
    """Every molecule with 0 to MOST_GHOSTS atoms more that are not there."""
    count, n = batch.present.shape
    device = batch.present.device
    wanted = torch.randint(MOST_GHOSTS + 1, (count, 1), device=device)
    wanted = wanted.minimum(vocabulary.most_atoms - batch.present.sum(1, keepdim=True)).clamp(min=0)
    place = torch.arange(n + MOST_GHOSTS, device=device) - batch.present.sum(1, keepdim=True)
    ghost = (place >= 0) & (place < wanted)
    more = (0, MOST_GHOSTS)
    return Batch(
        atoms=torch.where(ghost, vocabulary.ghost_atom, F.pad(batch.atoms, more)),
        charges=torch.where(ghost, vocabulary.neutral, F.pad(batch.charges, more)),
        bonds=F.pad(batch.bonds, more * 2),
        coordinates=F.pad(batch.coordinates, (0, 0, *more)),
        present=F.pad(batch.present, more) | ghost,
        values=batch.values,
        known=batch.known,
    )


def reveal_properties(known: Tensor) -> Tensor:
    """Which of the known properties a network may look at in training, (batch, properties) bool."""
    share = torch.rand(len(known), 1, device=known.device)
    some = torch.rand(known.shape, device=known.device) < 0.5
    first = torch.zeros_like(some)
    first[:, 0] = True
    alone = share < UNCONDITIONED + (1 - UNCONDITIONED) * FIRST_ALONE
    return known & torch.where(alone, first, some) & (share >= UNCONDITIONED)


def match(noise: Tensor, data: Tensor, masked: Tensor, turn: Tensor) -> Tensor:
    """Exchange the masked atoms' noise among them, and turn it where ``turn`` says, to lie close to the data.

    Exchanging is greedy: the best swap of two atoms per molecule and round. Both leave the noise as it was distributed.

    Args:
        noise: (batch, atoms, 3).
        data: (batch, atoms, 3).
        masked: (batch, atoms) bool.
        turn: (batch,) bool; noise and data of these are centred.
    """
    batch, n, _ = noise.shape
    row = torch.arange(batch, device=noise.device)
    both = masked[:, :, None] & masked[:, None, :]
    for rounds in (n, n // 2):
        if bool(turn.any()):
            noise = torch.where(turn[:, None, None], noise @ _rotation(noise, data), noise)
        cost = -(data @ noise.transpose(1, 2))  # half the squared distance, up to terms that no swap changes
        order = torch.arange(n, device=noise.device).expand(batch, n).clone()
        for _ in range(rounds):
            own = cost.diagonal(dim1=1, dim2=2)
            gain = own[:, :, None] + own[:, None, :] - cost - cost.transpose(1, 2)
            best, where = torch.where(both, gain, 0.0).flatten(1).max(1)
            first, second = where // n, where % n
            swap = best > 1e-6
            if not bool(swap.any()):
                break
            second = torch.where(swap, second, first)
            columns = cost[row, :, first].clone()
            cost[row, :, first] = cost[row, :, second]
            cost[row, :, second] = columns
            places = order[row, first].clone()
            order[row, first] = order[row, second]
            order[row, second] = places
        noise = torch.gather(noise, 1, order[..., None].expand(-1, -1, 3))
    return noise


def losses(network: Denoiser, batch: Batch) -> dict[str, Tensor]:
    """Named losses of a batch; every second time the network first predicts blindly, then sees that prediction.

    On a GPU the network runs in bfloat16, but for the coordinates.
    """
    if torch.rand(()) < WITH_GHOSTS:
        batch = add_ghosts(batch, network.vocabulary)
    corrupted = corrupt(batch, network.vocabulary)
    before: Prediction | None = None
    device = batch.present.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
        if torch.rand(()) < 0.5:
            with torch.no_grad():
                before = network(corrupted.noisy).detached()
        prediction = network(corrupted.noisy, before)
    return compare(prediction, batch, corrupted)


def compare(prediction: Prediction, batch: Batch, corrupted: Corrupted) -> dict[str, Tensor]:
    """Losses of a prediction: named terms and their weighted sum ``loss``."""
    masked, weight = corrupted.masked, corrupted.weight
    per_atom = masked * (weight / masked.sum(1).clamp(min=1))[:, None] / len(weight)  # sums to the mean weight
    open_pairs = batch.present[:, :, None] & batch.present[:, None, :] & (masked[:, :, None] | masked[:, None, :])
    open_pairs = torch.triu(open_pairs, 1)
    per_pair = open_pairs * (weight / open_pairs.sum((1, 2)).clamp(min=1))[:, None, None] / len(weight)

    square = ((prediction.coordinates.float() - corrupted.coordinates) ** 2).sum(-1)
    terms = {
        "coordinates": (square * per_atom).sum(),
        "atoms": (_entropy(prediction.atoms, batch.atoms) * per_atom).sum(),
        "charges": (_entropy(prediction.charges, batch.charges) * per_atom).sum(),
        "bonds": (_entropy(prediction.bonds, batch.bonds) * per_pair).sum(),
    }
    molecule, left, right = torch.nonzero(open_pairs & (batch.bonds > 0), as_tuple=True)
    length = (prediction.coordinates[molecule, left] - prediction.coordinates[molecule, right]).float()
    true = (corrupted.coordinates[molecule, left] - corrupted.coordinates[molecule, right]).norm(dim=-1)
    error = torch.sqrt((length * length).sum(-1) + 1e-6) - true
    bonds_of = torch.zeros_like(weight).index_add(0, molecule, torch.ones_like(true)).clamp(min=1)
    per_bond = weight[molecule] / bonds_of[molecule] / len(weight)
    terms["lengths"] = (F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none") * per_bond).sum()
    total = torch.stack([LOSS_WEIGHTS[name] * value for name, value in terms.items()]).sum()
    return {"loss": total, **terms}


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    flat = F.cross_entropy(logits.float().flatten(0, -2), target.flatten(), reduction="none")
    return flat.view(target.shape)


def _hide(tokens: Tensor, times: Tensor, kept: Tensor, mask: int, kinds: int, wrong: float) -> Tensor:
    """Mask tokens with probability 1 - t and replace a share of the visible ones; kept ones stay."""
    if wrong:
        random = torch.randint(kinds, tokens.shape, device=tokens.device)
        tokens = torch.where((torch.rand(tokens.shape, device=tokens.device) < wrong) & ~kept, random, tokens)
    hidden = (torch.rand(tokens.shape, device=tokens.device) >= times) & ~kept
    return torch.where(hidden, mask, tokens)


def _mean(coordinates: Tensor, over: Tensor) -> Tensor:
    """Mean position of some atoms, (batch, 1, 3)."""
    weight = over[..., None].to(coordinates.dtype)
    return (coordinates * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)


def _rotation(noise: Tensor, data: Tensor) -> Tensor:
    """Kabsch: the proper rotations (batch, 3, 3) so that ``noise @ rotation`` lies closest to the data."""
    u, _, vh = torch.linalg.svd(noise.transpose(1, 2) @ data)
    u[:, :, 2] *= torch.sign(torch.linalg.det(u @ vh))[:, None]
    rotation: Tensor = u @ vh
    return rotation
