"""Cohorts and pooled tasks in the policy file, and rounds that do not fit them."""

import hashlib
import re
import time
import tomllib
from copy import deepcopy
from dataclasses import replace
from importlib.resources import files

import pytest
import tomli_w

from federation.errors import ConfigError, PolicyError, RosterError
from federation.secagg.terms import Terms, roster_id
from federation.trust import TrustMode
from site_agent.policy import Policy

MEMBERS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("anna", "bern", "cork", "dorn")}
POLICY = {
    "schema": 1,
    "aggregator": {"public_keys": ["ab" * 32]},
    "population": {"patients": {"eps": 4.0, "delta": 1e-6}},
    "cohort": {
        "chests": {"members": MEMBERS},
        "skins": {"members": MEMBERS, "colluders": 0},
        "idle": {"members": MEMBERS},
    },
    "task": {
        "pneumonia": {
            "modes": ["listen", "pooled", "private"],
            "cohort": "chests",
            "population": "patients",
            "eps": 2.0,
            "release_eps": 1.0,
            "images_per_patient": 4,
            "minimum_patients": 100,
            "spaces": "any",
            "sketches": ["histogram"],
        },
        "moles": {
            "modes": ["pooled"],
            "cohort": "skins",
            "exact_sum_because": "collected for publication",
        },
    },
}
REMOVED = object()


def write(tmp_path, changes=()):
    content = deepcopy(POLICY)
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


def terms_for(members=MEMBERS, cohort="chests", **options):
    return Terms.for_cohort(
        "0f" * 16, cohort, members, {}, length=4, bound=9, expires=time.time() + 3600, **options
    )


@pytest.fixture
def cohort(tmp_path):
    return read(tmp_path).cohort("chests")


def test_a_cohort_has_members_and_the_most_colluders_unless_it_says_fewer(tmp_path):
    policy = read(tmp_path)
    assert policy.cohort("chests").members == MEMBERS
    assert (policy.cohort("chests").colluders, policy.cohort("skins").colluders) == (1, 0)
    assert policy.cohort("chests").roster_id == roster_id(MEMBERS)
    assert policy.cohort("chests").minimum == 3


def test_a_pooled_task_has_the_terms_of_a_release_with_noise(tmp_path):
    changes = {"task/pneumonia/modes": ["pooled"]}
    for policy in (read(tmp_path), read(tmp_path, changes)):
        task = policy.task("pneumonia")
        assert task.terms.images_per_patient == 4
        assert [budget.name for budget in task.budgets()] == ["patients", "pneumonia"]
        assert (task.cohort.name, task.exact_sum_because) == ("chests", "")
        assert [budget.name for budget in policy.budgets()] == ["patients", "pneumonia"]


def test_an_exact_sum_has_a_reason_and_no_terms(tmp_path):
    task = read(tmp_path).task("moles")
    assert (task.cohort.name, task.exact_sum_because) == ("skins", "collected for publication")
    with pytest.raises(PolicyError, match="allows no release with noise"):
        task.budgets()


def test_the_task_of_a_cohort_is_the_one_that_names_it(tmp_path):
    policy = read(tmp_path)
    assert policy.task_of_cohort("chests").name == "pneumonia"
    assert policy.task_of_cohort("skins").allows(TrustMode.POOLED)
    with pytest.raises(PolicyError, match="does not name a cohort knees"):
        policy.task_of_cohort("knees")
    with pytest.raises(PolicyError, match="no task be summed in cohort idle"):
        policy.task_of_cohort("idle")


def test_a_round_of_the_same_members_and_at_least_as_much_distrust_fits(cohort):
    cohort.require_terms(terms_for(), "anna", MEMBERS["anna"])
    replace(cohort, colluders=0).require_terms(terms_for(colluders=1), "bern", MEMBERS["bern"])


@pytest.mark.parametrize(
    ("terms", "error", "match"),
    [
        (terms_for(cohort="skins"), PolicyError, "about cohort skins, expected chests"),
        (terms_for(colluders=0), PolicyError, "bears 0 colluding members, the policy asks for 1"),
        (terms_for({k: v for k, v in MEMBERS.items() if k != "dorn"}), RosterError, "differ in dorn"),
        (terms_for(MEMBERS | {"elba": "0" * 64}), RosterError, "differ in elba"),
        (terms_for(MEMBERS | {"bern": "0" * 64}), RosterError, "differ in bern"),
        (
            terms_for(MEMBERS | {"bern": MEMBERS["cork"], "cork": MEMBERS["bern"]}),
            RosterError,
            "differ in bern, cork",
        ),
    ],
)
def test_other_rounds_are_refused(cohort, terms, error, match):
    with pytest.raises(error, match=match) as caught:
        cohort.require_terms(terms, "anna", MEMBERS["anna"])
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("site", "key", "match"),
    [
        ("elba", MEMBERS["anna"], "does not list elba"),
        ("anna", "0" * 64, f"lists anna with the key {MEMBERS['anna']}"),
    ],
)
def test_a_site_that_is_not_itself_in_the_cohort_takes_part_in_nothing(cohort, site, key, match):
    with pytest.raises(PolicyError, match=match):
        cohort.require_member(site, key)
    with pytest.raises(PolicyError, match=match):
        cohort.require_terms(terms_for(), site, key)


