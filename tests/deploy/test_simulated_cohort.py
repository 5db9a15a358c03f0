"""``[[cohort]]`` in a federation file: who publishes a sum together, and what cannot be."""

import tomllib
from pathlib import Path

import pytest
from small_federation import write_small_federation

from aggregator.config import HubConfig
from deploy import cli
from deploy.federation_file import FederationConfig
from deploy.simulated_cohort import SimulatedCohort
from deploy.simulation import prepare
from federation.errors import ConfigError
from federation.identity import Identity

POOLED = ("pooled",) * 3
COHORT = """
[[cohort]]
name = "ward"
task = "digits"
sites = ["anna", "bern", "cork"]
"""
NOISY = COHORT + 'eps = 1.0\nimages_per_patient = 1\nunit = "image"\ndelta = 1e-6\n'
EXACT = COHORT + 'exact_because = "these are public digits"\n'


def read(folder, extra=NOISY, trusts=POOLED):
    return FederationConfig.read(write_small_federation(folder, extra=extra, trusts=trusts))


def refused(folder, message, extra=NOISY, trusts=POOLED):
    with pytest.raises(ConfigError, match=message):
        read(folder, extra, trusts)


def policies(prepared):
    return [tomllib.loads((path.parent / "policy.toml").read_text()) for path in prepared.site_files]


def test_every_policy_names_the_keys_of_all_members_and_the_budget_of_the_file(tmp_path):
    prepared = prepare(read(tmp_path))
    keys = {
        p.parent.name: Identity.load_or_create("", p.parent / "identity.key") for p in prepared.site_files
    }
    for policy in policies(prepared):
        assert policy["cohort"] == {"ward": {"members": {site: key.public_key for site, key in keys.items()}}}
        task = policy["task"]["digits"]
        assert (task["modes"], task["cohort"], task["population"]) == (["pooled"], "ward", "patients")
        assert (task["release_eps"], task["eps"], task["minimum_patients"]) == (1.0, 4.0, 50)
        assert policy["population"]["patients"]["eps"] == 4.0


def test_an_exact_cohort_has_words_in_the_policy_and_no_budget(tmp_path):
    for policy in policies(prepare(read(tmp_path, EXACT))):
        assert policy["task"]["digits"]["exact_sum_because"] == "these are public digits"
        assert "population" not in policy
        assert "eps" not in policy["task"]["digits"]


def test_the_hub_knows_the_cohort_but_not_the_words(tmp_path):
    (cohort,) = HubConfig.read(prepare(read(tmp_path, EXACT)).hub_file).cohort
    assert (cohort.name, cohort.task, cohort.sites) == ("ward", "digits", ("anna", "bern", "cork"))
    (cohort,) = HubConfig.read(prepare(read(tmp_path)).hub_file).cohort
    assert cohort.eps == 1.0


def test_colluders_are_in_policy_and_hub_file(tmp_path):
    prepared = prepare(read(tmp_path, NOISY + "colluders = 0\n"))
    assert all(policy["cohort"]["ward"]["colluders"] == 0 for policy in policies(prepared))
    assert HubConfig.read(prepared.hub_file).cohort[0].colluders == 0


def test_a_site_that_does_not_exist_is_refused(tmp_path):
    refused(tmp_path, "names zoo/digits, which is no site/task", NOISY.replace('"cork"', '"zoo"'))


def test_a_task_that_does_not_exist_is_refused(tmp_path):
    refused(tmp_path, "names anna/letters", NOISY.replace('"digits"', '"letters"'))


def test_a_member_that_does_not_pool_is_refused(tmp_path):
    refused(tmp_path, 'the trust of cork/digits is "listen"', trusts=("pooled", "pooled", "listen"))


def test_fewer_than_three_sites_are_refused(tmp_path):
    refused(tmp_path, "3", NOISY.replace(', "cork"', ""), ("pooled", "pooled", "open"))


def test_a_pooled_task_in_no_cohort_is_refused(tmp_path):
    refused(tmp_path, r'anna/digits has trust "pooled", but no \[\[cohort\]\]', "")


def test_a_task_in_two_cohorts_is_refused(tmp_path):
    refused(tmp_path, "is in the cohorts ward and other", NOISY + NOISY.replace("ward", "other"))


@pytest.mark.parametrize(
    ("name", "message"), [("ward", "two cohorts are named 'ward'"), ("anna", "both named 'anna'")]
)
def test_names_that_are_taken_are_refused(tmp_path, name, message):
    refused(
        tmp_path,
        message,
        NOISY + NOISY.replace("ward", name) if name == "ward" else NOISY.replace("ward", name),
    )


def test_a_sum_without_noise_needs_words(tmp_path):
    refused(tmp_path, "say in exact_because why it may", COHORT)
    refused(tmp_path, "say in exact_because why it may", COHORT + 'exact_because = " "\n')


def test_a_sum_with_noise_needs_none(tmp_path):
    refused(tmp_path, "exact_because is given, but the sum gets noise", NOISY + 'exact_because = "words"\n')


def test_a_cohort_dearer_than_the_policies_allow_is_refused(tmp_path):
    refused(
        tmp_path,
        r"expected at most that of privacy\.release_eps = 1",
        NOISY.replace("eps = 1.0", "eps = 1.5"),
    )


def test_more_images_per_patient_than_the_policies_allow_are_refused(tmp_path):
    refused(
        tmp_path,
        r"images_per_patient is 2, expected at most that of \[privacy\], 1",
        NOISY.replace("images_per_patient = 1", "images_per_patient = 2"),
    )


def test_the_example_of_a_cohort_is_valid_once_it_is_no_comment(tmp_path):
    example = Path(cli.__file__).parent / "federation.example.toml"
    text = example.read_text()
    commented = text[text.index("# [[cohort]]") :].replace("# exact_because", "## exact_because")
    table = "\n".join(line.removeprefix("# ") for line in commented.splitlines())
    (cohort,) = tomllib.loads(table)["cohort"]
    assert SimulatedCohort.model_validate(cohort).eps == 1.0
