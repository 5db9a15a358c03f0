"""What keeps a private release from leaving: the site learns why, the aggregator a code; nothing is lost."""

import errno
import os
import re
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import pytest
from private_site import KEY, TERMS, Colours, assert_settled, colour_space, write_private_site

from federation.errors import StoreError
from federation.identity import Identity
from site_agent import extraction, jobs
from site_agent.ledger import Charge, Ledger
from site_agent.policy import Policy

UNBOUNDED = {"moments": {"step": 2.0**-6}}


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    return write_private_site(tmp_path / "site")


def assert_nothing_happened(site):
    assert site.charges() == []
    for folder in ("pending", "standing", "releases"):
        assert not list(site.state.glob(f"{folder}/**/*.safetensors"))
    assert not any("patient-" in str(event) for event in site.events())


@pytest.mark.parametrize(
    ("budget", "terms", "code", "text"),
    [
        ({}, {"release_eps": 0.0}, "config", r"release_eps is 0.*more than 0"),
        ({}, {"eps": -1.0}, "config", r"eps is -1.*more than 0"),
        ({"eps": 0.0}, {}, "config", r"population.patients.eps is 0.*more than 0"),
        ({"delta": 0.2}, {}, "config", r"delta is 0.2, expected less than 1/5"),
        ({"delta": 0.15}, {}, "not-releasable", r"δ = 0.15 is not below 1/8"),
        ({}, {"release_eps": 7.0}, "config", r"release_eps means .* at most the budget of task.lungs itself"),
        ({"eps": 2.0}, {}, "config", r"eps means .* at most the budget of population.patients"),
        ({}, {"population": "others"}, "config", r'population is "others", expected patients'),
        ({}, {"population": None}, "config", r"population is missing"),
        ({}, {"modes": ["private", "open"], "open_because": "x"}, "config", r'both "open" and "private"'),
        ({}, {"minimum_patients": 9}, "not-releasable", r"has 8 patients, the policy asks for 9"),
        ({}, {"spaces": ["cd" * 32]}, "policy", r"does not allow space [0-9a-f]{64} \(colours\)"),
        ({}, {"sketches": ["histogram"]}, "policy", r"does not allow sketches of kind cdf"),
        ({}, {**dict.fromkeys(TERMS), "modes": ["listen"]}, "policy", r'allows only "listen"'),
    ],
)  # fmt: skip
def test_a_policy_that_forbids_it_is_explained_to_the_site_alone(site, budget, terms, code, text):
    site.set_policy(budget, **terms)
    assert site.refusal()[0] == code
    assert_nothing_happened(site)
    written = site.events()[-1]["text"]
    assert " → " in written
    assert re.search(text, written), written


def test_without_a_policy_nobody_is_answered(site):
    (site.folder / "policy.toml").unlink()
    code, text = site.refusal()
    assert (code, "`fedprint site init`" in text) == ("policy", True)
    assert_nothing_happened(site)


def test_another_aggregator_is_refused_before_and_after_a_release(site):
    assert site.refusal(aggregator="cd" * 32)[0] == "policy"
    assert_nothing_happened(site)
    site.release("job-1")
    assert "cd" * 6 in site.refusal("job-1", aggregator="cd" * 32)[1]


def test_pooling_that_the_policy_does_not_allow_is_refused(site):
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace('"private"', '"pooled"'))
    assert site.refusal()[0] == "policy"
    assert_nothing_happened(site)


def test_a_card_that_nobody_has_read_does_not_leave(site):
    (approval,) = (site.state / "approved-cards").iterdir()
    approval.unlink()
    code, text = site.refusal()
    assert (code, "fedprint site check SITE.toml --approve" in text) == ("policy", True)
    assert_nothing_happened(site)
    site.approve()
    site.release()


@pytest.mark.parametrize(
    ("space", "code", "text"),
    [
        (colour_space(preprocessing="paper"), "not-releasable", "preprocessing 'deterministic'"),
        (colour_space(kinds=UNBOUNDED), "policy", "moments"),
    ],
)
def test_a_space_without_a_bound_is_refused_before_an_image_is_read(site, monkeypatch, space, code, text):
    monkeypatch.setattr(extraction, "ImageStream", lambda *_, **__: pytest.fail("an image was read"))
    site.set_policy(sketches=["cdf", "histogram", "moments"])
    answered, written = site.refusal(space=space)
    assert (answered, text in written) == (code, True)
    assert_nothing_happened(site)


