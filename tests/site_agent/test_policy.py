"""The policy file: what it allows, and every way in which it can contradict itself."""

import math
import tomllib
from fractions import Fraction

import pytest
import tomli_w
from factories import make_space

from federation.errors import ConfigError, PolicyError
from federation.privacy.accounting import rho_for
from federation.trust import TrustMode
from site_agent.ledger import Scope
from site_agent.policy import Policy

KEY = "ab" * 32
SPACE = "cd" * 32
POLICY = f"""
schema = 1
[aggregator]
public_keys = ["{KEY}"]
[population.patients]
eps = 4.0
delta = 1e-6
period_days = 365
[task.pneumonia]
modes = ["listen", "private"]
population = "patients"
eps = 2.0
release_eps = 1.0
images_per_patient = 4
minimum_patients = 100
spaces = ["{SPACE}"]
sketches = ["histogram"]
refresh = "new-patients"
refresh_days = 30
[task.public-benchmark]
modes = ["open"]
open_because = "published as CC0 dataset X in 2019"
"""
REMOVED = object()


def write(tmp_path, changes=()):
    content = tomllib.loads(POLICY)
    for place, value in dict(changes).items():
        *tables, key = place.split("/")
        table = content
        for name in tables:
            table = table.setdefault(name, {})
        if value is REMOVED:
            del table[key]
        else:
            table[key] = value
    path = tmp_path / "policy.toml"
    path.write_text(tomli_w.dumps(content))
    return path


def read(tmp_path, changes=()):
    return Policy.read(write(tmp_path, changes))


def test_a_private_task_has_the_budget_of_its_population_and_its_own(tmp_path):
    population, own = read(tmp_path).task("pneumonia").budgets()
    assert (population.scope, population.name, population.limit) == (
        Scope.POPULATION,
        "patients",
        rho_for(4.0, 1e-6),
    )
    assert (own.scope, own.name, own.limit) == (Scope.TASK, "pneumonia", rho_for(2.0, 1e-6))
    assert (own.delta, own.period) == (population.delta, population.period) == (1e-6, 365 * 86_400)


def test_a_task_can_have_a_delta_and_a_period_of_its_own(tmp_path):
    changes = {"task/pneumonia/delta": 1e-5, "task/pneumonia/period_days": 30}
    population, own = read(tmp_path, changes).task("pneumonia").budgets()
    assert (own.delta, own.period, own.limit) == (1e-5, 30 * 86_400, rho_for(2.0, 1e-5))
    assert (population.delta, population.period) == (1e-6, 365 * 86_400)


def test_a_population_without_a_period_never_renews(tmp_path):
    assert read(tmp_path, {"population/patients/period_days": REMOVED}).budgets()[0].period is None


@pytest.mark.parametrize("written", ["1/20", 0.05, "0.05", "5e-2"])
def test_rho_is_the_exact_number_that_is_written(tmp_path, written):
    changes = {"population/patients/eps": REMOVED, "population/patients/rho": written}
    changes |= {"task/pneumonia/eps": REMOVED, "task/pneumonia/rho": "0.03"}
    changes |= {"task/pneumonia/release_eps": REMOVED, "task/pneumonia/release_rho": "1/100"}
    task = read(tmp_path, changes).task("pneumonia")
    assert [budget.limit for budget in task.budgets()] == [Fraction(1, 20), Fraction(3, 100)]
    assert task.release_rho == Fraction(1, 100)


def test_terms_of_a_private_release(tmp_path):
    terms = read(tmp_path).task("pneumonia").terms
    assert (terms.images_per_patient, terms.minimum_patients, terms.refresh) == (4, 100, "new-patients")
    assert terms.refresh_seconds == 30 * 86_400
    unsaid = {"task/pneumonia/refresh": REMOVED, "task/pneumonia/refresh_days": REMOVED}
    terms = read(tmp_path, unsaid).task("pneumonia").terms
    assert (terms.refresh, terms.refresh_seconds) == ("never", math.inf)


@pytest.mark.parametrize("refresh", ["new-patients", "whole"])
def test_every_request_may_be_due(tmp_path, refresh):
    changes = {"task/pneumonia/refresh": refresh, "task/pneumonia/refresh_days": 0}
    assert read(tmp_path, changes).task("pneumonia").terms.refresh_seconds == 0


