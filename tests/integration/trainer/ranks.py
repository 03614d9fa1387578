"""Run by two processes: every operation of the communicator against its known answer."""

import torch
from composition import CompositionTrainable

from gapsmith.trainer.communicator import HorovodGroup, TorchGroup, end_process, join
from gapsmith.training.communicator import parameter_fingerprint


def gradients(model: torch.nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


group = join()
assert isinstance(group, HorovodGroup | TorchGroup)
assert group.size == 2

trainable = CompositionTrainable()
torch.manual_seed(group.rank)
model = trainable.build({"hidden": 32})
model.state_dict()["sigma_ev"].fill_(5.0 + group.rank)
before = group.gather(parameter_fingerprint(model))
assert not torch.equal(before[0], before[1])
group.broadcast_parameters(model)
after = group.gather(parameter_fingerprint(model))
assert torch.equal(after[0], after[1])
assert torch.equal(after[0], before[0])
assert float(model.state_dict()["sigma_ev"]) == 5.0

source = trainable.base_source(batch_size=64, seed=3, device="cpu")
trainable.loss(model, source.batch(7))["loss"].backward()
whole = gradients(model)
model.zero_grad()
trainable.loss(model, source.batch(7, rank=group.rank, size=group.size))["loss"].backward()
share = gradients(model)
group.average_gradients(model)
for ours, part, expected in zip(gradients(model), share, whole, strict=True):
    assert (ours is None) == (expected is None)
    if ours is not None and part is not None and expected is not None:
        assert not torch.allclose(part, expected, rtol=1e-3), "the two shares are too alike to test anything"
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)

lonely = torch.nn.Linear(1, 1, bias=False)  # only rank 1 has a gradient
if group.rank == 1:
    lonely.weight.grad = torch.full((1, 1), 3.0)
group.average_gradients(lonely)
assert lonely.weight.grad is not None
assert float(lonely.weight.grad) == 1.5

assert group.max(float(group.rank)) == 1.0
gathered = group.gather(torch.tensor([group.rank, 10], dtype=torch.int64))
assert [row.tolist() for row in gathered] == [[0, 10], [1, 10]]
group.leave()
print(f"rank {group.rank} has checked everything", flush=True)
end_process(0)
