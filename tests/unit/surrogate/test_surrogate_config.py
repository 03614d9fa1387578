"""The configuration: what ships is right, and whatever is wrong is named."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gapsmith.core.errors import InputError
from gapsmith.core.units import UNITS, base_unit
from gapsmith.surrogate.config import FOLDER, load, parse
from gapsmith.surrogate.layers import LAYERS
from gapsmith.surrogate.quantities import quantities
from gapsmith.surrogate.trainable import build


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.glob("*.yaml")))
def test_what_ships_is_valid_and_survives_a_card(name: str) -> None:
    config = load(FOLDER / name)
    again = parse(json.loads(json.dumps(config.as_dict(), sort_keys=True)))
    assert again == config
    assert list(again.heads) == list(config.heads)  # the order of what calibration stores
    assert config.column("gap") == "gap_ev"


def test_json_does_where_yaml_is_missing(small: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(small.configuration()))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small.configuration()))
    assert load(tmp_path / "c.json") == load(tmp_path / "c.yaml")


def put(place: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        place = place[section]
    place[key] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("trunk.layerz", 3, r"trunk: 'layerz' is unknown; did you mean 'layer"),
        ("trunks", {}, "the configuration: 'trunks' is unknown; did you mean 'trunk'"),
        ("trunk.layer", "pain", r"trunk\.layer: 'pain' is unknown; did you mean 'painn'"),
        ("trunk.layers", 0, r"trunk\.layers must be a whole number from 1 to 1000000, got 0"),
        ("trunk.layers", 2.5, r"trunk\.layers must be a whole number"),
        ("trunk.layers", True, r"trunk\.layers must be a whole number"),
        ("trunk.features", "16", r"trunk\.features must be a whole number"),
        ("trunk.cutoff_angstrom", -1, r"trunk\.cutoff_angstrom must be a number above 0\.5"),
        ("trunk.cutoff_angstrom", float("nan"), r"trunk\.cutoff_angstrom must be a number"),
        ("trunk.attention_heads", 3, r"trunk\.features must be a multiple of 3"),
        ("training.ema_decay", 1.0, r"training\.ema_decay must be a number at least 0 and below 1"),
        ("ensemble.bootstrap", "yes", r"ensemble\.bootstrap must be true or false"),
        ("heads.gap.unit", "ev", r"heads\.gap\.unit: 'ev' is unknown; did you mean 'eV'"),
        ("heads.gap.unit", "D", r"heads\.gap\.unit: D is not a unit of energy; use eV or meV or hartree"),
        ("heads.gap.level", "node", r"heads\.gap\.level: a gap is predicted per graph"),
        ("heads.gap.weight", 0, r"heads\.gap\.weight must be a number above 0"),
        ("heads.gap.sources", ["qm8"], r"heads\.gap\.sources: 'qm8' is unknown; did you mean 'qm9'"),
        ("heads.gap.sources", ["gfn2"], r"heads\.gap\.sources: gfn2 has no labels of gap; it has gfn2_gap"),
        ("heads.gap.sources", "qm9", r"heads\.gap\.sources must be a list"),
        ("heads.dipol", {}, r"heads: 'dipol' is unknown; did you mean 'dipole'"),
        ("sources.qm8", {}, r"sources: 'qm8' is unknown; did you mean 'qm9'"),
        ("sources.qm9.share", 0, r"sources\.qm9\.share must be a number above 0"),
        ("heads", {}, "heads must hold at least one of"),
        ("trunk", None, "trunk must hold keys and values"),
    ],
)
def test_what_is_wrong_is_named(small: SimpleNamespace, path: str, value: Any, message: str) -> None:
    config = small.configuration()
    put(config, path, value)
    with pytest.raises(InputError, match=message):
        parse(config)


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *sections, key = name.split(".")
        for section in sections:
            config = config[section]
        del config[key]

    return change


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trunk", "the configuration lacks trunk"),
        ("trunk.layers", "trunk lacks layers"),
        ("heads.gap", "heads lacks gap"),
        ("heads.homo", "heads lacks homo"),
        ("heads.gfn2_energy", "heads lacks gfn2_energy, whose gradient"),
        ("heads.gap.unit", r"heads\.gap lacks unit"),
        ("sources.gfn2", r"heads\.gfn2_gap\.sources: 'gfn2' is unknown"),
    ],
)
def test_what_is_missing_is_named(small: SimpleNamespace, name: str, message: str) -> None:
    config = small.configuration()
    drop(name)(config)
    with pytest.raises(InputError, match=message):
        parse(config)


def test_a_source_without_heads_is_refused(small: SimpleNamespace) -> None:
    config = small.configuration()
    for name in ("gfn2_gap", "gfn2_energy", "gfn2_forces"):
        del config["heads"][name]
    with pytest.raises(InputError, match=r"sources\.gfn2 trains no head"):
        parse(config)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    with pytest.raises(InputError, match=r"model\.yaml: no such file"):
        load(file)
    file.write_text("trunk: [")
    with pytest.raises(InputError, match=r"model\.yaml is not YAML"):
        load(file)
    file.write_text("trunk: 3")
    with pytest.raises(InputError, match=r"model\.yaml: the configuration lacks elements, ensemble"):
        load(file)


def test_too_many_members_are_refused(small: SimpleNamespace) -> None:
    config = small.configuration()
    config["ensemble"]["members"] = 65
    with pytest.raises(InputError, match="at most 64"):
        build(config)


def test_every_quantity_has_a_base_unit_and_layers_have_names() -> None:
    for label in quantities().values():
        assert base_unit(label.dimension).in_base == 1.0
    assert set(LAYERS) == {"painn", "equivariant_transformer"}


def test_units_agree_with_each_other() -> None:
    assert UNITS["hartree"].in_base / UNITS["meV"].in_base == pytest.approx(27211.386, rel=1e-7)
    assert UNITS["e*angstrom"].in_base == pytest.approx(4.80320, rel=1e-5)
    assert UNITS["angstrom^3"].in_base == pytest.approx(6.74833, rel=1e-5)
    assert UNITS["hartree/bohr"].in_base == pytest.approx(51.42207, rel=1e-6)