def test_modes_that_a_task_may_be_released_in(tmp_path):
    policy = read(tmp_path)
    allowed = {name: [m.value for m in TrustMode if policy.task(name).allows(m)] for name in policy.tasks}
    assert allowed == {"pneumonia": ["listen", "private"], "public-benchmark": ["listen", "open"]}
    with pytest.raises(PolicyError, match='trust is "open", but the policy allows only "listen"'):
        policy.task("pneumonia").require(TrustMode.OPEN)


def test_a_task_that_the_policy_does_not_name_may_only_listen(tmp_path):
    task = read(tmp_path).task("unknown")
    assert [mode for mode in TrustMode if task.allows(mode)] == [TrustMode.LISTEN]
    with pytest.raises(PolicyError):
        task.budgets()
    with pytest.raises(PolicyError, match="does not allow space"):
        task.check_request(make_space(), KEY)


def test_requests_of_the_named_aggregator_in_a_named_space_are_allowed(tmp_path):
    space = make_space()
    task = read(tmp_path, {"task/pneumonia/spaces": [space.space_id]}).task("pneumonia")
    task.check_request(space, KEY)
    read(tmp_path, {"task/pneumonia/spaces": "any"}).task("pneumonia").check_request(space, KEY)
    read(tmp_path).task("public-benchmark").check_request(space, KEY)


@pytest.mark.parametrize(
    ("changes", "key", "match"),
    [
        ({}, "ef" * 32, "does not name the aggregator with the key efefefefefef"),
        ({}, KEY, "does not allow space"),
        ({"task/pneumonia/spaces": "any", "task/pneumonia/sketches": ["fisher"]}, KEY, "of kind histogram"),
    ],
)
def test_other_requests_are_refused(tmp_path, changes, key, match):
    with pytest.raises(PolicyError, match=match):
        read(tmp_path, changes).task("pneumonia").check_request(make_space(), key)


