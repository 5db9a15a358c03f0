"""``fedprint site check``: what would leave, and what would be refused, without an image being read."""

import json

import pytest
from private_site import TERMS, Colours, write_private_site
from typer.testing import CliRunner

from federation.secagg.terms import roster_id
from site_agent import jobs
from site_agent.cli import app
from site_agent.data.table import FileSource


@pytest.fixture(autouse=True)
def no_image(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    return write_private_site(tmp_path / "site")


def check(site, *options, **answers):
    return CliRunner().invoke(app, ["check", str(site.folder / "site.toml"), *options], **answers)


def checked(site):
    """Exit status and the only task of the JSON."""
    result = check(site, "--json")
    found = json.loads(result.stdout)
    assert found["ok"] == (result.exit_code == 0)
    return result.exit_code, found["tasks"][0]


def codes(site):
    status, task = checked(site)
    assert status == (1 if task["problems"] else 0)
    return [problem["code"] for problem in task["problems"]]


def test_a_private_task_that_may_leave_says_what_would(site, monkeypatch):
    monkeypatch.setattr(FileSource, "load", lambda *_, **__: pytest.fail("an image was read"))
    status, task = checked(site)
    leaves = task["leaves"]
    assert (status, task["mode"], task["problems"]) == (0, "private", [])
    assert leaves["card"] == {"task": "lungs", "n_images": "what the noisy sketches say", "title": "Lungs"}
    assert 0.99 < leaves["eps"] <= 1
    assert (leaves["delta"], leaves["unit"], leaves["images_per_patient"]) == (1e-6, "patient", 2)
    # ρ ≈ 0.0243 is shared by two kinds: σ / Δ₂ = 1 / sqrt(2 ρ / 2).
    assert leaves["noise"]["histogram.counts"] == pytest.approx(6.41, abs=0.01)
    assert not (site.state / "ledger.jsonl").exists()


def test_people_read_it_in_words(site):
    text = check(site).stdout
    assert "anna/lungs: private" in text
    assert "noise in histogram.counts: its σ is 6.41 times what one patient can move it" in text
    assert text.endswith("anna: nothing would be refused\n")


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"minimum_patients": 9}, "not-releasable"),
        ({**dict.fromkeys(TERMS), "modes": ["listen"]}, "policy"),
    ],
)
def test_what_the_policy_forbids_is_found(site, terms, code):
    site.set_policy(**terms)
    assert codes(site) == [code]


def test_missing_images_patients_and_modes_are_found(site):
    (site.folder / "labels.csv").rename(site.folder / "elsewhere.csv")
    assert codes(site) == ["not-releasable"]
    text = (site.folder / "elsewhere.csv").read_text().replace(",patient", ",who", 1)
    (site.folder / "labels.csv").write_text(text)
    site.set_policy(refresh="new-patients")
    assert codes(site) == ["not-releasable"]
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace('"private"', '"pooled"'))
    assert codes(site) == ["policy"]


def test_a_pooled_task_says_with_whom_and_what_leaves(site):
    site.pool()
    status, task = checked(site)
    leaves = task["leaves"]
    assert (status, task["mode"], leaves["cohort"]) == (0, "pooled", "chests")
    assert list(leaves["members"]) == ["anna", "bern", "cork"]
    key = site.open().identity.public_key
    assert leaves["members"]["anna"] == f"{key[:16]}…"
    assert leaves["roster"] == roster_id(site.cohorts["chests"]["members"])
    assert 0.99 < leaves["eps"] <= 1
    assert leaves["noise"]["histogram.counts"] == pytest.approx(6.41, abs=0.01)
    text = check(site).stdout
    assert "sum: of 3 to 3 sites; fewer are not opened" in text
    assert "colluders: 0 of 3 members may work together with the aggregator" in text


