"""Membership in QM9."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import DataError
from gapsmith.data import known, qm9


@pytest.fixture
def small_qm9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder with a QM9 of three molecules."""
    lines = tmp_path / "inchi.txt"
    smiles = ["C", "CCO", "C[C@H](O)C#N"]
    names = [Chem.MolToInchi(Chem.MolFromSmiles(one)) for one in smiles]  # type: ignore[no-untyped-call]  # RDKit has no type here
    lines.write_text("\n".join(names) + "\n")
    monkeypatch.setattr(qm9, "identifiers", lambda: lines)
    monkeypatch.setenv("GAPSMITH_CACHE", str(tmp_path))
    known._keys.cache_clear()
    yield tmp_path
    known._keys.cache_clear()


def key(smiles: str) -> str:
    """Its InChIKey."""
    return identify(Chem.MolFromSmiles(smiles)).inchikey


def test_of_several_splits_the_one_that_is_held_out_most_counts(
    small_qm9: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (small_qm9 / "inchi.txt").read_text().splitlines()
    (small_qm9 / "inchi.txt").write_text("\n".join([*lines, lines[0]]) + "\n")  # methane once more
    parts = {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([3])}
    monkeypatch.setattr(qm9, "split", lambda molecules: parts)
    found = [known.split_of(key(smiles)) for smiles in ("C", "CCO", "CC(O)C#N", "COC")]
    assert found == ["test", "train", "validation", None]


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [("C", True), ("OCC", True), ("COC", False), ("CC(O)C#N", True), ("C[C@@H](O)C#N", True), ("[H][H]", False)],
)
def test_membership_is_by_connectivity(small_qm9: Path, smiles: str, expected: bool) -> None:
    assert known.in_qm9(key(smiles)) is expected


def test_the_file_is_made_once_and_small(small_qm9: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known.in_qm9(key("C"))
    (file,) = small_qm9.glob("*.npy")
    assert np.load(file).shape == (2, 3)
    known._keys.cache_clear()
    monkeypatch.setattr(qm9, "identifiers", lambda: pytest.fail("built again"))
    assert known.in_qm9(key("CCO"))


def test_a_damaged_file_says_what_to_do(small_qm9: Path) -> None:
    known.in_qm9(key("C"))
    (file,) = small_qm9.glob("*.npy")
    file.write_bytes(b"no array")
    known._keys.cache_clear()
    with pytest.raises(DataError, match="delete it"):
        known.in_qm9(key("C"))
