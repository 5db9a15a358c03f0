"""A site co-signs what follows from all that it was shown, and nothing else."""

import dataclasses

import pytest
from factories import FAR_FUTURE
from witnesses import Hub, Witness

from federation.errors import LogContradictionError, LogError
from federation.log.kinds import MISSING, RECOMMENDED
from federation.log.messages import BEHIND, OMISSION
from federation.log.tree_head import SignedHead
from federation.log.update import LoggedEntry
from federation.messages import DONE
from site_agent.hub_log.copy import require_undisputed
from site_agent.hub_log.standing import LogStanding
from site_agent.hub_log.witness import answer_witness

CONTRADICTION = "log-contradiction"


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path / "hub")


@pytest.fixture
def anna(tmp_path, hub):
    return Witness(tmp_path, "anna", hub)


def test_a_site_follows_the_log_as_it_grows_and_keeps_what_is_about_it(hub, anna):
    for n in range(1, 9):
        hub.tell(*["accepted"] * n, job=f"job-{n}")
        hub.tell(site="bern", job=f"job-{n}")
        reply = hub.show(anna, job=f"job-{n}")
        assert (reply.code, reply.size) == (DONE, hub.head().size)
    updates = anna.copy.updates()
    assert [kept.signed.size for kept in updates] == [sum(range(n + 1)) + n for n in range(1, 9)]
    shown = [logged.entry for kept in updates for logged in kept.update.entries]
    assert len(shown) == sum(range(9))
    assert {entry.detail["task"] for entry in shown} == {"anna/t"}
    assert len(anna.events("log-witnessed")) == 8


def test_nobody_is_shown_what_is_recommended_to_others(hub, anna):
    hub.tell(RECOMMENDED, job="", task="", target="bern/t", sources=["anna/t"])
    hub.tell(RECOMMENDED, job="", task="", target="anna/t", sources=["bern/t"])
    assert [e.entry.detail["target"] for e in hub.update("anna").entries] == ["anna/t"]


def test_the_same_head_is_co_signed_again(hub, anna):
    hub.tell()
    first, again = hub.show(anna), hub.show(anna, hub.update("anna", since=0))
    assert first.signature == again.signature != b""


def test_a_site_that_lost_a_reply_or_its_copy_says_where_it_stands(hub, anna):
    hub.tell()
    hub.show(anna)
    hub.since.clear()  # the hub never got the reply
    hub.tell()
    assert (hub.show(anna).code, hub.show(anna).size) == (BEHIND, 1)
    assert hub.show(anna, hub.update("anna", since=1)).code == DONE
    hub.tell()
    for path in anna.copy.folder.glob("0*.json"):  # and now the site loses its copy
        path.unlink()
    assert (hub.show(anna).code, hub.show(anna).size) == (BEHIND, 0)
    assert hub.show(anna, hub.update("anna", since=0)).code == DONE
    assert require_undisputed(anna.site.config, anna.hub_key) is None


def test_an_older_head_that_comes_late_is_no_contradiction(hub, anna):
    hub.tell()
    late = hub.update("anna")
    hub.tell()
    hub.show(anna)
    assert (hub.show(anna, late).code, anna.copy.contradiction()) == (BEHIND, None)


def forked(tmp_path, hub, n, name="fork"):
    """Another log under the same key, as of a hub that was restored, or that lies."""
    other = Hub(tmp_path / name, key=tmp_path / "hub" / "hub.key")
    other.since, other.last = dict(hub.since), dict(hub.last)
    for _ in range(n):
        other.tell(job="rewritten")
    return other


@pytest.mark.parametrize(
    ("n", "problem"),
    [
        (2, "entries were removed"),
        (3, "two different logs of size 3"),
        (5, "entries were changed or removed"),
    ],
)
def test_a_log_that_shrank_or_was_rewritten_is_a_contradiction(tmp_path, hub, anna, n, problem):
    hub.tell("accepted", "accepted", "accepted")
    hub.show(anna)
    other = forked(tmp_path, hub, n)
    update = other.update("anna", since=3 if n > 3 else 0)
    assert other.show(anna, update).code == CONTRADICTION
    (event,) = anna.events("log-contradiction")
    assert problem in event["text"]
    assert "restored from an older backup" in event["text"]
    assert anna.copy.size == 3
    standing = LogStanding.of(anna.site.config)
    assert (standing.size, problem in standing.contradiction) == (3, True)
    # From now on the honest log is refused as well, until a person has looked.
    hub.tell()
    assert hub.show(anna).code == CONTRADICTION
    with pytest.raises(LogContradictionError, match=r"is not answered: .*--accept"):
        require_undisputed(anna.site.config, anna.hub_key)


def test_once_a_person_accepts_a_new_copy_begins_and_the_old_one_is_kept(tmp_path, hub, anna):
    hub.tell("accepted", "accepted")
    hub.show(anna)
    other = forked(tmp_path, hub, 1)
    other.show(anna, other.update("anna", since=0))
    assert "entries were removed" in anna.sitting.disputed()[0]
    with pytest.raises(Exception, match="nobody said why"):
        anna.sitting.accept("  ")
    kept = anna.sitting.accept("the hub was restored from Sunday's backup, Dr. B. confirms")
    assert {path.name for path in kept.glob("*.json")} == {
        "000000000002.json", "contradiction.json", "accepted.json",
    }  # fmt: skip
    require_undisputed(anna.site.config, anna.hub_key)
    other.tell("accepted", "accepted")
    assert (other.show(anna).code, other.show(anna).size) == (BEHIND, 0)
    assert other.show(anna, other.update("anna", since=0)).code == DONE
    assert anna.events("log-contradiction-accepted")[0]["why"].startswith("the hub was restored")
    with pytest.raises(LogError, match="nothing contradicts"):
        anna.sitting.accept("again")