def test_many_members_are_too_many_for_an_exact_sum(tmp_path):
    members = {f"site-{n}": f"{n:064x}" for n in range(101)}
    with pytest.raises(ConfigError, match="cohort skins has 101 members, expected at most 100"):
        read(tmp_path, {"cohort/skins/members": members})
    assert len(read(tmp_path, {"cohort/chests/members": members}).cohort("chests").members) == 101


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"cohort/chests/members": REMOVED}, "cohort.chests.members is missing"),
        ({"cohort/chests/members": {}}, "cohort.chests: members are 0 sites, expected at least 3"),
        ({"cohort/chests/members": {k: MEMBERS[k] for k in ("anna", "bern")}}, "are 2 sites"),
        ({"cohort/chests/members/bern": MEMBERS["anna"]}, "cohort.chests: members has the same key twice"),
        ({"cohort/chests/members/bern": "12"}, '"12" is no key or id, expected 64'),
        ({"cohort/chests/members/Big Site": "0" * 64}, "'Big Site' is not allowed"),
        ({"cohort/chests/colluders": 2}, "cohort.chests: colluders is 2, expected at most 1 of 4 members"),
        ({"cohort/chests/colluders": -1}, "colluders is -1, expected at least 0"),
        ({"cohort/chests/colluders": True}, "cohort.chests.colluders"),
        ({"cohort/chests/threshold": 2}, "cohort.chests.threshold: unknown key"),
        ({"cohort/Che sts": {"members": MEMBERS}}, "'Che sts' is not allowed"),
        (
            {"task/pneumonia/cohort": REMOVED},
            'pneumonia: cohort is missing, expected since modes has "pooled"',
        ),
        ({"task/pneumonia/cohort": "knees"}, 'pneumonia.cohort is "knees", expected chests, idle, skins'),
        ({"task/pneumonia/cohort": "skins"}, 'cohort is "skins", which is that of task.pneumonia'),
        ({"task/pneumonia/modes": ["private"]}, 'cohort is given, but modes has no "pooled"'),
        ({"task/pneumonia/exact_sum_because": "x"}, "an exact sum undoes the noise"),
        ({"task/pneumonia/population": REMOVED}, "pneumonia: population is missing"),
        (
            {"task/pneumonia/modes": ["pooled"], "task/pneumonia/sketches": REMOVED},
            'sketches is missing, expected since modes has "pooled" and there is no exact_sum_because',
        ),
        ({"task/pneumonia/release_eps": 3.0}, "release_eps means .*ε 3 .*at most the budget of task"),
        (
            {"task/pneumonia/modes": ["pooled"], "task/pneumonia/refresh": "never"},
            'refresh is given, but modes has no "private"',
        ),
        (
            {"task/pneumonia/modes": ["pooled"], "task/pneumonia/levels": 1},
            'levels is given, but modes has no "private"',
        ),
        ({"task/moles/exact_sum_because": " "}, "moles: exact_sum_because is missing, expected words"),
        ({"task/moles/exact_sum_because": REMOVED}, "moles: population is missing"),
        ({"task/moles/eps": 1.0}, "moles: eps is given, but exact sums have no noise"),
        ({"task/moles/modes": ["listen"], "task/moles/cohort": REMOVED}, "exact_sum_because is given, but"),
        (
            {"task/moles/modes": ["pooled", "open"], "task/moles/open_because": "x"},
            'both "open" and "pooled", expected one of them',
        ),
    ],
)
def test_a_contradiction_about_sums_is_found_when_the_file_is_read(tmp_path, changes, match):
    with pytest.raises(ConfigError, match=match) as caught:
        read(tmp_path, changes)
    assert "nothing leaves" in caught.value.remedy


def test_a_file_without_cohorts_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"expected at least one \[cohort.NAME\]"):
        read(tmp_path, {"cohort": {}})


def test_the_commented_cohort_of_a_new_policy_is_valid_once_it_is_filled_in():
    text = files("site_agent").joinpath("policy.example.toml").read_text("utf-8")
    text = text[text.index("# [cohort.chests]") : text.index("# A public dataset")]
    lines = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# (\[|[\w-]+ = )", line)]
    content = tomllib.loads("\n".join(lines))
    members = content["cohort"]["chests"]["members"]
    assert content["cohort"]["chests"].pop("colluders") == 1
    for number, site in enumerate(members):
        members[site] = f"{number:064x}"
    head = {"schema": 1, "aggregator": {"public_keys": ["ab" * 32]}}
    task = Policy.model_validate(head | content).task_of_cohort("chests")
    assert task.exact_sum_because.startswith("why the sum may leave exactly")
