"""The architectures of the installation keep the contract."""

from typing import Any

from tests.contracts.trainables.contract import SamplerContract, SurrogateContract

from gapsmith.generator import network
from gapsmith.surrogate.config import DEFAULT, load


def small_surrogate() -> dict[str, Any]:
    """The shipped configuration with a tiny network, trained on QM9 alone."""
    config = load(DEFAULT).as_dict()
    config["trunk"] |= {"layers": 1, "features": 16, "vector_features": 8, "radial": 8, "latent": 16}
    config["ensemble"]["members"] = 3
    config["sources"] = {"qm9": config["sources"]["qm9"]}
    heads = {name: head for name, head in config["heads"].items() if "qm9" in head["sources"]}
    config["heads"] = {name: {**head, "sources": ["qm9"]} for name, head in heads.items()}
    return config


class TestEquivariantGnn(SurrogateContract):
    """The shipped surrogate's."""

    architecture, config = "equivariant_gnn", small_surrogate()


class TestMaskedDiffusion(SamplerContract):
    """The shipped generator's."""

    architecture = "masked_diffusion"
    config = {  # noqa: RUF012
        **network.default_config(), "layers": 1, "width": 12, "pair_width": 8, "heads": 2, "condition_width": 8,
    }  # fmt: skip
