"""When a round ends its secrets are gone from the disk, and they are never anywhere else."""

import logging
import stat
import time

import pytest
from pooled_sites import ROUND, refusal
from private_site import SPACE

from federation.errors import DeadlineError
from federation.messages import DONE
from federation.round_messages import STEPS
from site_agent.rounds import round_files
from site_agent.rounds.memory import EndedRound, OpenRound
from site_agent.rounds.round_files import SiteRounds

OTHER_ROUND = ROUND[::-1]


def kept(cohort, name="anna", round_id=ROUND):
    return SiteRounds(cohort.sites[name].state, name).of(round_id).read()


def secrets_of(known):
    """Every secret byte string of an open round."""
    found = [getattr(known.state, name, b"") for name in ("seeds", "own_shares")]
    seeds = found[0]
    found += [seeds[start : start + 32] for start in range(0, len(seeds), 32)]
    for name in ("opening_keys", "held", "shares"):
        found += getattr(known.state, name, {}).values()
    return [secret for secret in found if secret]


def files_with(folder, secrets):
    """Files that hold a secret, as bytes or as hexadecimal digits."""
    forms = [form for secret in secrets for form in (secret, secret.hex().encode())]
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in paths if any(form in path.read_bytes() for form in forms)}


def secrets_at_every_step(begun, name="anna"):
    found = []
    for step in STEPS[:-1]:
        begun.close(step)
        found += secrets_of(kept(begun.cohort, name))
    return found


def test_secrets_are_in_the_file_of_the_round_alone_and_only_its_owner_reads_it(cohort):
    begun = cohort.begin().prepare("share")
    state = cohort.sites["anna"].state
    assert files_with(state, secrets_of(kept(cohort))) == {"round.safetensors"}
    for path in (state / "rounds" / ROUND).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert begun.ask("share", "anna").code == DONE


def test_nothing_secret_is_on_the_disk_once_the_sum_is_unmasked(cohort):
    begun = cohort.begin()
    secrets = [s for s in secrets_at_every_step(begun) if len(s) == 32]
    begun.close("unmask")
    assert len(secrets) > 8
    assert files_with(cohort.sites["anna"].state, secrets) == set()
    ended = kept(cohort)
    assert isinstance(ended, EndedRound)
    assert (ended.how, ended.digest) == ("finished", begun.terms.digest.hex())
    assert ended.survivors.alive == ("anna", "bern", "cork", "dorn")


def test_what_was_to_be_summed_is_not_kept_once_it_is_masked(cohort):
    begun = cohort.begin().prepare("mask")
    values = kept(cohort).prepared.values.tobytes()
    folder = cohort.sites["anna"].state / "rounds"
    assert files_with(folder, [values]) == {"round.safetensors"}
    begun.close("mask")
    assert files_with(folder, [values]) == set()


def test_what_a_crash_left_beside_the_file_is_gone_when_the_round_ends(cohort):
    begun = cohort.begin().prepare("unmask")
    folder = cohort.sites["anna"].state / "rounds" / ROUND
    (folder / ".round.safetensors.x1y2").write_bytes((folder / "round.safetensors").read_bytes())
    begun.close("unmask")
    assert {path.name for path in folder.iterdir()} == {"lock", "round.safetensors"}


@pytest.fixture
def later(monkeypatch):
    """Let the clock of the rounds stand a second after they expire."""

    def turn(begun):
        now = begun.terms.expires + 1
        monkeypatch.setattr(round_files.time, "time", lambda: now)

    return turn


@pytest.mark.parametrize("step", STEPS[1:])
def test_an_expired_round_is_forgotten_and_refused_in_every_step(cohort, later, step):
    begun = cohort.begin(expires=time.time() + 3600).prepare(step)
    secrets = secrets_of(kept(cohort))
    later(begun)
    code, text = refusal(cohort, begun.ask(step, "anna"))
    assert (code, "has expired" in text) == (DeadlineError.code, True)
    assert kept(cohort).how == "expired"
    assert files_with(cohort.sites["anna"].state, [s for s in secrets if len(s) == 32]) == set()
    assert begun.ask("advertise", "anna").code == DeadlineError.code
    assert [e["round"] for e in cohort.sites["anna"].events() if e["event"] == "round-expired"] == [ROUND]


def test_a_round_that_expired_before_it_began_leaves_nothing(cohort):
    assert cohort.begin(expires=1.0).ask("advertise", "anna").code == DeadlineError.code
    assert not (cohort.sites["anna"].state / "rounds").exists()


def test_an_expired_round_is_forgotten_when_another_one_begins(cohort, later):
    begun = cohort.begin(expires=time.time() + 3600).prepare("mask")
    later(begun)
    cohort.begin(OTHER_ROUND).ask("advertise", "anna")
    assert kept(cohort).how == "expired"
    assert isinstance(kept(cohort, round_id=OTHER_ROUND), OpenRound)


def test_a_finished_round_does_not_expire(cohort, later):
    begun = cohort.begin(expires=time.time() + 3600)
    begun.open()
    later(begun)
    assert begun.ask("unmask", "anna").code == DONE
    assert kept(cohort).how == "finished"


def test_no_secret_is_in_a_log_or_a_repr(cohort, caplog):
    caplog.set_level(logging.DEBUG)
    begun = cohort.begin()
    shown, secrets = "", []
    for step in STEPS[:-1]:
        begun.close(step)
        known = kept(cohort)
        secrets += secrets_of(known)
        shown += repr(known) + repr(known.state) + repr(known.prepared) + repr(known.answers)
    begun.close("unmask")
    shown += repr(kept(cohort)) + caplog.text + cohort.sites["anna"].open().state.log_path.read_text()
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_no_patient_is_named_in_the_log_or_in_what_is_sent(cohort):
    begun = cohort.begin()
    begun.open()
    site = cohort.sites["anna"]
    sent = [dict(r["anna"].message.blobs()) for r in begun.replies.values()]
    said = (
        b"".join(blob for blobs in sent for blob in blobs.values()) + site.open().state.log_path.read_bytes()
    )
    assert b"patient-" not in said
    assert SPACE.space_id.encode() not in said
