import pytest
from onboarded import DAY, NOW, Guests, events, founded, members

from aggregator.enrolling import examine
from aggregator.member_changes import renew, revoke
from federation.errors import EnrolmentError, SignatureError, UnknownNameError
from federation.node_key import public_text, read_node_key
from site_agent.key_rotation import abort_rotation, rotate_node_key
from site_agent.membership import accept, kept_membership


def test_renewing_one_site_leaves_the_others_alone(guests):
    guests.member("cork")
    before = guests.member()
    fresh = renew(guests.hub, "anna", NOW + 300 * DAY)
    assert (fresh.serial, fresh.identity_key, fresh.node_key) == (2, before.identity_key, before.node_key)
    assert set(members(guests, NOW + 400 * DAY)) == {"anna"}
    assert set(members(guests, NOW + 300 * DAY)) == {"anna", "cork"}
    assert accept(guests.site(), fresh.to_bytes(), NOW + 300 * DAY) == fresh
    assert events(guests)[-1] == "renewed"


def test_a_site_does_not_go_back_to_an_older_membership(guests):
    before = guests.member()
    accept(guests.site(), renew(guests.hub, "anna", NOW).to_bytes(), NOW)
    with pytest.raises(EnrolmentError, match="2 is here already"):
        accept(guests.site(), before.to_bytes(), NOW)


def test_a_revoked_site_is_out_and_can_be_invited_anew(guests):
    guests.member("cork")
    guests.member()
    revoke(guests.hub, "anna", "left", NOW)
    assert set(members(guests)) == {"cork"}
    assert events(guests)[-1] == "revoked"
    with pytest.raises(EnrolmentError, match="cannot be renewed: left"):
        renew(guests.hub, "anna", NOW)
    back = guests.member()
    assert (back.serial, set(members(guests))) == (2, {"anna", "cork"})


def test_a_revocation_withdraws_what_was_approved_only_later(guests):
    """The very answer that was approved before does not let a revoked site in again."""
    joined = guests.joined(guests.invited())
    guests.approved(joined.enrolment)
    revoke(guests.hub, "anna", "key stolen", NOW)
    with pytest.raises(EnrolmentError, match="no invitation"):
        guests.approved(joined.enrolment)


def test_a_revocation_needs_a_member_and_a_reason(guests):
    guests.member()
    with pytest.raises(UnknownNameError, match="no member cork"):
        revoke(guests.hub, "cork", "left", NOW)
    with pytest.raises(EnrolmentError, match="needs a reason"):
        revoke(guests.hub, "anna", "", NOW)
    assert set(members(guests)) == {"anna"}


def test_a_new_node_key_is_used_once_the_hub_agreed(guests):
    old = guests.member()
    site = guests.site()
    compared = rotate_node_key(site, NOW)
    wish = site.folder.rotation("anna")
    assert rotate_node_key(site, NOW) == compared
    assert public_text(read_node_key(site.folder.node_key.read_bytes())) == old.node_key
    candidate = examine(guests.hub, wish.read_bytes(), NOW)
    assert candidate.compared.number == compared.number
    fresh = guests.approved(wish)
    assert guests.approved(wish) == fresh
    assert (fresh.serial, fresh.identity_key) == (2, old.identity_key)
    assert fresh.node_key != old.node_key
    accept(site, fresh.to_bytes(), NOW)
    assert public_text(read_node_key(site.folder.node_key.read_bytes())) == fresh.node_key
    assert not site.folder.next_node_key.exists()
    assert not wish.exists()
    assert events(guests)[-1] == "rekeyed"


def test_a_new_node_key_can_be_forgotten(guests):
    old = guests.member()
    site = guests.site()
    rotate_node_key(site, NOW)
    assert abort_rotation(site)
    assert not abort_rotation(site)
    assert public_text(read_node_key(site.folder.node_key.read_bytes())) == old.node_key
    assert not site.folder.rotation("anna").exists()


def test_a_membership_for_keys_that_are_not_here_is_not_accepted(guests):
    old = guests.member()
    rotate_node_key(guests.site(), NOW)
    fresh = guests.approved(guests.site().folder.rotation("anna"))
    abort_rotation(guests.site())
    with pytest.raises(EnrolmentError, match="a node key that is not here"):
        accept(guests.site(), fresh.to_bytes(), NOW)
    assert kept_membership(guests.site()) == old


def test_an_accepting_that_was_cut_short_is_finished_by_repeating_it(guests, monkeypatch):
    guests.member()
    site = guests.site()
    rotate_node_key(site, NOW)
    fresh = guests.approved(site.folder.rotation("anna"))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("site_agent.membership.write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        accept(site, fresh.to_bytes(), NOW)
    monkeypatch.undo()
    assert accept(site, fresh.to_bytes(), NOW) == fresh


def test_a_rotation_of_an_older_membership_or_a_revoked_site_is_refused(guests):
    guests.member()
    rotate_node_key(guests.site(), NOW)
    wish = guests.site().folder.rotation("anna")
    renew(guests.hub, "anna", NOW)
    with pytest.raises(EnrolmentError, match="2 is in force"):
        guests.approved(wish)
    revoke(guests.hub, "anna", "left", NOW)
    with pytest.raises(EnrolmentError, match="no member whose node key could change"):
        guests.approved(wish)


def test_a_site_without_membership_cannot_change_its_key(guests):
    guests.joined(guests.invited())
    with pytest.raises(EnrolmentError, match="has no membership"):
        rotate_node_key(guests.site(), NOW)


def test_the_membership_of_another_site_or_hub_is_not_accepted(guests, tmp_path):
    guests.member()
    other = guests.member("cork")
    with pytest.raises(EnrolmentError, match="membership of cork"):
        accept(guests.site(), other.to_bytes(), NOW)
    stranger = Guests(founded(tmp_path / "stranger"), tmp_path / "away")
    with pytest.raises(SignatureError):
        accept(guests.site(), stranger.member().to_bytes(), NOW)


def test_a_membership_is_accepted_in_its_time(guests):
    guests.joined(guests.invited())
    membership = guests.approved(guests.home / "anna" / "anna.enrolment.json")
    with pytest.raises(EnrolmentError, match="in the future"):
        accept(guests.site(), membership.to_bytes(), NOW - DAY)
    with pytest.raises(EnrolmentError, match="is over"):
        accept(guests.site(), membership.to_bytes(), NOW + 400 * DAY)