def test_without_a_policy_nothing_leaves(tmp_path):
    with pytest.raises(PolicyError, match=r"no policy .*, so nothing leaves .* → `fedprint site init`"):
        Policy.read(tmp_path / "policy.toml")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema": 2}, "schema is 2, expected 1"),
        ({"schema": REMOVED}, "schema is missing"),
        ({"extra": 1}, "extra: unknown key"),
        ({"aggregator": REMOVED}, "aggregator is missing"),
        ({"aggregator/public_keys": []}, r"aggregator.public_keys has 0 of at least 1"),
        ({"aggregator/public_keys": ["AB" * 32]}, r'public_keys.*"ABAB.*expected 64 lower-case hex'),
        ({"population/patients/eps": 0}, "population.patients.eps is 0.*, expected more than 0"),
        ({"population/patients/eps": -1.0}, "population.patients.eps is -1.0, expected more than 0"),
        ({"population/patients/eps": float("inf")}, "population.patients.eps"),
        ({"population/patients/eps": True}, "population.patients.eps is true, expected a number"),
        ({"population/patients/eps": REMOVED}, "population.patients: neither eps nor rho is given"),
        ({"population/patients/rho": "1/20"}, "population.patients: both eps and rho are given"),
        ({"population/patients/rho": "1/0"}, "population.patients.rho: 1/0 is no amount"),
        ({"population/patients/rho": "0"}, "population.patients.rho: 0 is no amount"),
        ({"population/patients/rho": True}, "population.patients.rho: True is no amount"),
        ({"population/patients/rho": "much"}, "population.patients.rho: much is no amount"),
        ({"population/patients/delta": REMOVED}, "population.patients.delta is missing"),
        ({"population/patients/delta": 0.01}, r"population.patients.delta is 0.01, expected less than 1/100"),
        ({"population/patients/period_days": 0}, "period_days is 0.*, expected more than 0"),
        ({"population/patients/perod": 1}, "population.patients.perod: unknown key"),
        ({"population/Pat ients": {"eps": 1.0, "delta": 1e-6}}, "name 'Pat ients' is not allowed"),
        ({"task/pneumonia/modes": []}, "task.pneumonia.modes has 0 of at least 1"),
        ({"task/pneumonia/modes": ["secret"]}, 'task.pneumonia.modes.* is "secret", expected .listen'),
        (
            {"task/pneumonia/modes": ["listen"]},
            'pneumonia: population is given, but modes has no "private"',
        ),
        (
            {"task/pneumonia/modes": ["private", "open"], "task/pneumonia/open_because": "x"},
            "expected one of them",
        ),
        ({"task/pneumonia/population": REMOVED}, "task.pneumonia: population is missing"),
        ({"task/pneumonia/population": "mice"}, 'task.pneumonia.population is "mice", expected patients'),
        ({"task/pneumonia/eps": REMOVED}, "task.pneumonia: neither eps nor rho is given"),
        ({"task/pneumonia/rho": 0.1}, "task.pneumonia: both eps and rho are given"),
        (
            {"task/pneumonia/eps": 5.0},
            r"pneumonia.eps means .*ε 5 .*at most the budget of population.patients",
        ),
        (
            {"task/pneumonia/release_eps": 3.0},
            "pneumonia.release_eps means .*ε 3 .*at most the budget of task",
        ),
        ({"task/pneumonia/release_eps": REMOVED}, "neither release_eps nor release_rho is given"),
        ({"task/pneumonia/release_rho": "1/1000"}, "both release_eps and release_rho are given"),
        ({"task/pneumonia/delta": 0.5}, r"task.pneumonia.delta is 0.5, expected less than 1/100"),
        ({"task/pneumonia/images_per_patient": REMOVED}, "images_per_patient is missing"),
        ({"task/pneumonia/images_per_patient": 17}, "images_per_patient is 17, expected at most 10"),
        ({"task/pneumonia/images_per_patient": 0}, "images_per_patient is 0, expected at least 1"),
        ({"task/pneumonia/minimum_patients": REMOVED}, "minimum_patients is missing"),
        ({"task/pneumonia/minimum_patients": 2_000_000}, "delta is 1e-06, expected less than 1/2000000"),
        ({"task/pneumonia/spaces": []}, 'spaces: expected "any" or a list of at least one space id'),
        ({"task/pneumonia/spaces": "all"}, 'spaces: expected "any" or a list'),
        ({"task/pneumonia/spaces": ["12"]}, 'spaces: "12" is no key or id, expected 64'),
        ({"task/pneumonia/spaces": REMOVED}, "task.pneumonia: spaces is missing"),
        ({"task/pneumonia/sketches": ["histogramm"]}, '"histogramm" is no kind of sketch, expected some of'),
        ({"task/pneumonia/sketches": REMOVED}, "task.pneumonia: sketches is missing"),
        ({"task/pneumonia/refresh": "daily"}, 'task.pneumonia.refresh is "daily", expected .never.'),
        ({"task/pneumonia/refresh_days": REMOVED}, 'refresh_days is missing.*refresh is "new-patients"'),
        (
            {"task/pneumonia/refresh": "whole", "task/pneumonia/refresh_days": REMOVED},
            'refresh_days is missing.*refresh is "whole"',
        ),
        ({"task/pneumonia/refresh": "never"}, 'refresh_days is given, but refresh is "never"'),
        ({"task/pneumonia/refresh": REMOVED}, 'refresh_days is given, but refresh is "never"'),
        ({"task/pneumonia/refresh_days": -1.0}, "refresh_days is -1.0, expected at least 0"),
        ({"task/pneumonia/refresh_days": float("inf")}, "pneumonia.refresh_days"),
        ({"task/pneumonia/refresh_days": True}, "refresh_days is true, expected a number"),
        ({"task/public-benchmark/refresh_days": 30}, 'refresh_days is given, but modes has no "private"'),
        ({"task/pneumonia/open_because": "x"}, 'open_because is given, but modes has no "open"'),
        ({"task/public-benchmark/open_because": REMOVED}, "task.public-benchmark: open_because is missing"),
        ({"task/public-benchmark/open_because": "  "}, "task.public-benchmark: open_because is missing"),
        ({"task/public-benchmark/eps": 1.0}, 'eps is given, but modes has no "private"'),
    ],
)
def test_a_contradiction_is_found_when_the_file_is_read(tmp_path, changes, match):
    path = write(tmp_path, changes)
    with pytest.raises(ConfigError, match=match) as caught:
        Policy.read(path)
    assert caught.value.problem.startswith(f"{path}: ")
    assert "nothing leaves" in caught.value.remedy
