"""The commands ``fedprint site init`` and ``fedprint site ledger``."""

import json

import pytest
from ledgers import identity_in, keep_private_release
from typer.testing import CliRunner

from federation.errors import ConfigError, LedgerError, PolicyError, StoreError
from federation.trust import TrustMode
from site_agent.cli import app
from site_agent.config import SiteConfig
from site_agent.ledger import Charge, Ledger
from site_agent.policy import Policy


def run(*arguments, **options):
    return CliRunner().invoke(app, list(map(str, arguments)), **options)


def fill_in(policy):
    text = policy.read_text()
    assert "public_keys = []" in text
    policy.write_text(
        text.replace("public_keys = []", f'public_keys = ["{"ab" * 32}"]').replace(
            "spaces = []", 'spaces = "any"'
        )
    )


@pytest.fixture
def site(tmp_path):
    """A site with one charged release."""
    assert run("init", tmp_path / "site", "--name", "st-anna").exit_code == 0
    fill_in(tmp_path / "site" / "policy.toml")
    state = tmp_path / "site" / "state"
    task = Policy.read(tmp_path / "site" / "policy.toml").task("pneumonia-cxr")
    ledger = Ledger.open(state, identity_in(state))
    rho = task.release_rho
    ledger.charge(Charge("r", "job-7", "pneumonia-cxr", "patients", None, rho), task.budgets())
    return tmp_path / "site" / "site.toml"


def test_a_site_is_named_by_its_file_or_its_folder(site):
    assert SiteConfig.read(site.parent) == SiteConfig.read(site)
    assert run("ledger", "show", site.parent).stdout == run("ledger", "show", site).stdout


def test_init_writes_files_that_our_own_readers_accept_once_filled_in(tmp_path):
    result = run("init", tmp_path / "st-anna")
    config = SiteConfig.read(tmp_path / "st-anna" / "site.toml")
    identity = identity_in(config.state)
    assert (result.exit_code, config.name) == (0, "st-anna")
    assert f"public key of st-anna: {identity.public_key}" in result.stdout
    with pytest.raises(ConfigError, match=r"public_keys has 0 of at least 1 .*spaces: expected \"any\" or"):
        Policy.read(tmp_path / "st-anna" / "policy.toml")
    fill_in(tmp_path / "st-anna" / "policy.toml")
    policy = Policy.read(tmp_path / "st-anna" / "policy.toml")
    (dataset,) = config.dataset
    assert policy.task(dataset.task).allows(TrustMode.PRIVATE)
    policy.task(dataset.task).require(config.mode(dataset))


def test_init_never_overwrites(tmp_path):
    (tmp_path / "policy.toml").write_text("mine")
    result = run("init", tmp_path, "--name", "a")
    assert isinstance(result.exception, ConfigError)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"policy.toml": "mine"}


def test_init_refuses_a_name_that_is_none(tmp_path):
    assert isinstance(run("init", tmp_path / "No Name").exception, ConfigError)
    assert not (tmp_path / "No Name").exists()


def test_show_prints_budgets_and_entries(site):
    text = run("ledger", "show", site).stdout
    assert "population patients (all its tasks), per 365 days" in text
    assert "at one release of this size every 30 days: 2 more" in text
    assert "job-7" in text


def test_show_prints_json(site):
    shown = json.loads(run("ledger", "show", site, "--json").stdout)
    population, task = shown["budgets"]
    assert (population["scope"], population["name"], task["name"]) == (
        "population",
        "patients",
        "pneumonia-cxr",
    )
    assert task["spent"] == task["release"]
    assert task["remaining"]["eps"] == pytest.approx(1.7, abs=0.1)
    assert task["n_more"] == 2
    assert [entry["kind"] for entry in shown["entries"]] == ["start", "charge"]
    assert shown["entries"][1]["previous"] == shown["entries"][0]["hash"]


def test_show_needs_a_policy_and_a_key_and_makes_neither(site):
    (site.parent / "policy.toml").unlink()
    assert isinstance(run("ledger", "show", site).exception, PolicyError)
    (site.parent / "state" / "identity.key").unlink()
    assert isinstance(run("ledger", "verify", site).exception, StoreError)
    assert not (site.parent / "state" / "identity.key").exists()


def test_verify_says_that_a_ledger_is_whole(site):
    result = run("ledger", "verify", site)
    assert (result.exit_code, result.stdout) == (0, "2 entries, 0 releases: the ledger is whole\n")


def test_verify_says_what_is_wrong_and_fails(site):
    keep_private_release(site.parent / "state")
    result = run("ledger", "verify", site)
    assert result.exit_code == 1
    assert "lungs.safetensors names an entry that is not in this ledger" in result.stdout
    assert result.stdout.endswith("2 entries, 1 releases: 1 things are wrong\n")
    shown = json.loads(run("ledger", "verify", site, "--json").stdout)
    assert (shown["ok"], len(shown["findings"])) == (False, 1)


def test_restart_asks_and_then_counts_everything_as_spent(site):
    (site.parent / "state" / "ledger.jsonl").unlink()
    assert isinstance(run("ledger", "show", site).exception, LedgerError)
    assert "nothing was changed" in run("ledger", "restart", site, input="n\n").stdout
    assert isinstance(run("ledger", "show", site).exception, LedgerError)
    assert run("ledger", "restart", site, input="y\n").exit_code == 0
    shown = json.loads(run("ledger", "show", site, "--json").stdout)
    assert [budget["remaining"]["rho"] for budget in shown["budgets"]] == ["0", "0"]
    assert shown["entries"][0]["kind"] == "restart"
    assert run("ledger", "verify", site).exit_code == 0


def test_show_goes_on_with_the_series_of_the_last_cohort(site):
    policy = site.parent / "policy.toml"
    policy.write_text(
        policy.read_text().replace('refresh = "never"', 'refresh = "new-patients"\nrefresh_days = 30')
    )
    state, task = site.parent / "state", Policy.read(policy).task("pneumonia-cxr")
    ledger = Ledger.open(state, identity_in(state))
    rest = ledger.remaining(task.budgets()[1])
    ledger.charge(Charge("s", "job-8", task.name, "patients", "space/cohort-1", rest), task.budgets())
    shown = json.loads(run("ledger", "show", site, "--json").stdout)
    assert [budget["n_more"] for budget in shown["budgets"]] == [None, None]
