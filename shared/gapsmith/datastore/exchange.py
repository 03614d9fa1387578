"""Messages of all ranks to all ranks, over the tensors that a training's communicator gathers."""

import torch

from gapsmith.core.errors import InputError
from gapsmith.datastore.distributed import Exchange
from gapsmith.training.communicator import Communicator

MOST_BYTES = 512


def over(group: Communicator) -> Exchange:
    """An exchange of messages of at most 510 bytes; InputError is raised on longer ones."""

    def exchange(message: bytes) -> list[bytes]:
        if len(message) > MOST_BYTES - 2:
            raise InputError(f"a message of {len(message)} bytes is too long, at most {MOST_BYTES - 2} go at once")
        padded = (len(message).to_bytes(2, "little") + message).ljust(MOST_BYTES, b"\0")
        found = group.gather(torch.tensor(list(padded), dtype=torch.uint8))
        texts = [bytes(tensor.tolist()) for tensor in found]
        return [text[2 : 2 + int.from_bytes(text[:2], "little")] for text in texts]

    return exchange
