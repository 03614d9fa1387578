from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from sampled import examples

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError
from gapsmith.core.output import check_output, sdf_record

WATER = Molecule(
    np.array([8, 1, 1], dtype=np.uint8),
    np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]),
    np.zeros(3, dtype=np.int8),
    np.array([[0, 1, 1], [0, 2, 1]], dtype=np.int16),
)


def read(record: str) -> Chem.Mol:
    supplier = Chem.SDMolSupplier()
    supplier.SetData(record, removeHs=False)
    (mol,) = supplier
    return mol


def test_tags_come_back_and_those_without_value_are_left_out() -> None:
    mol = read(sdf_record(WATER, "water", {"gap_ev": 8.5, "novel": True, "reason": None}))
    assert mol.GetProp("_Name") == "water"
    assert mol.GetPropsAsDict() == {"gap_ev": 8.5, "novel": "true"}
    assert mol.GetConformer().Is3D()


def test_text_that_would_end_a_tag_or_a_record_does_not() -> None:
    mol = read(sdf_record(WATER, "two\nlines", {"note": "one\n\n$$$$\n> <fake>\n1", "after": 1}))
    assert mol.GetProp("_Name") == "two lines"
    assert mol.GetPropsAsDict() == {"note": "one $$$$ > <fake> 1", "after": 1}
    mol = read(sdf_record(WATER, "$$$$", {"note": "$$$$", "after": 1}))
    assert mol.GetProp("note").strip() == mol.GetProp("_Name").strip() == "$$$$"
    assert mol.GetProp("after") == "1"


coordinates = st.floats(-50, 50).map(lambda x: x + 0.0)


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(coordinates, min_size=9, max_size=9))
def test_coordinates_come_back_to_the_bit_with_enough_decimals(values: list[float]) -> None:
    positions = np.round(np.array(values), 12).reshape(3, 3)
    moved = Molecule(WATER.numbers, positions, WATER.charges, WATER.bonds)
    decimals = max(len(np.format_float_positional(x, trim="-").partition(".")[2]) for x in positions.ravel())
    record = sdf_record(moved, "", {}, decimals=max(5, decimals))
    assert "V3000" in record
    assert (read(record).GetConformer().GetPositions() == positions).all()
    four = sdf_record(moved, "", {})
    assert "V2000" in four
    assert (read(four).GetConformer().GetPositions() == np.round(positions, 4)).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.doc", "'.doc'"), ("a", "no ending"), ("folder.sdf", "is a folder"), ("none/a.sdf", "mkdir -p")],
)
def test_names_that_cannot_be_written_are_explained(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.sdf").mkdir()
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name, (".sdf", ".csv"))
    check_output(tmp_path / "A.SDF", (".sdf", ".csv"))
