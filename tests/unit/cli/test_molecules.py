"""Molecules that a command line names."""

from pathlib import Path

import pytest

from gapsmith.cli.molecules import check, read_options, records
from gapsmith.core.errors import InputError

USUAL = read_options(None, None, None)


def test_files_and_smiles_come_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "a.smi"
    file.write_text("O water\nC methane\n")
    found = list(records(["CC", str(file), "N"], USUAL))
    assert [record.smiles for record in found] == ["CC", "O", "C", "N"]
    assert not any(record.error for record in found)


def test_one_bad_source_among_several_is_a_record_with_its_reason(tmp_path: Path) -> None:
    good, empty = tmp_path / "good.smi", tmp_path / "empty.smi"
    good.write_text("O water\n")
    empty.write_text("")
    names = [str(tmp_path / "none.sdf"), str(empty), str(good), "C1CC"]
    check(names)
    lost, bare, water, open_ring = records(names, USUAL)
    assert names[0] in str(lost.error)
    assert "empty" in str(bare.error)
    assert (water.smiles, water.error) == ("O", None)
    assert "no such file" in str(open_ring.error)
    assert "unclosed ring" in str(open_ring.error)


@pytest.mark.parametrize("words", [["none.sdf"], ["none.sdf", "none.csv"], ["not_a_smiles"], ["."]])
def test_where_nothing_is_there_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        check(words)


def test_a_file_of_a_smiles_name_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("C").write_text("")
    with pytest.raises(InputError):  # the file, whose name has no ending, and not methane
        list(records(["C"], USUAL))
