import shutil
from dataclasses import replace

import pytest
from memberships import new_identity
from onboarded import DAY, NOW, Guests, founded, members

from aggregator.enrolling import approve, examine
from aggregator.invitations import invite
from aggregator.operated_hub import OperatedHub
from federation.enrolment import Enrolment
from federation.errors import ConfigError, EnrolmentError, SignatureError, StoreError
from federation.invitation import Invitation
from federation.node_key import new_node_key, public_text, read_node_key
from site_agent.joining import join
from site_agent.site_folder import SiteFolder


def test_an_invitation_is_answered_once(guests):
    joined = guests.joined(guests.invited())
    first = guests.approved(joined.enrolment)
    assert guests.approved(joined.enrolment) == first
    shutil.rmtree(guests.home / "anna")
    again = guests.joined(joined.invitation)
    with pytest.raises(EnrolmentError, match="was used already"):
        guests.approved(again.enrolment)


def test_an_expired_invitation_is_refused_at_both_ends(guests):
    invitation = guests.invited()
    with pytest.raises(EnrolmentError, match="has expired"):
        guests.joined(invitation, NOW + 14 * DAY)
    joined = guests.joined(invitation)
    with pytest.raises(EnrolmentError, match="has expired"):
        guests.approved(joined.enrolment, NOW + 14 * DAY)
    assert members(guests) == {}


def test_a_replaced_invitation_is_refused(guests):
    joined = guests.joined(guests.invited())
    with pytest.raises(EnrolmentError, match="has an open invitation"):
        guests.invited()
    guests.invited(again=True)
    with pytest.raises(EnrolmentError, match="older invitation"):
        guests.approved(joined.enrolment)


def test_an_invitation_serves_no_other_site(guests):
    joined = guests.joined(guests.invited())
    guests.invited("cork")
    site, key = guests.site(), read_node_key(guests.site().folder.node_key.read_bytes())
    answer = Enrolment.from_bytes(joined.enrolment.read_bytes())
    renamed = replace(answer, site="cork", node_signature="").signed(site.identity, key)
    for name in ("cork", "oslo"):
        renamed = replace(renamed, site=name, node_signature="").signed(site.identity, key)
        with pytest.raises(EnrolmentError, match=f"no invitation of {name} has the token"):
            examine(guests.hub, renamed.to_bytes(), NOW)


def test_an_altered_invitation_is_refused_by_the_site(guests):
    data = guests.invited().to_bytes()
    with pytest.raises(SignatureError):
        Invitation.from_bytes(data.replace(b"localhost:8443", b"localhost:8444"))


def test_the_answer_to_another_hub_is_refused(guests, tmp_path):
    stranger = Guests(founded(tmp_path / "stranger"), tmp_path / "away")
    guests.invited()
    joined = stranger.joined(stranger.invited())
    with pytest.raises(EnrolmentError, match="another hub"):
        guests.approved(joined.enrolment)


def test_an_exchanged_authority_is_noticed(guests, tmp_path):
    stranger = founded(tmp_path / "stranger")
    invitation = guests.invited()
    ca = stranger.ca_certificate.decode()
    joined = guests.joined(replace(invitation, ca_certificate=ca).signed(guests.hub.identity))
    with pytest.raises(EnrolmentError, match="another certificate authority"):
        guests.approved(joined.enrolment)


def test_a_stranger_between_is_noticed_by_the_number(guests, tmp_path):
    """The stranger keeps token and name, and exchanges its own hub and its own keys, each for one end."""
    stranger = new_identity("stranger")
    invitation = guests.invited()
    forged = replace(invitation, hub_key=stranger.public_key).signed(stranger)
    seen_at_site = join(SiteFolder(tmp_path / "victim"), forged, NOW).compared.number
    key = read_node_key(new_node_key())
    answer = Enrolment.from_bytes((tmp_path / "victim" / "anna.enrolment.json").read_bytes())
    fake = replace(
        answer,
        hub_key=guests.hub.identity.public_key,
        identity_key=stranger.public_key,
        node_key=public_text(key),
        node_signature="",
    ).signed(stranger, key)
    candidate = examine(guests.hub, fake.to_bytes(), NOW)
    with pytest.raises(EnrolmentError, match="is not that of anna"):
        approve(guests.hub, candidate, seen_at_site, NOW)
    assert members(guests) == {}


def test_a_site_with_the_key_of_another_is_refused(guests):
    guests.member()
    invitation = guests.invited("cork")
    shutil.copytree(guests.home / "anna" / "state", guests.home / "cork" / "state")
    with pytest.raises(EnrolmentError, match="has a key of anna"):
        guests.approved(guests.joined(invitation).enrolment)


def test_a_member_is_not_invited(guests):
    guests.member()
    with pytest.raises(EnrolmentError, match="anna is a member"):
        guests.invited()


def test_a_hub_without_a_space_invites_nobody(guests):
    guests.hub.config.space.unlink()
    with pytest.raises(EnrolmentError, match="no space"):
        guests.invited()
    with pytest.raises(ConfigError, match="not allowed"):
        invite(guests.hub, "../anna", "ab" * 32, NOW)


def test_two_operators_cannot_approve_the_same_request_differently(guests):
    joined = guests.joined(guests.invited())
    first, second = (examine(guests.hub, joined.enrolment.read_bytes(), NOW) for _ in range(2))
    approve(guests.hub, first, first.compared.number, NOW)
    with pytest.raises(EnrolmentError, match="somebody decided"):
        approve(guests.hub, second, second.compared.number, NOW)


def test_nothing_is_decided_that_cannot_be_logged(guests, monkeypatch):
    joined = guests.joined(guests.invited())

    def full(*_, **__):
        raise StoreError("the disk is full")

    monkeypatch.setattr(OperatedHub, "record", full)
    with pytest.raises(StoreError):
        guests.approved(joined.enrolment)
    assert members(guests) == {}


@pytest.mark.parametrize("at", ["put", "mark_used"])
def test_an_approval_that_was_cut_short_is_finished_by_repeating_it(guests, monkeypatch, at):
    joined = guests.joined(guests.invited())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"aggregator.enrolling.{at}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        guests.approved(joined.enrolment)
    monkeypatch.undo()
    membership = guests.approved(joined.enrolment)
    assert (members(guests), membership.serial) == ({"anna": membership}, 1)
    assert guests.approved(joined.enrolment) == membership
