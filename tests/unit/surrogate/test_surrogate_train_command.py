"""Base trainings of the surrogate: changes to the configuration, and what training may import."""

import subprocess
import sys

import pytest

from gapsmith.core.errors import InputError
from gapsmith.surrogate.config import DEFAULT, Config, load, parse
from gapsmith.training.configuration import changed

ABSENT_ON_GPU_MACHINES = (
    "pydantic",
    "rdkit",
    "tblite",
    "click",
    "structlog",
    "psycopg",
    "matplotlib",
    "pyscf",
    "qm9pack",
    "rich",
    "tensorboardX",
)


def wanted(*changes: str) -> Config:
    return parse(changed(load(DEFAULT).as_dict(), changes))


def test_single_keys_can_be_changed() -> None:
    config = wanted("trunk.layers=5", "heads.gap.weight=3.5", "training.task_weights=learnt")
    assert (config.trunk.layers, config.heads["gap"].weight, config.training.task_weights) == (5, 3.5, "learnt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trunk.layer5=5", "there is no such key"),
        ("trunk.layers", "there is no such key"),
        ("nothing.layers=5", "there is no such key"),
        ("layers=5", "there is no such key"),
        ("trunk.layers=few", "trunk.layers must be a whole number"),
    ],
)
def test_wrong_changes_are_refused(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wanted(change)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["gapsmith.surrogate.trainable:SurrogateTrainable", "gapsmith.generator.trainable:GeneratorTrainable"]
)
def test_training_imports_nothing_that_a_gpu_machine_lacks(kind: str) -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT_ON_GPU_MACHINES!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import gapsmith.trainer.base
from gapsmith.training.protocol import trainable
trainable({kind!r}).default_config()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
