"""What a hub file may say about cohorts."""

from fractions import Fraction

import pytest
import tomli_w

from aggregator.cohort_config import CohortConfig
from aggregator.config import HubConfig
from federation.errors import ConfigError

SITES = ["anna", "bern", "cork"]
ENROLLED = [{"name": name, "public_key": f"{number:064x}"} for number, name in enumerate([*SITES, "dora"])]
NOISE = {"eps": 1.0, "delta": 1e-6, "images_per_patient": 4}


def read(tmp_path, *cohorts):
    path = tmp_path / "hub.toml"
    stated = [{"name": "chests", "task": "lungs", "sites": SITES} | cohort for cohort in cohorts]
    path.write_text(tomli_w.dumps({"consortium": "Test", "site": ENROLLED, "cohort": stated}))
    return HubConfig.read(path)


def test_a_cohort_without_budget_sums_exactly(tmp_path):
    [cohort] = read(tmp_path, {}).cohort
    assert (cohort.address, cohort.budget, cohort.has_noise) == ("chests/lungs", None, False)
    assert (cohort.max_patients, cohort.step_timeout_s, cohort.refresh_days) == (100_000, 120.0, None)


def test_a_budget_is_exact(tmp_path):
    [cohort] = read(tmp_path, {"rho": "1/20", "delta": 1e-6, "images_per_patient": 1}).cohort
    assert cohort.budget == Fraction(1, 20)
    [cohort] = read(tmp_path, {"rho": 0.1, "delta": 1e-6, "images_per_patient": 1}).cohort
    assert cohort.budget == Fraction(1, 10)
    [cohort] = read(tmp_path, NOISE).cohort
    assert Fraction(1, 100) < cohort.budget < Fraction(1, 10)


def test_a_cohort_survives_its_own_file():
    cohort = CohortConfig(name="a", task="b", sites=SITES, rho="1/3", delta=1e-6, images_per_patient=1)
    written = tomli_w.dumps(cohort.model_dump(mode="json", exclude_none=True))
    assert 'rho = "1/3"' in written
    assert CohortConfig.model_validate(cohort.model_dump(mode="json")) == cohort


MISTAKES = {
    "an unknown site": ({"sites": [*SITES, "emma"]}, "emma"),
    "two sites": ({"sites": SITES[:2]}, "3"),
    "a site twice": ({"sites": [*SITES, "anna"]}, "twice"),
    "the name of a site": ({"name": "dora"}, "name of a site"),
    "a bad name": ({"name": "Chests!"}, "not allowed"),
    "a bad task": ({"task": "a/b"}, "not allowed"),
    "two budgets": (NOISE | {"rho": 0.1}, "both eps and rho"),
    "a budget without delta": ({"eps": 1.0, "images_per_patient": 1}, "no delta"),
    "a budget without limit": ({"eps": 1.0, "delta": 1e-6}, "no images_per_patient"),
    "a limit without budget": ({"images_per_patient": 1}, "neither eps nor rho"),
    "no budget at all": ({"rho": 0, "delta": 1e-6, "images_per_patient": 1}, "no amount"),
    "too many colluders": ({"colluders": 1}, "at most 0"),
    "an unknown key": ({"epsilon": 1.0}, "epsilon"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(tmp_path, mistake):
    change, named = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=named):
        read(tmp_path, change)


def test_addresses_are_unique_and_one_cohort_has_one_roster(tmp_path):
    with pytest.raises(ConfigError, match="configured twice"):
        read(tmp_path, {}, {})
    with pytest.raises(ConfigError, match="different members"):
        read(tmp_path, {}, {"task": "hearts", "sites": [*SITES, "dora"]})
    assert len(read(tmp_path, {}, {"task": "hearts"}).cohort) == 2