def test_two_sites_that_are_shown_different_logs_are_told_by_each_others_heads(tmp_path, hub, anna):
    bern = Witness(tmp_path, "bern", hub)
    hub.tell("accepted", "accepted")
    hub.show(anna)
    other = forked(tmp_path, hub, 2)
    other.since, other.last = {}, {}
    other.tell()
    other.show(bern)
    # The hub forgets to keep the two worlds apart.
    hub.last["bern"] = other.last["bern"]
    hub.tell(), hub.tell()
    assert hub.show(anna).code == CONTRADICTION
    assert "different sites are shown different logs" in anna.events("log-contradiction")[0]["text"]


def test_heads_of_others_that_fit_are_kept_with_their_proofs(tmp_path, hub, anna):
    bern = Witness(tmp_path, "bern", hub)
    hub.tell()
    hub.show(bern)
    hub.tell(), hub.tell()
    assert hub.show(anna).code == DONE
    (other,) = anna.copy.last().update.others
    assert (other.head.site, other.head.signed.size) == ("bern", 1)


def altered_entry(update):
    entry = dataclasses.replace(update.entries[0].entry, kind="missing")
    return dataclasses.replace(update, entries=(LoggedEntry(0, entry.leaf(), update.entries[0].proof),))


def moved_entry(update):
    return dataclasses.replace(update, entries=(dataclasses.replace(update.entries[0], index=1),))


def other_proof(update):
    wrong = dataclasses.replace(update.entries[1], proof=update.entries[0].proof)
    return dataclasses.replace(update, entries=(update.entries[0], wrong))


@pytest.mark.parametrize("twist", [altered_entry, moved_entry, other_proof])
def test_an_entry_that_is_not_in_the_log_is_a_contradiction(hub, anna, twist):
    hub.tell("accepted", "accepted", "withdrawn")
    assert hub.show(anna, twist(hub.update("anna"))).code == CONTRADICTION
    assert anna.copy.size == 0


def test_what_left_must_be_accepted_or_named_as_missing(hub, anna):
    anna.released("ab" * 32)
    hub.tell(site="bern")
    reply = hub.show(anna)
    assert (reply.code, reply.signature, anna.copy.size) == (OMISSION, b"", 0)
    assert "fingerprint abababababababab of task t" in anna.events("log-omission")[0]["text"]
    require_undisputed(anna.site.config, anna.hub_key)  # told, and no reason to stop everything
    hub.tell(id="ab" * 32)
    assert hub.show(anna).code == DONE


@pytest.mark.parametrize("task", ["", "t"])
def test_a_release_that_is_named_as_missing_is_accounted_for(hub, anna, task):
    anna.released("ab" * 32)
    hub.tell(MISSING, task=task, code="no-reply", id="", site="anna")
    with hub.catalogue.writing() as writer:
        writer.add_event(MISSING, "job-1", site="anna", task=task, code="no-reply")
    assert hub.show(anna).code == DONE


def test_a_missing_entry_of_another_job_accounts_for_nothing(hub, anna):
    anna.released("ab" * 32)
    with hub.catalogue.writing() as writer:
        writer.add_event(MISSING, "job-0", site="anna", task="t", code="no-reply")
    assert hub.show(anna).code == OMISSION


def test_who_is_not_in_the_policy_or_late_is_refused(tmp_path, hub, anna):
    hub.tell()
    stranger = Hub(tmp_path / "stranger")
    stranger.tell()
    assert stranger.show(anna).code == "policy"
    assert hub.show(anna, stranger.update("anna")).code == "log"
    request = hub.request("anna", deadline=FAR_FUTURE - 4e9)
    assert answer_witness(anna.site, request).code == "deadline"
    assert anna.copy.size == 0
    assert len(anna.events("log-refused")) == 3


def test_a_head_that_nobody_signed_is_refused_without_a_dispute(hub, anna):
    hub.tell()
    update = hub.update("anna")
    forged = SignedHead(dataclasses.replace(update.signed.head, size=2), update.signed.key, bytes(64))
    assert hub.show(anna, dataclasses.replace(update, signed=forged)).code == "signature"
    assert anna.copy.contradiction() is None


def test_a_damaged_copy_signs_nothing(hub, anna):
    hub.tell()
    hub.show(anna)
    next(anna.copy.folder.glob("0*.json")).write_text("{}")
    hub.tell()
    assert hub.show(anna).code == "log"


def test_damage_at_the_site_accuses_nobody(hub, anna):
    hub.tell("accepted")
    hub.show(anna)
    anna.edit(lambda value: value.update(signature="00" * 64))
    hub.tell("accepted")
    assert hub.show(anna).code == "log"
    assert anna.copy.contradiction() is None
    assert "was changed or damaged at this site" in anna.events("log-refused")[0]["text"]
