"""Alerts and hazards: which molecules belong to which class, and how alerts are switched."""

import pytest
from rdkit import Chem

from gapsmith.core import alerts
from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.alerting import alert, hazard
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.screening import screen

ALL = alerts.chosen(("default",))


@pytest.mark.parametrize(
    ("smiles", "name"),
    [
        ("CCOOCC", "peroxide"),
        ("C1OOCO1", "peroxide"),
        ("CN=NN(C)C", "nitrogen-chain"),
        ("c1c[nH]nn1", "nitrogen-chain"),  # aromatic
        ("CN=[N+]=[N-]", "nitrogen-chain"),
        ("CON", "oxygen-nitrogen-chain"),
        ("CC=NO", "oxygen-nitrogen-chain"),
        ("c1cnoc1", "oxygen-nitrogen-chain"),  # aromatic
        ("CN(C)N=O", "oxygen-nitrogen-chain"),
        ("CC(=O)Cl", "acyl-halide"),
        ("CS(=O)(=O)F", "acyl-halide"),
        ("O=CC#C", "ynal"),
        ("C1CCC#CC1", "strained-alkyne"),
    ],
)
def test_unstable_groups(smiles: str, name: str) -> None:
    assert alert(Chem.MolFromSmiles(smiles), ALL) == name
    assert alert(Chem.AddHs(Chem.MolFromSmiles(smiles)), ALL) == name


@pytest.mark.parametrize(
    "smiles",
    [
        "CCO",
        "CC(=O)OC",
        "c1cn[nH]c1",  # two nitrogen atoms in a row
        "Cc1ccc([N+](=O)[O-])cc1",
        "CC(=O)NC",
        "FC(F)F",
        "CC#CC",
        "O=CCC#C",
        "CC(=O)C#C",  # a ketone
        "C1CCCC#CCC1",  # cyclooctyne can be kept in a bottle
        "OCO",
    ],
)
def test_common_molecules_are_left_alone(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert alert(mol, ALL) is None
    assert hazard(mol) is None


def test_alerts_are_switched_by_name() -> None:
    isoxazole = Chem.MolFromSmiles("c1cnoc1")
    for switches, expected in (
        (("default",), "alert: oxygen-nitrogen-chain"),
        ((), None),
        (("peroxide",), None),
        (("default", "-oxygen-nitrogen-chain"), None),
        (("-oxygen-nitrogen-chain", "default"), "alert: oxygen-nitrogen-chain"),
    ):
        refused = screen(isoxazole, identify(isoxazole), Constraints(alerts=switches))
        assert (None if refused is None else refused.text) == expected


@pytest.mark.parametrize(
    ("given", "words"), [(["peroxid"], "did you mean 'peroxide'"), (["-colour"], "known: default, peroxide")]
)
def test_an_unknown_alert_names_those_that_there_are(given: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Constraints.model_validate({"alerts": given})


def test_density_of_groups_is_what_makes_a_hazard() -> None:
    """One azide or nitro group in a larger molecule is everyday chemistry; the same in a small one is not."""
    assert hazard(Chem.MolFromSmiles("CN=[N+]=[N-]")) == "azide-density"
    assert hazard(Chem.MolFromSmiles("CCCCCCCCCCN=[N+]=[N-]")) is None
    assert hazard(Chem.MolFromSmiles("C[N+](=O)[O-]")) is None
    assert hazard(Chem.MolFromSmiles("O=[N+]([O-])CC[N+](=O)[O-]")) == "nitro-density"
    assert hazard(Chem.MolFromSmiles("CCCCCCCC([N+](=O)[O-])CCCCC[N+](=O)[O-]")) is None


@pytest.mark.parametrize("name", alerts.hazards())
def test_each_hazard_says_why_and_where_it_comes_from(name: str) -> None:
    one = alerts.hazards()[name]
    assert one.why
    assert one.source


def test_hazards_are_refused_unless_switched_off() -> None:
    mol = Chem.MolFromSmiles("C#N")  # in QM9
    refused = screen(mol, identify(mol), Constraints())
    assert refused is not None
    assert (refused.code, refused.text) == ("hazard", "hazard: toxic-gas")
    assert screen(mol, identify(mol), Constraints(hazards="off")) is None
