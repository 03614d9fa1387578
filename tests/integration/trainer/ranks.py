"""Run by two processes: every operation of the communicator against its known answer."""

import torch
from composition import CompositionTrainable, Source

from gapsmith.trainer.communicator import HorovodGroup, TorchGroup, end_process, join
from gapsmith.training.communicator import parameter_fingerprint, synchronise
from gapsmith.training.resume import Run


def gradients(model: torch.nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


group = join()
assert isinstance(group, HorovodGroup | TorchGroup)
assert group.size == 2

trainable = CompositionTrainable()
torch.manual_seed(group.rank)
model = trainable.build({"hidden": 32})
model.state_dict()["sigma_ev"].fill_(5.0 + group.rank)
run = Run(model, torch.optim.AdamW(model.parameters()))
run.state.step = group.rank  # rank 1 is furthest on
before = group.gather(parameter_fingerprint(model))
assert not torch.equal(before[0], before[1])
synchronise(group, run)
after = group.gather(parameter_fingerprint(model))
assert torch.equal(after[0], after[1])
assert torch.equal(after[0], before[1])
assert float(model.state_dict()["sigma_ev"]) == 6.0
assert run.state.step == 1

source = Source([], 64, 1.0, seed=3)
trainable.loss(model, source.batch(7))["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type here
whole = gradients(model)
model.zero_grad()
trainable.loss(model, source.batch(7, rank=group.rank, size=group.size))["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type here
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

assert group.broadcast(b"from one" if group.rank == 1 else b"", 1) == b"from one"
group.barrier()
gathered = group.gather(torch.tensor([group.rank, 10], dtype=torch.int64))
assert [row.tolist() for row in gathered] == [[0, 10], [1, 10]]
print(f"rank {group.rank} has checked everything", flush=True)
group.leave()
end_process(0)
