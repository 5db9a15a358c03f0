"""A private release: drawn once, charged once, and refreshed as the policy says."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from private_site import (
    SPACE,
    Colours,
    assert_settled,
    charged_id,
    colour_space,
    run_in_child,
    write_private_site,
)

from federation.fingerprint import Fingerprint
from federation.sketches import encode_arrays
from site_agent import jobs, private_release
from site_agent.ledger.spending import Outlay, spent
from site_agent.pending import ReleaseFiles
from site_agent.policy import Policy

NEWCOMERS = range(8, 15)


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def draws(monkeypatch):
    """What noise was added to, and what came out, draw by draw."""
    found, real = [], private_release.add_noise

    def add_noise(sketches, rho, weight, **spent):
        found.append((sketches, real(sketches, rho, weight, **spent)))
        return found[-1][1]

    monkeypatch.setattr(private_release, "add_noise", add_noise)
    return found


@pytest.fixture
def build(tmp_path):
    return lambda **terms: write_private_site(tmp_path / "site", **terms)


@pytest.fixture
def site(build):
    return build()


def spent_on_task(site):
    budget = Policy.read(site.folder / "policy.toml").task("lungs").terms.task
    return spent([Outlay.of(charge, 1e9) for charge in site.charges()], budget, 1e9)


def n_patients(sketches):
    """Patients in sketches where everybody counts twice."""
    return sketches["histogram"].n / 2


def assert_same_numbers(encoded, *parts):
    total = dict.fromkeys(encode_arrays(parts[0]), 0)
    for part in parts:
        total = {name: total[name] + array for name, array in encode_arrays(part).items()}
    published = encode_arrays(Fingerprint.from_bytes(encoded).sketches)
    for name, array in published.items():
        np.testing.assert_array_equal(array, total[name])


def test_the_statement_says_what_was_done_and_the_ledger_what_was_paid(site, draws):
    encoded = site.release()
    (charge,), ((_, noised),) = site.charges(), draws
    stated = Fingerprint.from_bytes(encoded).privacy
    assert_same_numbers(encoded, noised.sketches)
    assert (stated.mode, stated.unit, stated.images_per_patient, stated.weight) == (
        "private",
        "patient",
        2,
        2,
    )
    assert (stated.cohorts, stated.noise, stated.ledger_seq) == (1, noised.noise, 2)
    assert Fraction(stated.rho) == charge.rho == noised.rho
    assert 0.99 < stated.eps <= 1.0
    assert (charge.release_id, charge.job_id, charge.cohort) == (charged_id(encoded), "job-1", None)
    assert charge.mechanism["noise"] == noised.noise
    assert site.findings() == ()


def test_the_same_job_and_another_one_get_the_same_bytes_for_one_charge(site, draws):
    first = site.release("job-1")
    assert {site.release("job-1"), site.release("job-2"), site.release("job-2")} == {first}
    assert (len(draws), len(site.charges())) == (1, 1)
    assert [e["event"] for e in site.events()] == ["released", "sent-again"]


def test_a_stored_answer_needs_neither_images_nor_ledger(site):
    first = site.release()
    (site.folder / "labels.csv").unlink()
    (site.state / "ledger.jsonl").unlink()
    site.forget_the_open_ledger()
    assert site.release() == first


def test_jobs_at_once_in_threads_are_charged_once(site, draws):
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda number: site.release(f"job-{number}"), range(6)))
    assert len(set(answers)) == len(draws) == len(site.charges()) == 1


def test_jobs_at_once_in_processes_are_charged_once(site, tmp_path):
    rehearsal = site.copy_to(tmp_path / "rehearsal")
    rehearsal.release()
    (rehearsal.state / "sketches").rename(site.state / "sketches")
    site.forget_the_open_ledger()

    def four_at_once():
        with ThreadPoolExecutor(4) as threads:
            ended = threads.map(lambda n: run_in_child(lambda: site.release(f"job-{n}")), range(4))
        assert list(ended) == [0, 0, 0, 0]

    assert run_in_child(four_at_once) == 0
    assert_settled(site, 0, [f"job-{number}" for number in range(4)])


def test_a_job_id_cannot_be_used_for_another_space(site):
    site.release("job-1")
    code, text = site.refusal("job-1", space=colour_space("other"))
    assert (code, "another space" in text) == ("policy", True)
    assert len(site.charges()) == 1


def test_every_space_is_paid_for(site):
    first, second = site.release("job-1"), site.release("job-2", space=colour_space("other"))
    assert first != second
    assert spent_on_task(site) == sum(charge.rho for charge in site.charges())
    assert len(site.charges()) == 2


def test_what_was_released_openly_is_not_sent_again_once_the_task_is_private(site):
    file = site.folder / "site.toml"
    private = file.read_text()
    file.write_text(private.replace('"private"', '"open"'))
    keep = dict(site.terms)
    site.set_policy(**{**dict.fromkeys(keep), "modes": ["open"], "open_because": "published as CC0"})
    exact = site.release("job-1")
    file.write_text(private)
    site.set_policy(**keep, open_because=None)
    code, text = site.refusal("job-1")
    assert (code, "in mode open, which is private now" in text) == ("policy", True)
    assert site.release("job-2") != exact


def test_changed_words_leave_once_approved_with_the_noise_that_was_charged(site):
    first = Fingerprint.from_bytes(site.release("job-1"))
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace("Lungs", "Lungs of adults"))
    code, text = site.refusal("job-2")
    assert (code, "nobody at the site has approved" in text) == ("policy", True)
    site.approve()
    second = Fingerprint.from_bytes(site.release("job-2"))
    assert (second.card.title, second.card.n_images) == ("Lungs of adults", first.card.n_images)
    assert second.privacy == first.privacy
    assert_same_numbers(second.to_bytes(), first.sketches)
    assert site.release("job-3") == second.to_bytes()
    assert len(site.charges()) == 1
    assert site.findings() == ()


def test_never_the_first_release_stands_whatever_happens_to_the_data(site, draws):
    first = site.release("job-1")
    site.admit(NEWCOMERS)
    assert site.release("job-2") == first
    assert len(draws) == len(site.charges()) == 1


def test_whole_everybody_is_released_and_paid_for_again(build, draws):
    site = build(refresh="whole")
    first = site.release("job-1")
    site.admit(NEWCOMERS)
    second = site.release("job-2")
    assert_same_numbers(second, draws[1][1].sketches)
    assert [n_patients(exact) for exact, _ in draws] == [8, 15]
    assert spent_on_task(site) == sum(charge.rho for charge in site.charges())
    assert Fingerprint.from_bytes(second).privacy.cohorts == 1
    assert site.release("job-1") == first
    assert site.findings() == ()


def test_whole_other_terms_are_another_release(build):
    site = build(refresh="whole")
    first = site.release("job-1")
    site.set_policy(release_eps=2.0)
    assert site.release("job-2") != first
    assert len(site.charges()) == 2


@pytest.fixture
def series(build):
    return build(refresh="new-patients")


def test_new_patients_alone_are_sketched_and_charged_and_the_sum_is_published(series, draws):
    series.release("job-1")
    series.admit(NEWCOMERS)
    second = series.release("job-2")
    stated = Fingerprint.from_bytes(second).privacy
    assert [n_patients(exact) for exact, _ in draws] == [8, 7]
    assert_same_numbers(second, *(noised.sketches for _, noised in draws))
    assert stated.noise == {name: 2 * variance for name, variance in draws[0][1].noise.items()}
    charges = series.charges()
    assert (stated.cohorts, Fraction(stated.rho)) == (2, charges[0].rho)
    assert spent_on_task(series) == charges[0].rho == charges[1].rho
    assert (charged_id(second), series.findings()) == (charges[1].release_id, ())
    series.set_policy(refresh_days=30)
    assert series.release("job-3") == second
    assert len(series.charges()) == 2


def test_a_sum_states_the_dearest_of_its_cohorts(series, draws):
    series.release("job-1")
    for number, eps in enumerate((2.0, 0.5)):
        series.set_policy(release_eps=eps)
        series.admit(range(20 + 10 * number, 26 + 10 * number))
        encoded = series.release(f"job-{number + 2}")
    stated = Fingerprint.from_bytes(encoded).privacy
    dearest = max(noised.rho for _, noised in draws)
    assert (stated.cohorts, Fraction(stated.rho), spent_on_task(series)) == (3, dearest, dearest)
    assert 1.99 < stated.eps <= 2.0
    assert_same_numbers(encoded, *(noised.sketches for _, noised in draws))


@pytest.mark.parametrize("n_new", [1, 2])
def test_fewer_newcomers_than_everybody_must_be_are_a_cohort_too(series, draws, n_new):
    series.release("job-1")
    series.admit(range(8, 8 + n_new))
    second = series.release("job-2")
    assert [n_patients(exact) for exact, _ in draws] == [8, n_new]
    assert_same_numbers(second, *(noised.sketches for _, noised in draws))
    assert len(series.charges()) == 2


def test_a_cut_without_newcomers_is_charged_and_adds_noise(series, draws, monkeypatch):
    first = series.release("job-1")
    monkeypatch.setattr(jobs, "exact_sketches", lambda *_: pytest.fail("an image was read"))
    second = series.release("job-2")
    stated, charges = Fingerprint.from_bytes(second).privacy, series.charges()
    assert [n_patients(exact) for exact, _ in draws] == [8, 0]
    assert_same_numbers(second, *(noised.sketches for _, noised in draws))
    for kind, sketch in Fingerprint.from_bytes(first).sketches.items():
        assert (sketch.to_vector() != Fingerprint.from_bytes(second).sketches[kind].to_vector()).any()
    assert stated.noise == {name: 2 * variance for name, variance in draws[0][1].noise.items()}
    assert (stated.cohorts, charges[1].rho, spent_on_task(series)) == (2, charges[0].rho, charges[0].rho)
    assert (charged_id(second), series.findings()) == (charges[1].release_id, ())


def test_newcomers_after_a_cut_without_any_are_the_next_cohort(series, draws):
    series.release("job-1")
    series.release("job-2")
    series.admit(NEWCOMERS)
    third = series.release("job-3")
    assert [n_patients(exact) for exact, _ in draws] == [8, 0, 7]
    assert Fingerprint.from_bytes(third).privacy.cohorts == 3
    assert_same_numbers(third, *(noised.sketches for _, noised in draws))


@pytest.mark.parametrize("refresh", ["new-patients", "whole"])
def test_what_is_not_due_is_sent_again_though_data_have_changed(build, draws, refresh):
    site = build(refresh=refresh, refresh_days=30)
    first = site.release_days_ago(29)
    site.admit(NEWCOMERS)
    assert site.release("job-1") == first
    assert len(draws) == len(site.charges()) == 1


@pytest.mark.parametrize("refresh", ["new-patients", "whole"])
@pytest.mark.parametrize("admitted", [(), NEWCOMERS])
def test_what_is_due_is_replaced_whether_or_not_data_have_changed(build, refresh, admitted):
    site = build(refresh=refresh, refresh_days=30)
    first = site.release_days_ago(31)
    site.admit(admitted)
    second = site.release("job-1")
    assert second != first
    assert site.release("job-2") == second  # of today: not due
    assert len(site.charges()) == 2


def test_images_of_known_patients_that_came_later_are_not_used(series, draws):
    series.release("job-1")
    series.admit(range(8), images=1, prefix="later-")
    series.admit(NEWCOMERS)
    series.release("job-2")
    assert [n_patients(exact) for exact, _ in draws] == [8, 7]


def test_whoever_left_and_came_back_is_not_new(series, draws):
    series.release("job-1")
    table = series.folder / "labels.csv"
    everybody = table.read_text()
    table.write_text("".join(line for line in everybody.splitlines(True) if "patient-3" not in line))
    series.admit(NEWCOMERS)
    series.release("job-2")
    table.write_text(table.read_text() + "".join(everybody.splitlines(True)[7:9]))
    assert "patient-3" in table.read_text()
    series.admit(range(20, 25))
    series.release("job-3")
    assert [n_patients(exact) for exact, _ in draws] == [8, 7, 5]


def test_new_patients_cannot_follow_a_release_of_unknown_patients_but_one_that_is_paid_again(site, draws):
    site.release("job-1")
    site.admit(NEWCOMERS)
    site.set_policy(refresh="new-patients")
    code, text = site.refusal("job-2")
    assert (code, 'refresh = "whole"' in text) == ("policy", True)
    site.set_policy(refresh="whole")
    site.release("job-3")
    site.set_policy(refresh="new-patients")
    site.admit(range(20, 26))
    encoded = site.release("job-4")
    assert [n_patients(exact) for exact, _ in draws] == [8, 15, 6]
    assert Fingerprint.from_bytes(encoded).privacy.cohorts == 2
    rhos = [charge.rho for charge in site.charges()]
    assert spent_on_task(site) == rhos[0] + max(rhos[1:])


def test_releasing_everybody_after_cohorts_begins_a_series_that_is_paid_on_top(series, draws):
    series.release("job-1")
    series.admit(NEWCOMERS)
    series.release("job-2")
    series.set_policy(refresh="whole", release_eps=0.5)
    series.admit(range(20, 26))
    series.release("job-3")
    series.set_policy(refresh="new-patients")
    series.admit(range(30, 36))
    series.release("job-4")
    assert [n_patients(exact) for exact, _ in draws] == [8, 7, 21, 6]
    rhos = [charge.rho for charge in series.charges()]
    assert spent_on_task(series) == max(rhos[:2]) + max(rhos[2:])
    assert series.findings() == ()


def test_new_patients_may_stop_being_released(series):
    first = series.release("job-1")
    series.admit(NEWCOMERS)
    series.set_policy(refresh="never")
    assert series.release("job-2") == first


@pytest.mark.parametrize(("term", "value"), [("images_per_patient", 3), ("images_per_patient", 1)])
def test_a_sum_of_patients_that_weigh_differently_is_refused(series, term, value):
    series.release("job-1")
    series.admit(NEWCOMERS)
    series.set_policy(**{term: value})
    code, text = series.refusal("job-2")
    assert (code, f"{term} was 2" in text) == ("policy", True)
    series.set_policy(**{term: 2})
    assert Fingerprint.from_bytes(series.release("job-2")).privacy.cohorts == 2
    assert len(series.charges()) == 2


@pytest.mark.parametrize("admitted", [(), NEWCOMERS])
def test_fewer_levels_than_the_sum_has_are_refused_whether_anybody_is_new_or_not(series, draws, admitted):
    series.release("job-1")
    series.admit(admitted)
    series.set_policy(levels=1)
    code, text = series.refusal("job-2")
    assert (code, "levels was" in text, len(draws)) == ("policy", True, 1)
    assert len(series.charges()) == 1


def admissions_file(site):
    (path,) = (site.state / "admissions" / "lungs").glob("*.json")
    return path


def standing_file(site):
    (path,) = (site.state / "standing" / "lungs").glob("*.safetensors")
    return path


def secret_file(site):
    return site.state / "admissions" / "secret.key"


@pytest.mark.parametrize("damage", ["deleted", "cut short", "empty", "a bit flipped"])
@pytest.mark.parametrize("found", [admissions_file, standing_file, secret_file])
def test_a_lost_or_damaged_file_is_refused_with_a_remedy_and_nothing_is_lost(series, tmp_path, found, damage):
    series.release("job-1")
    series.admit(NEWCOMERS)
    path = found(series)
    good = path.read_bytes()
    harm(path, damage)
    code, text = series.refusal("job-2")
    assert code in ("store", "policy")
    assert "from backup" in text
    assert len(series.charges()) == 1
    path.write_bytes(good)
    assert Fingerprint.from_bytes(series.release("job-2")).privacy.cohorts == 2
    assert series.findings() == ()


def harm(path, damage):
    good = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
        path.write_bytes({"cut short": good[:middle], "empty": b"", "a bit flipped": flipped}[damage])


@pytest.mark.parametrize("found", [admissions_file, standing_file])
def test_what_is_lost_for_good_can_be_paid_again(series, draws, found):
    series.release("job-1")
    series.admit(NEWCOMERS)
    found(series).unlink()
    assert 'refresh = "whole"' in series.refusal("job-2")[1]
    series.set_policy(refresh="whole")
    series.release("job-2")
    series.set_policy(refresh="new-patients")
    series.admit(range(20, 26))
    series.release("job-3")
    assert [n_patients(exact) for exact, _ in draws] == [8, 15, 6]
    rhos = [charge.rho for charge in series.charges()]
    assert spent_on_task(series) == rhos[0] + max(rhos[1:])


def test_a_standing_release_from_an_old_backup_is_not_added_to(series):
    series.release("job-1")
    old = standing_file(series).read_bytes()
    series.admit(NEWCOMERS)
    series.release("job-2")
    standing_file(series).write_bytes(old)
    series.admit(range(20, 26))
    code, text = series.refusal("job-3")
    assert (code, "no longer kept" in text) == ("store", True)


def interrupted(site, monkeypatch):
    """A site that was charged and then could not keep the release."""

    def fail(*_):
        raise RuntimeError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseFiles, "keep_standing", fail)
        assert site.ask("job-1").code == "internal"
    (pending,) = (site.state / "pending" / "lungs").glob("*.safetensors")
    return pending


@pytest.mark.parametrize("damage", ["cut short", "empty", "a bit flipped"])
def test_pending_noise_that_is_damaged_is_refused_and_finished_once_restored(site, monkeypatch, damage):
    pending = interrupted(site, monkeypatch)
    good = pending.read_bytes()
    harm(pending, damage)
    code, text = site.refusal("job-2")
    assert (code, "from backup" in text) == ("store", True)
    pending.write_bytes(good)
    assert_settled(site, 0, ("job-2", "job-1"))


def test_pending_noise_that_was_charged_and_is_lost_is_not_drawn_anew(site, monkeypatch):
    interrupted(site, monkeypatch).unlink()
    code, text = site.refusal("job-2")
    assert (code, "entry 2 of the ledger paid for" in text) == ("store", True)
    assert len(site.charges()) == 1


def test_one_newcomer_moves_no_other_to_another_cohort(tmp_path):
    cohorts = []
    for first in (range(8, 13), range(8, 12)):  # with patient 12, and without
        site = write_private_site(tmp_path / str(len(first)), refresh="new-patients")
        site.release("job-1")
        site.admit(first)
        site.release("job-2")
        site.admit(range(20, 25))
        site.release("job-3")
        admissions = jobs._settlement(site.open(), "lungs", SPACE).admissions
        cohorts.append([len(tokens) for tokens in admissions.cohorts.values()])
    # One patient less is one patient less in one cohort.
    with_patient, without = cohorts
    assert len(with_patient) == len(without)
    # A patient is remembered by the id and by each of two images.
    assert [a - b for a, b in zip(with_patient, without, strict=True)] == [0, 3, 0]


def test_whole_whether_anything_changed_cannot_be_told_from_the_release(build):
    site = build(refresh="whole")
    twin = site.copy_to(site.folder.parent / "twin")
    answers = []
    for each, admitted in ((site, range(8, 9)), (twin, ())):
        each.forget_the_open_ledger()
        before = each.release("job-1")
        each.admit(admitted)
        answers.append(each.release("job-2") == before)
    assert answers[0] == answers[1]
