"""Levels of theory as data: what a user may write, and what is refused with the place where it stands."""

from pathlib import Path

import pytest

from gapsmith.core.errors import InputError
from gapsmith.core.levels import GENERATED, GFN2, LevelOfTheory, Levels, shipped
from gapsmith.core.states import States


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_shipped_levels() -> None:
    names = ["xtb", "single-point", "triage", "wide", "wide-certificate", "certificate", "spectra", "excited"]
    assert list(shipped()) == names
    assert shipped()["xtb"].queue == "xtb"
    assert {level.queue for name, level in shipped().items() if name != "xtb"} == {"dft"}
    assert all(level.about for level in shipped().values())
    assert len({level.version for level in shipped().values()}) == len(names)


def test_labels_that_are_stored_in_the_repository_keep_their_level() -> None:
    """A new key must not change the identity of levels that do not use it, or all labels would be computed again."""
    assert shipped()["triage"].identity(GFN2) == "4c746a97af4e8dd4"


def test_what_is_said_of_excited_states_is_part_of_a_level() -> None:
    excited = shipped()["excited"]
    others = [States(), States(method="tda"), States(method="tda", number=6), States(method="tda", up_to_ev=6)]
    assert len({excited.model_copy(update={"states": one}).version for one in others}) == len(others)
    assert excited.model_copy(update={"states": States(method="tda")}).version == excited.version  # five, said or not


def test_a_user_adds_a_level_without_code(tmp_path: Path) -> None:
    path = write(tmp_path, "levels:\n  big:\n    extends: certificate\n    basis: def2-tzvp\n    memory_mb: 9000\n")
    level = Levels.load(path)["big"]
    assert (level.basis, level.memory_mb, level.method) == ("def2-tzvp", 9000, "b3lypg")
    assert level.relaxation == ("gfn2-xtb", "self")
    assert level.about == ""  # that of the certificate does not describe it
    assert level.own_geometry == "b3lypg/def2-tzvp"


