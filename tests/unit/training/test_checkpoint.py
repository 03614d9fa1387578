"""Checkpoints: round trips, damage, writes that fail half-way."""

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_cards import as_role
from torch import nn

from gapsmith.core.errors import CheckpointError
from gapsmith.training.checkpoint import (
    card_path,
    load_tensors,
    load_weights,
    read_card,
    save_model,
    save_tensors,
    write_card,
)
from gapsmith.training.files import replacing, sha256, write_atomically


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A saved model."""
    path = tmp_path / "linear-0.safetensors"
    save_model(path, network(1), **as_role("linear"), config={"inputs": 4}, card={"steps": 7})
    return path


def network(seed: int) -> nn.Sequential:
    """A small network with a buffer of integers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_round_trip(weights: Path) -> None:
    card = read_card(weights, role="linear")
    assert (card["role"], card["config"], card["steps"], card["format"]) == ("linear", {"inputs": 4}, 7, 1)
    assert card["sha256"] == sha256(weights)
    model = network(2)
    load_weights(model, weights)
    saved = network(1).state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())


def test_half_precision_comes_back_as_the_models_own(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_model(path, network(1), **as_role("linear"), config={}, card={}, half=True)
    assert load_tensors(path)["0.weight"].dtype == torch.float16
    model = network(2)
    load_weights(model, path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model.state_dict()["0.weight"], network(1).state_dict()["0.weight"], atol=1e-3, rtol=0)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(weights: Path, place: float, bit: int) -> None:
    good = weights.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    weights.write_bytes(bytes(bad))
    try:
        with pytest.raises(CheckpointError, match="SHA-256"):
            read_card(weights, role="linear")
    finally:
        weights.write_bytes(good)


def test_damage_is_named(weights: Path) -> None:
    good, card = weights.read_bytes(), card_path(weights).read_text()
    weights.write_bytes(good[:-10])
    with pytest.raises(CheckpointError, match="half-written"):
        read_card(weights, role="linear")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(network(1), weights)
    weights.write_bytes(good)
    with pytest.raises(CheckpointError, match="role 'linear', wanted 'surrogate'"):
        read_card(weights, role="surrogate")
    card_path(weights).write_text(json.dumps({**json.loads(card), "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        read_card(weights, role="linear")
    for text in ("{", "[1]"):
        card_path(weights).write_text(text)
        with pytest.raises(CheckpointError, match=r"JSON|keys and values"):
            read_card(weights, role="linear")
    card_path(weights).unlink()
    with pytest.raises(CheckpointError, match=r"linear-0\.json is missing"):
        read_card(weights, role="linear")
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors is missing"):
        read_card(weights, role="linear")


@pytest.mark.parametrize("folder", ["", ".", "..", "/"])
def test_a_folder_is_not_weights(folder: str) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        read_card(Path(folder))


def test_weights_of_another_shape_are_refused(weights: Path) -> None:
    with pytest.raises(CheckpointError, match="differ"):
        load_weights(nn.Linear(4, 3), weights)
    with pytest.raises(CheckpointError, match="other shapes"):
        load_weights(nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), weights)


def test_pickled_file_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tensors(path)


def test_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def half_way() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        half_way()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@contextmanager
def little_room() -> Iterator[None]:
    """No file of this process may grow beyond a kilobyte, as on a full disk.

    Around the one call under test only: pytest's own output may be a file, and would not fit either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensors_that_do_not_fit_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a": torch.zeros(3)})
    refusal = pytest.raises(CheckpointError, match=r"model\.safetensors cannot be written .*File too large")
    with refusal, little_room():
        save_tensors(path, {"a": torch.ones(1000)})
    assert torch.equal(load_tensors(path)["a"], torch.zeros(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model, weights = nn.Linear(2, 1), tmp_path / "broken-0.safetensors"
    save_tensors(weights, {"weight": torch.tensor([[1.0, value]]), "bias": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="weight holds values that are not finite"):
        load_weights(model, weights)


def test_a_card_holds_no_number_that_json_lacks(tmp_path: Path) -> None:
    weights = tmp_path / "card-0.safetensors"
    write_card(weights, {"metrics": {"mae": math.nan, "rows": [1.0, math.inf]}})
    assert json.loads(card_path(weights).read_text()) == {"metrics": {"mae": None, "rows": [1.0, None]}}


def test_a_buffer_may_be_infinite_but_not_undefined(tmp_path: Path) -> None:
    model, weights = nn.Linear(2, 1), tmp_path / "buffer-0.safetensors"
    model.register_buffer("threshold", torch.tensor(0.0))
    for value in (math.inf, math.nan):
        tensors = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1), "threshold": torch.tensor(value)}
        save_tensors(weights, tensors)
        if math.isinf(value):
            load_weights(model, weights)
            continue
        with pytest.raises(CheckpointError, match="threshold holds values"):
            load_weights(model, weights)