def test_an_exact_sum_says_what_it_reveals(site):
    site.pool(**{**dict.fromkeys(TERMS), "modes": ["pooled"], "exact_sum_because": "a public dataset"})
    status, task = checked(site)
    assert (status, task["leaves"]["because"]) == (0, "a public dataset")
    assert "whether that patient is in one of the members' datasets" in task["leaves"]["reveals"]
    assert "eps" not in task["leaves"]


def test_a_cohort_that_knows_the_site_under_another_key_is_found(site):
    site.pool(members={"anna": "01" * 32, "bern": "02" * 32, "cork": "03" * 32})
    assert codes(site) == ["policy"]
    assert f"expected this site with its own key {site.open().identity.public_key}" in check(site).stdout


def test_a_pooled_task_needs_patients_and_budget(site):
    site.pool(minimum_patients=9)
    assert codes(site) == ["not-releasable"]
    site.set_policy(minimum_patients=5, modes=["private", "pooled"])
    file = site.folder / "site.toml"
    pooled = file.read_text()
    file.write_text(pooled.replace('"pooled"', '"private"'))
    site.release()
    site.set_policy(eps=1.2)
    file.write_text(pooled)
    assert codes(site) == ["budget"]


def test_a_policy_that_is_wrong_or_missing_concerns_the_whole_site(site):
    site.set_policy(release_eps=7.0)
    assert "would be refused" in check(site).stdout
    (site.folder / "policy.toml").unlink()
    found = json.loads(check(site, "--json").stdout)
    assert (found["ok"], [p["code"] for p in found["problems"]], found["tasks"]) == (False, ["policy"], [])


def test_ledger_and_budget_are_looked_at_but_a_release_that_stands_costs_nothing(site):
    site.set_policy(eps=1.0)
    site.release()
    assert codes(site) == []
    site.set_policy(refresh="whole")
    assert codes(site) == ["budget"]
    site.set_policy(refresh="never")
    (site.state / "ledger.head").unlink()
    assert codes(site) == ["ledger"]


@pytest.mark.parametrize(
    ("refresh", "words"),
    [
        ("never", "refresh: never: the first release stands\n"),
        ("new-patients", "released, however few, and the sum is published, when what stands is 30 days old"),
        ("whole", "paid for again, when what stands is 30 days old, whether or not the data have changed\n"),
    ],
)
def test_it_says_what_replaces_a_release_and_when(site, refresh, words):
    site.set_policy(refresh=refresh, refresh_days=30)
    assert words in check(site).stdout


def test_new_patients_that_follow_cost_nobody_twice(site):
    site.set_policy(eps=1.0, refresh="new-patients")
    site.release()
    assert codes(site) == []


def test_a_card_is_shown_and_approved_by_a_person(site):
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace("Lungs", "Lungs of adults"))
    assert codes(site) == ["policy"]
    refused = check(site, "--approve", input="n\n")
    assert (refused.exit_code, "title: Lungs of adults" in refused.stdout) == (1, True)
    assert check(site, "--approve", input="y\n").exit_code == 0
    assert codes(site) == []
    site.release()


def test_a_card_can_be_approved_without_a_question(site):
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace("Lungs", "Lungs of adults"))
    assert check(site, "--approve", "--yes").exit_code == 0


def test_listening_and_open_tasks_say_what_leaves(site):
    file = site.folder / "site.toml"
    private = file.read_text()
    file.write_text(private.replace('"private"', '"listen"'))
    assert checked(site) == (
        0,
        {"task": "lungs", "mode": "listen", "leaves": {}, "problems": [], "transfer": {}},
    )
    file.write_text(private.replace('"private"', '"open"'))
    site.set_policy(**{**dict.fromkeys(TERMS), "modes": ["open"], "open_because": "CC0"})
    status, task = checked(site)
    assert (status, task["leaves"]["because"]) == (0, "CC0")
    assert task["leaves"]["card"]["classes"] == {"ill": 8, "well": 8}
    assert task["leaves"]["card"]["n_images"] == 16