def test_whether_sums_overflow_is_no_answer_about_the_images(tmp_path):
    # A clip of 2^26 steps: few patients of weight 840 fit into 64 bits, many do not.
    space = colour_space(kinds={"moments": {"step": 2.0**-25, "clip": 2.0}})
    terms = {"images_per_patient": 8, "minimum_patients": 1, "sketches": ["moments"]}
    sites = [write_private_site(tmp_path / str(n), range(n), **terms) for n in (1, 40)]
    assert {site.refusal(space=space)[0] for site in sites} == {"budget"}


def test_a_network_whose_features_depend_on_the_batch_is_refused(site, monkeypatch):
    monkeypatch.setattr(Colours, "ignores_position", False)
    code, text = site.refusal()
    assert (code, "acceleration" in text) == ("not-releasable", True)
    assert_nothing_happened(site)


def test_new_patients_need_names_of_patients(site):
    table = site.folder / "labels.csv"
    table.write_text(table.read_text().replace(",patient\n", ",who\n").replace(",patient\r\n", ",who\r\n"))
    site.set_policy(refresh="new-patients")
    code, text = site.refusal()
    assert (code, "does not say whose images" in text) == ("not-releasable", True)
    assert_nothing_happened(site)
    site.set_policy(refresh="whole")
    site.release()


def test_a_passed_deadline_charges_nothing(site):
    assert site.refusal(deadline=1.0)[0] == "deadline"
    assert_nothing_happened(site)


def test_what_is_not_done_by_the_deadline_is_finished_and_sent_under_the_next_request(site, monkeypatch):
    now = time.time()

    class Slow(Colours):
        def __call__(self, images):
            monkeypatch.setattr(time, "time", lambda: now + 1000)
            return super().__call__(images)

    monkeypatch.setattr(jobs, "_extractor", lambda *_: Slow())
    late = site.release("job-1", deadline=now + 100)
    assert time.time() == now + 1000
    assert site.open().state.release("job-1", "lungs") == late
    assert site.refusal("job-1", deadline=now + 100)[0] == "deadline"
    assert site.release("job-2") == late
    assert len(site.charges()) == 1
    assert site.findings() == ()


def unreadable(site):
    for image in (site.folder / "images").iterdir():
        image.write_bytes(b"no image")


def without_table(site):
    (site.folder / "labels.csv").unlink()


def too_few(site):
    site.set_policy(minimum_patients=9)


def nameless(site):
    table = site.folder / "labels.csv"
    table.write_text(table.read_text().replace("patient-3", ""))
    site.set_policy(refresh="new-patients")


@pytest.mark.parametrize("harm", [unreadable, without_table, too_few, nameless])
def test_whatever_stands_against_it_in_the_data_the_aggregator_learns_the_same(site, harm):
    harm(site)
    code, text = site.refusal()
    assert (code, text.startswith("task lungs cannot be released: ")) == ("not-releasable", True)
    assert_nothing_happened(site)


def test_a_disk_that_is_full_while_sketching_is_no_answer_about_the_data(site, monkeypatch):
    def full(*_):
        raise StoreError("the disk is full", remedy="make room")

    monkeypatch.setattr(jobs, "exact_sketches", full)
    assert site.refusal()[0] == "store"
    assert_nothing_happened(site)


def test_a_spent_budget_says_when_there_is_room_and_reads_no_image(site, monkeypatch):
    site.set_policy(eps=1.0, refresh="whole")
    first = site.release("job-1")
    site.admit(range(8, 15))
    monkeypatch.setattr(jobs, "exact_sketches", lambda *_: pytest.fail("an image was read"))
    code, text = site.refusal("job-2")
    year = time.gmtime(time.time() + 365 * 86_400).tm_year
    assert code == "budget"
    assert f"there is room for it from {year}" in text
    assert (site.release("job-1"), len(site.charges())) == (first, 1)