def test_a_shipped_level_may_be_replaced_and_what_extends_it_follows(tmp_path: Path) -> None:
    path = write(tmp_path, "levels:\n  single-point: {engine: pyscf, method: pbe0, basis: def2-svp}\n")
    levels = Levels.load(path)
    assert levels["triage"].method == "pbe0"
    assert levels["triage"].version != shipped()["triage"].version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("levels:\n  a: {extends: triage, bassis: sto-3g}\n", r"level 'a': bassis: Extra inputs.*known keys: .*basis"),
        ("levels:\n  a: {extends: triage, grid: 12}\n", "level 'a': grid: .*less than or equal to 9"),
        ("levels:\n  a: {extends: triage, relaxation: [self, gfn2-xtb]}\n", "gfn2-xtb comes before self"),
        ("levels:\n  a: {extends: triage, properties: [orbitals, orbitals]}\n", "each may be named once"),
        ("levels:\n  a: {extends: triage, properties: [colour]}\n", r"properties\.0"),
        ("levels:\n  A b: {extends: triage}\n", "level 'A b': name"),
        ("levels:\n  a: {extends: b}\n  b: {extends: a}\n", "extends itself"),
        ("levels:\n  a: {extends: nothing}\n", "extends 'nothing', which is not there"),
        ("levels:\n  a: {method: pbe}\n", "level 'a': engine: Field required"),
        (
            "levels:\n  a: {extends: triage, method: b3lyp99x}\n",
            "no density functional 'b3lyp99x'; did you mean 'b3lyp'",
        ),
        ("levels:\n  a: {extends: triage, method: wb97x-d}\n", "no dispersion correction for 'wb97x-d'; wb97x-d3bj"),
        ("levels:\n  a: {extends: triage, method: pbe0-d3bk}\n", "correction 'd3bk' is not known; did you mean 'd3bj'"),
        ("levels:\n  a: {extends: triage, basis: def2-tvzp}\n", "basis: .*'def2-tvzp'; did you mean 'def2-tzvp'"),
        (
            "levels:\n  a: {extends: triage, density_fitting: def2-universal-jkft}\n",
            "did you mean 'def2-universal-jkfit'",
        ),
        ("levels:\n  a: {extends: triage, options: {solvent: water}}\n", "'solvent' is not known to the engine pyscf"),
        (
            "levels:\n  a: {extends: xtb, options: {solvation: alpb-water}}\n",
            "'solvation' is not known to the engine tblite",
        ),
        (
            "levels:\n  a: {extends: triage, solvent: {model: smd, name: tolune}}\n",
            "'tolune' is not known; .*'toluene'",
        ),
        (
            "levels:\n  a: {extends: triage, solvent: {model: alpb, name: water}}\n",
            "one of smd, pcm, ddcosmo with PySCF",
        ),
        ("levels:\n  a: {extends: xtb, solvent: {model: alpb, name: tolune}}\n", "does not know 'tolune'; .*'toluene'"),
        ("levels:\n  a: {extends: spectra, solvent: {model: pcm, name: water}}\n", "frequencies.* in a solvent"),
        ("levels:\n  a: {engine: pysfc, method: pbe}\n", "no engine is called 'pysfc'; did you mean 'pyscf'"),
        (
            "levels:\n  a: {extends: excited, states: {numbr: 3}}\n",
            "states.numbr: .*known keys: method, number, up_to_ev$",
        ),
        (
            "levels:\n  a: {extends: triage, states: {number: 3}}\n",
            "states: none are computed; list excitations or triplets",
        ),
        ("levels:\n  a: {extends: excited, states: {number: 0}}\n", "states.number: .*greater than 0"),
        ("levels:\n  a: {extends: excited, states: {method: cis}}\n", "states.method: .*'tddft' or 'tda'"),
        (
            "levels:\n  a: {extends: excited, states: {number: 3, up_to_ev: 6}}\n",
            "states: .*number or up_to_ev, not both",
        ),
        (
            "levels:\n  a: {extends: excited, solvent: {model: smd, name: water}}\n",
            "excitations, triplets cannot be computed in a solvent",
        ),
        ("levels: [a]\n", "must hold a mapping 'levels'"),
        ("level: {}\n", "must hold a mapping 'levels'"),
        ("levels: {}\nmore: 1\n", "unknown key 'more'"),
        ("levels: {\n", "is not YAML"),
        ("levels:\n  a: {extends: triage, 1: 2}\n", "the key 1 is not a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=words) as caught:
        Levels.load(path)
    assert str(path) in str(caught.value)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no level of theory is called 'ccsd'; there is: xtb, single-point"):
        shipped()["ccsd"]
    with pytest.raises(InputError, match="no such file"):
        Levels.load(tmp_path / "absent.yaml")


def test_definitions_survive_the_database() -> None:
    for level in shipped().values():
        again = LevelOfTheory.model_validate_json(level.model_dump_json())
        assert again == level
        assert again.version == level.version


def test_stages_that_a_geometry_has_behind_it_are_skipped() -> None:
    certificate = shipped()["certificate"]
    assert certificate.stages(GENERATED) == ("gfn2-xtb", "self")
    assert certificate.stages(GFN2) == ("self",)
    assert certificate.stages(certificate.own_geometry) == ()
    assert shipped()["single-point"].stages(GENERATED) == ()
    assert shipped()["xtb"].stages(GENERATED) == ("self",)
    assert shipped()["xtb"].stages(GFN2) == ()


@pytest.mark.parametrize(
    ("keys", "theory"),
    [
        ("extends: triage", "B3LYP/6-31G(2df,p)//GFN2-xTB"),
        ("extends: certificate", "B3LYP/6-31G(2df,p)//B3LYP/6-31G(2df,p)"),
        ("extends: triage, method: pbe0, basis: def2-svp", "PBE0/def2-SVP//GFN2-xTB"),
        ("extends: triage, method: r2SCAN, basis: aug-cc-pvtz", "r2SCAN/aug-cc-pVTZ//GFN2-xTB"),
        ("extends: triage, method: wB97X-D3BJ, basis: '6-311++g(d,p)'", "wB97X-D3BJ/6-311++G(d,p)//GFN2-xTB"),
        ("extends: xtb", "GFN2-xTB//GFN2-xTB"),
        ("extends: triage, method: b3lypg-d3bj", "B3LYP-D3BJ/6-31G(2df,p)//GFN2-xTB"),
        (
            "extends: triage, solvent: {model: smd, name: toluene}",
            "B3LYP/6-31G(2df,p)/SMD(toluene)//GFN2-xTB",
        ),
    ],
)
def test_a_level_is_written_as_the_field_writes_it(tmp_path: Path, keys: str, theory: str) -> None:
    level = Levels.load(write(tmp_path, f"levels:\n  mine: {{{keys}}}\n"))["mine"]
    assert level.theory == theory
    assert level.title == f"{theory} [mine {level.version[:8]}]"


def test_only_the_geometry_differs_or_the_level_does(tmp_path: Path) -> None:
    levels = Levels.load(
        write(
            tmp_path,
            "levels:\n  fine: {extends: certificate, grid: 5}\n"
            "  wet: {extends: triage, solvent: {model: pcm, name: water}}\n",
        )
    )
    assert levels["triage"].same_single_point(levels["certificate"])
    assert levels["triage"].same_single_point(levels["spectra"])
    assert not levels["triage"].same_single_point(levels["fine"])
    assert not levels["triage"].same_single_point(levels["wet"])
