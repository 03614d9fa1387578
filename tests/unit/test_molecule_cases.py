"""Small files of which each has one kind of trouble, and what the commands that take molecules make of them.

Every file goes through the one reader and the gate as ``gapsmith predict``, ``dft``, ``regrow`` and ``evaluate`` use them.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_cards import DOMAIN

from gapsmith.core.chemistry.elements import formula
from gapsmith.core.chemistry.gate import Requirements, admit
from gapsmith.core.chemistry.geometry import ratios
from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.core.levels import shipped
from gapsmith.core.xtb import relax
from gapsmith.dft_queue.commands.molecules import Entry, Wish, entries
from gapsmith.generator.commands import leads
from gapsmith.generator.evaluation.files import NEEDED as JUDGED
from gapsmith.surrogate.predicting import requirements

WIDE = replace(DOMAIN, heavy_atoms=(1, 500))  # of any size
LEAD = leads.requirements(WIDE)

CASES = Path(__file__).parents[1] / "data" / "cases"
TRIAGE, XTB = Wish(shipped()["triage"]), Wish(shipped()["xtb"])
FURAN, FORMALDEHYDE, BENZENE, WATER = "C4H4O", "CH2O", "C6H6", "H2O"
PIECES = "in 2 pieces"

# Of each record: its name, then the formula that ``dft`` computes and ``predict`` predicts, or the words of the refusal.
READ: dict[str, list[tuple[str, str, str]]] = {
    "csv_good.csv": [("formaldehyde", FORMALDEHYDE, FORMALDEHYDE)],
    "csv_bom.csv": [("formaldehyde", FORMALDEHYDE, FORMALDEHYDE), ("furan", FURAN, FURAN)],
    "csv_chembl.csv": [("FORMALDEHYDE", FORMALDEHYDE, FORMALDEHYDE), ("FURAN", FURAN, FURAN)],
    "csv_pubchem.csv": [("Formaldehyde", FORMALDEHYDE, FORMALDEHYDE)],
    "csv_unbalanced_quote.csv": [("formaldehyde", FORMALDEHYDE, FORMALDEHYDE), ("hcn", "CHN", "CHN")],
    "sdf_blank_before_mend.sdf": [("benzene", BENZENE, BENZENE), ("furan", FURAN, FURAN)],
    "sdf_no_mend.sdf": [("benzene", "ends without a line 'M  END'", "blank line found"), ("furan", FURAN, FURAN)],
    "sdf_methyl_radical.sdf": [("1", "CH3", "1 unpaired electron; only closed shells")],
    "sdf_3d_no_hydrogens.sdf": [
        ("benzene", "6 of its hydrogens have no position", "write the file with explicit hydrogens")
    ],
    "sdf_R_group.sdf": [("1", "1 of its atoms are placeholders", "placeholders")],
    "sdf_ammonium.sdf": [("1", r"H4N\+", r"charge is \+1; only neutral")],
    "sdf_nitro_pentavalent.sdf": [("1", "CH3NO2", "CH3NO2")],
    "smi_carbenes.smi": [
        ("NHC_dimethylimidazolylidene", "C5H8N2", "2 unpaired electrons; only closed shells"),
        ("methylene", "CH2", "2 unpaired electrons"),
        ("difluorocarbene", "CF2", "2 unpaired electrons"),
        ("methyl_isocyanide", "C2H3N", "C2H3N"),
    ],
    "smi_salts.smi": [
        ("sodium_acetate", PIECES, "it has Na"),
        ("methylamine_HCl", PIECES, "it has Cl"),
        ("water_dimer", f"{PIECES}.*--allow-fragments", PIECES),
        ("ammonium_chloride", PIECES, "it has Cl"),
    ],
    "xyz_D_exponent.xyz": [("furan, Fortran exponents", FURAN, FURAN)],
    "xyz_labels.xyz": [("furan, labels", FURAN, FURAN)],
    "xyz_deuterium.xyz": [("heavy water", WATER, WATER)],
    "xyz_qm9_layout.xyz": [("gdb 9999", FORMALDEHYDE, FORMALDEHYDE)],
    "xyz_bohr.xyz": [("furan, bohr", "look like bohr; angstrom is expected", "look like bohr")],
    "xyz_dianion_comment.xyz": [("1", "C2O4-2", "charge is -2")],
    "xyz_linear_water.xyz": [("water drawn on a line", WATER, WATER)],
    "xyz_flat_ammonia.xyz": [("ammonia flat, as a converter writes a drawing", "H3N", "H3N")],
    "xyz_flat_methane.xyz": [("methane flat, as a converter writes a drawing", "CH4", "plane of a drawing")],
    "xyz_flat_ethane.xyz": [("ethane flat, as a converter writes a drawing", "C2H6", "plane of a drawing")],
    "xyz_noH_and_pieces.xyz": [
        ("benzene without hydrogens", "hydrogens are missing", "hydrogens are missing"),
        ("water dimer", PIECES, PIECES),
        ("two waters 50 angstrom apart", PIECES, PIECES),
    ],
    "qc_bohr.json": [("formaldehyde_bohr", FORMALDEHYDE, FORMALDEHYDE)],
    "qc_angstrom.json": [
        (
            "formaldehyde_angstrom",
            "C and O.*0.635 angstrom.*is it in angstrom[?] QCSchema uses bohr",
            "QCSchema uses bohr",
        )
    ],
    "qc_noncontiguous.json": [("noncontig", PIECES, PIECES)],
    "qc_ndjson.json": [("1", FORMALDEHYDE, FORMALDEHYDE), ("2", WATER, WATER)],
    "big_C400.smi": [("C400", "1202 atoms; between 1 and 120", "1202 atoms")],
    "big_TIPS-pentacene.smi": [("TIPS-pentacene", "no functions for Si", "it has Si; the model knows H, C, N, O, F")],
}
NOTED = {
    "csv_unbalanced_quote.csv": "quotation mark does not close",
    "xyz_deuterium.xyz": "D is read as hydrogen",
    "xyz_dianion_comment.xyz": "charge -2 and multiplicity 1 are its comment's",
}


def computed(file: str, wish: Wish = TRIAGE) -> list[Entry]:
    return list(entries(CASES / file, wish))


def outcome(record: Record, needed: Requirements) -> str:
    """The formula of what passes, or why it does not."""
    try:
        found = admit(record, needed)
    except InvalidMolecule as error:
        return error.detail
    return formula(found.molecule.numbers.tolist(), found.charge)


@pytest.mark.parametrize("file", READ)
def test_every_record_has_its_right_answer(file: str) -> None:
    expected = READ[file]
    records = list(read_molecules(CASES / file))
    assert [record.name for record in records] == [name for name, _, _ in expected]
    asked = computed(file)
    for (_, dft, predict), entry, record in zip(expected, asked, records, strict=True):
        assert re.search(dft, entry.refusal or f"^{entry.formula}"), entry.refusal
        if entry.refusal is None:
            assert re.fullmatch(dft, entry.formula or "")
        assert re.search(predict, outcome(record, requirements(WIDE, relax=False)))
    assert any(NOTED.get(file, "") in note for record in records for note in (*record.notes, ""))


def test_every_file_has_a_right_answer() -> None:
    assert {path.name for path in CASES.iterdir()} == {*READ, "sdf_empty.sdf", "smi_same_molecule.smi"}


def test_an_empty_file_is_said_to_be_empty() -> None:
    with pytest.raises(InputError, match=r"sdf_empty\.sdf is empty") as empty:
        list(read_molecules(CASES / "sdf_empty.sdf"))
    assert empty.value.code.exit_code == 1


def test_the_radical_is_a_doublet_and_the_dianion_keeps_its_charge() -> None:
    (methyl,), (oxalate,) = computed("sdf_methyl_radical.sdf"), computed("xyz_dianion_comment.xyz")
    assert (methyl.charge, methyl.spin) == (0, 1)
    assert (oxalate.charge, oxalate.spin) == (-2, 0)


def test_geometries_are_those_that_the_files_mean() -> None:
    """Furan and formaldehyde stand in several layouts, always the same molecule."""
    for files in (
        ("xyz_D_exponent.xyz", "xyz_labels.xyz", "sdf_blank_before_mend.sdf", "sdf_no_mend.sdf"),
        ("xyz_qm9_layout.xyz", "qc_ndjson.json"),
    ):
        lengths = []
        for file in files:
            record = [record for record in read_molecules(CASES / file) if len(record.numbers) in (4, 9)][-1]
            assert record.geometry is not None
            found = ratios(*record.geometry)
            lengths.append(np.sort(found[np.isfinite(found)]))
        for other in lengths[1:]:
            np.testing.assert_allclose(other, lengths[0], atol=0.01)


@pytest.mark.parametrize("file", ["big_C400.smi", "big_TIPS-pentacene.smi"])
def test_size_and_elements_are_looked_at_before_anything_is_embedded(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapsmith.core.chemistry.gate.embed", lambda *_, **__: pytest.fail("it was embedded"))
    (entry,) = computed(file)
    assert entry.refusal
    (record,) = read_molecules(CASES / file)
    for needed in (requirements(WIDE, relax=False), LEAD):
        with pytest.raises(InvalidMolecule):
            admit(record, needed)


def families(asked: list[Entry]) -> Iterator[list[Entry]]:
    for family in ("L-alanine", "glycerol", "malondialdehyde_keto", "malondialdehyde_enol"):
        yield [entry for entry in asked if entry.name.startswith(family)]


def test_one_molecule_has_one_calculation_however_it_is_written() -> None:
    asked = computed("smi_same_molecule.smi")
    assert [len(family) for family in families(asked)] == [4, 3, 2, 2]
    hashes = [{entry.content_hash for entry in family} for family in families(asked)]
    assert all(len(found) == 1 for found in hashes)
    assert len(set.union(*hashes)) == 4


def test_mirror_images_have_one_geometry() -> None:
    asked = {entry.name: entry.molecule for entry in computed("smi_same_molecule.smi")}
    left, right = asked["L-alanine_1"], asked["D-alanine"]
    assert left is not None
    assert right is not None
    np.testing.assert_array_equal(left.numbers, right.numbers)
    np.testing.assert_array_equal(left.coordinates * [-1, 1, 1], right.coordinates)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(4))
def test_pieces_are_set_apart_and_computed(index: int) -> None:
    entry = computed("smi_salts.smi", Wish(XTB.level, allow_fragments=True))[index]
    assert entry.refusal is None
    assert entry.molecule is not None
    found = ratios(entry.molecule.numbers, entry.molecule.coordinates)
    assert found.min() > 0.85
    assert np.isfinite(relax(entry.molecule.numbers, entry.molecule.coordinates).gap_ev)


def test_a_lead_may_be_completed_and_what_is_judged_is_not() -> None:
    (benzene,) = read_molecules(CASES / "sdf_3d_no_hydrogens.sdf")
    whole, bare = admit(benzene, LEAD), admit(benzene, JUDGED)
    assert (len(whole.molecule), len(bare.molecule)) == (12, 6)
    assert whole.notes == ("6 hydrogens were missing and were added by RDKit",)
    (radical,) = read_molecules(CASES / "sdf_methyl_radical.sdf")
    assert len(admit(radical, JUDGED).molecule) == 4
    with pytest.raises(InvalidMolecule, match="unpaired"):
        admit(radical, LEAD)