def test_a_budget_that_never_returns_says_so(site):
    site.set_policy(eps=1.0, refresh="whole")
    policy = site.folder / "policy.toml"
    policy.write_text(policy.read_text().replace("period_days = 365\n", ""))
    site.release("job-1")
    site.admit(range(8, 15))
    assert "never has room for it" in site.refusal("job-2")[1]


def test_tasks_of_the_same_patients_draw_on_one_budget(site):
    ledger = Ledger.open(site.state, site.open().identity)
    task = Policy.read(site.folder / "policy.toml").task("lungs")
    shared = task.terms.population
    other = Charge("r", "j", "hearts", "patients", None, shared.limit - Fraction(1, 1000))
    ledger.charge(other, (shared, type(shared)(task.terms.task.scope, "hearts", shared.limit, 1e-6)))
    code, text = site.refusal()
    assert (code, text.startswith("population patients")) == ("budget", True)
    assert [charge.task for charge in site.charges()] == ["hearts"]


def cut(data):
    return data[: len(data) // 2]


def flipped(data):
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("harm", [None, cut, flipped])
@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.head"])
def test_a_lost_or_damaged_ledger_is_refused_until_it_is_restored(site, name, harm, running):
    site.set_policy(refresh="whole")
    site.release("job-1")
    site.admit(range(8, 15))
    path = site.state / name
    good = path.read_bytes()
    if harm is None:
        path.unlink()
    else:
        path.write_bytes(harm(good))
    if not running:
        site.forget_the_open_ledger()
    code, text = site.refusal("job-2")
    assert code == "ledger"
    assert "restore ledger.jsonl" in text
    path.write_bytes(good)
    site.release("job-2")
    assert len(site.charges()) == 2
    assert site.findings() == ()


def test_a_clock_that_went_backwards_is_refused_until_it_is_set(site):
    future = Ledger.open(site.state, site.open().identity, lambda: time.time() + 86_400)
    assert len(future.entries()) == 1
    code, text = site.refusal()
    assert (code, "set the clock" in text) == ("policy", True)
    assert_nothing_happened(site)


WRITES = [(os, "write"), (os, "fsync"), (Path, "replace"), (tempfile, "mkstemp"), (os, "open")]


def when_full(patch, site, room):
    """Ask on a disk with room for so many writes; return how many were tried."""
    tried = []
    for owner, name in WRITES:
        real = getattr(owner, name)

        def called(*args, name=name, real=real, **keywords):
            if name != "open" or args[1] & (os.O_WRONLY | os.O_RDWR):
                tried.append(name)
                if len(tried) > room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **keywords)

        patch.setattr(owner, name, called)
    try:
        return len(tried), site.ask("job-1").code
    except StoreError:  # not even the log could be written
        return len(tried), "store"
    finally:
        patch.undo()


@pytest.mark.parametrize("refresh", ["new-patients", "whole"])
def test_a_full_disk_at_any_write_sends_nothing_uncharged_and_loses_nothing(tmp_path, monkeypatch, refresh):
    site = write_private_site(tmp_path / "site", refresh=refresh, refresh_days=30)
    site.release_days_ago(31)
    site.admit(range(8, 15))
    rehearsal = site.copy_to(tmp_path / "rehearsal")
    rehearsal.release("job-1")
    for kept in (rehearsal.state / "sketches").iterdir():
        (site.state / "sketches" / kept.name).write_bytes(kept.read_bytes())
    room, code = 0, "store"
    while code == "store":
        full = site.copy_to(tmp_path / str(room))
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "_extractor", lambda *_: Colours())
            _, code = when_full(patch, full, room)
        assert_settled(full, 1, ("job-1", "job-2") if room % 2 else ("job-2", "job-1"))
        room += 1
    assert code == "done"
    assert room > 15


def test_no_key_of_the_site_is_in_any_message_or_log(site):
    site.release()
    key = (site.state / "identity.key").read_bytes()
    assert len(key) == 64
    assert key not in (site.state / "log.jsonl").read_bytes()
    assert KEY not in repr(Identity.load_or_create("anna", site.state / "identity.key"))
