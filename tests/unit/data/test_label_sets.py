"""Label sets: what was stored comes back, and whatever is damaged or contradicts itself is an error that says where."""

import json
from pathlib import Path

import numpy as np
import pytest

from gapsmith.core.domain import Molecule
from gapsmith.core.electronic import ElectronicStructure
from gapsmith.core.errors import DataError, InputError
from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.data.excluded import is_excluded
from gapsmith.data.label_sets import as_lines, as_text, geometry_hash, in_angstrom, in_steps, load
from gapsmith.factory.making import Chunk, Made
from gapsmith.factory.shards import Label, LabelSetWriter

TRIAGE = shipped()["triage"]
KEYS = [letter * 14 + "-UHFFFAOYSA-N" for letter in "ABCDE"]


def made(inchikey: str, *, seed: int = 0, wanted_gap_ev: float = 3.0) -> Made:
    random = np.random.default_rng(seed)
    steps = in_steps(random.normal(0, 2, (3, 3)))
    molecule = Molecule(
        np.array([8, 1, 1], np.uint8),
        in_angstrom(steps),
        np.zeros(3, np.int8),
        np.array([[0, 1, 1], [0, 2, 1]], np.int16),
    )
    share = random.random(3)
    electronic = ElectronicStructure(
        -5.0, np.sort(random.normal(-8, 3, 6)), share / share.sum(), share[::-1] / share.sum(), share - share.mean(),
        np.zeros((3, 3)), np.array([0, 1.9, 0]),
    )  # fmt: skip
    return Made(inchikey, "O", molecule, steps, wanted_gap_ev, electronic, 0.2)


def label(one: Made, gap_ev: float, **more: object) -> Label:
    values = {"homo_ev": -7.0, "lumo_ev": gap_ev - 7.0, "energy_hartree": -76.4, "dipole_debye": 1.9, "cpu_s": 14.0}
    return Label(one.inchikey, one.geometry, **(values | {"mulliken_e": (-0.6, 0.3, 0.3), "rung": "diis"} | more))  # type: ignore[arg-type]


def writer(folder: Path, seed: int = 0) -> LabelSetWriter:
    return LabelSetWriter(folder, pool="generated", seed=seed, provenance={"rdkit": "2026"})


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    molecules = [made(key, seed=number) for number, key in enumerate(KEYS[:3])]
    with_set = writer(tmp_path)
    assert with_set.add_chunks([Chunk(0, molecules[:2]), Chunk(1, molecules[2:])]) == 3
    failure = Label(molecules[1].inchikey, molecules[1].geometry, failure="chemistry: the SCF did not\nconverge")
    with_set.add_labels(TRIAGE, [label(molecules[2], 9.5), failure], {"pyscf": "2.14"})
    found = load(tmp_path)
    assert len(found) == 3
    assert [key.decode() for key in found.inchikeys] == KEYS[:3]
    assert found.columns["coordinates"][found.atoms(1)] == pytest.approx(molecules[1].molecule.coordinates, abs=1e-5)
    assert found.bonds(2).tolist() == [[0, 1, 1], [0, 2, 1]]
    assert found.columns["gfn2_orbital_energies_ev"][0] == pytest.approx(molecules[0].electronic.orbital_energies_ev)
    assert found.columns["gfn2_homo_populations"][found.atoms(2)].sum() == pytest.approx(1, abs=2e-3)
    triage = found.of_level("triage")
    assert triage is not None
    assert triage.there.tolist() == [False, False, True]
    assert triage.gap_ev[2] == pytest.approx(9.5)
    assert triage.mulliken_e[found.atoms(2)] == pytest.approx([-0.6, 0.3, 0.3], abs=1e-3)
    assert triage.failures == {1: "chemistry: the SCF did not converge"}
    assert found.of_level("wide") is None


def test_a_set_is_added_to_and_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    first, second = made(KEYS[0], seed=1), made(KEYS[1], seed=2)
    begun = writer(tmp_path)
    begun.add_chunks([Chunk(0, [first])])
    begun.add_labels(TRIAGE, [label(first, 5.0)], {})
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    again = writer(tmp_path)
    assert again.manifest["pool"]["next_chunk"] == 1
    assert again.add_chunks([Chunk(1, [made(KEYS[0], seed=7), second])]) == 1
    assert [key for key, _ in again.unlabelled(TRIAGE)] == [(second.inchikey, second.geometry)]
    again.add_labels(TRIAGE, [label(first, 5.0)], {})  # known: no new shard
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.npz") if path.name in before} == before
    assert len(list(tmp_path.glob("triage-*.npz"))) == 1
    again.add_labels(TRIAGE, [Label(second.inchikey, second.geometry, failure="poison: x")], {})
    assert not writer(tmp_path).unlabelled(TRIAGE)
    assert "| 1 | 1 |" in (tmp_path / "README.md").read_text()


def test_geometries_survive_a_restart_to_the_bit(tmp_path: Path) -> None:
    """The queue recognises a calculation by its coordinates."""
    one = made(KEYS[0])
    writer(tmp_path).add_chunks([Chunk(0, [one])])
    ((_, molecule),) = writer(tmp_path).unlabelled(TRIAGE)
    assert (molecule.coordinates == one.molecule.coordinates).all()
    assert molecule.coordinates.dtype == np.float64


def test_another_pool_or_seed_is_refused(tmp_path: Path) -> None:
    writer(tmp_path).add_chunks([Chunk(0, [made(KEYS[0])])])
    with pytest.raises(InputError, match=r"begun with pool generated and seed 0.*another name"):
        writer(tmp_path, seed=1)


@pytest.mark.parametrize("change", ["altered", "missing"])
def test_a_damaged_shard_is_an_error_with_its_name(tmp_path: Path, change: str) -> None:
    writer(tmp_path).add_chunks([Chunk(0, [made(KEYS[0])])])
    shard = tmp_path / "molecules-00000.npz"
    if change == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"molecules-00000\.npz"):
        load(tmp_path)


def test_gaps_in_the_wrong_unit_are_noticed(tmp_path: Path) -> None:
    one = made(KEYS[0])
    begun = writer(tmp_path)
    begun.add_chunks([Chunk(0, [one])])
    begun.add_labels(TRIAGE, [label(one, 150.0)], {})  # kcal/mol, say
    with pytest.raises(DataError, match=r"median gap is 150; in eV it lies between 0.1 and 20"):
        load(tmp_path)


def test_contradicting_labels_and_double_molecules_are_errors(tmp_path: Path) -> None:
    one = made(KEYS[0])
    begun = writer(tmp_path)
    begun.add_chunks([Chunk(0, [one])])
    for gap in (5.0, 5.2):
        begun.labelled.clear()
        begun.add_labels(TRIAGE, [label(one, gap)], {})
    with pytest.raises(DataError, match=r"two labels, 5\.0000 and 5\.2000 eV"):
        load(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"] = manifest["shards"][:1] * 2
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="1 molecules are stored twice"):
        load(tmp_path)


def test_a_label_without_a_molecule_is_an_error(tmp_path: Path) -> None:
    begun = writer(tmp_path)
    begun.add_chunks([Chunk(0, [made(KEYS[0])])])
    begun.add_labels(TRIAGE, [label(made(KEYS[1]), 5.0)], {})
    with pytest.raises(DataError, match=f"the label of {KEYS[1]} has no molecule"):
        load(tmp_path)


def test_labels_of_a_changed_level_are_apart(tmp_path: Path) -> None:
    one = made(KEYS[0])
    finer = LevelOfTheory(**{**TRIAGE.model_dump(), "grid": 3})
    begun = writer(tmp_path)
    begun.add_chunks([Chunk(0, [one])])
    begun.add_labels(TRIAGE, [label(one, 5.0)], {})
    assert begun.unlabelled(finer)
    begun.add_labels(finer, [label(one, 5.1)], {})
    found = load(tmp_path)
    assert sorted(float(labels.gap_ev[0]) for labels in found.labels.values()) == pytest.approx([5.0, 5.1])
    newest = found.of_level("triage")
    assert newest is not None
    assert newest.gap_ev[0] == pytest.approx(5.1)


def test_geometries_in_steps_are_within_half_a_step_and_hashes_tell_them_apart() -> None:
    coordinates = np.random.default_rng(0).normal(0, 4, (20, 3))
    steps = in_steps(coordinates + 100)
    assert in_angstrom(steps) == pytest.approx(coordinates - coordinates.mean(0), abs=2.6e-4)
    numbers = np.full(20, 6, np.uint8)
    moved = steps.copy()
    moved[3, 1] += 1
    assert len({geometry_hash(numbers, steps), geometry_hash(numbers, moved), geometry_hash(numbers + 1, steps)}) == 3
    with pytest.raises(DataError, match="too large"):
        in_steps(np.array([[0, 0, 0], [0, 0, 40.0]]))


def test_text_columns() -> None:
    lines = ["", "C#N", "two\nlines", "é"]
    assert as_lines(as_text(lines), 4) == ["", "C#N", "two lines", "é"]
    assert as_lines(as_text([]), 0) == []
    with pytest.raises(DataError, match="4 lines for 5 rows"):
        as_lines(as_text(lines), 5)


def test_held_out_molecules_are_known_with_their_stereoisomers() -> None:
    assert is_excluded("LIKMAJRDDDTEIG-UHFFFAOYSA-N")  # 1-hexene
    assert is_excluded("LIKMAJRDDDTEIG-ABCDEFGHIJ-N")
    assert not is_excluded("UHOVQNZJYSORNB-UHFFFAOYSA-N")  # benzene
