"""Between looking at a request and approving it somebody telephones; what was decided meanwhile counts."""

import pytest
from onboarded import DAY, NOW, members

from aggregator.enrolling import approve, examine
from aggregator.member_changes import renew, revoke
from federation.errors import EnrolmentError
from site_agent.key_rotation import rotate_node_key

LATER = NOW + 400 * DAY


def approved_after(guests, file, decide, now=NOW):
    candidate = examine(guests.hub, file.read_bytes(), now)
    decide()
    with pytest.raises(EnrolmentError):
        approve(guests.hub, candidate, candidate.compared.number, now)


def rotation_of(site):
    rotate_node_key(site, NOW)
    return site.folder.rotation(site.name)


def test_a_site_that_was_revoked_meanwhile_does_not_come_back_with_a_new_node_key(guests):
    guests.member()
    rotation = rotation_of(guests.site())
    approved_after(guests, rotation, lambda: revoke(guests.hub, "anna", "key stolen", NOW))
    assert members(guests) == {}


def test_a_site_that_was_revoked_meanwhile_does_not_come_back_with_an_enrolment(guests):
    guests.member()
    joined = guests.joined(guests.invited(now=LATER), LATER)
    approved_after(guests, joined.enrolment, lambda: revoke(guests.hub, "anna", "left", LATER), LATER)
    assert members(guests, LATER) == {}


def test_an_invitation_that_was_replaced_meanwhile_lets_nobody_in(guests):
    joined = guests.joined(guests.invited())
    approved_after(guests, joined.enrolment, lambda: guests.invited(again=True))
    assert members(guests) == {}


def test_a_membership_that_was_renewed_meanwhile_is_looked_at_again(guests):
    guests.member()
    rotation = rotation_of(guests.site())
    approved_after(guests, rotation, lambda: renew(guests.hub, "anna", NOW + 1))


def test_of_two_approvals_of_one_answer_the_second_is_refused(guests):
    joined = guests.joined(guests.invited())
    approved_after(guests, joined.enrolment, lambda: guests.approved(joined.enrolment))
    assert members(guests)["anna"].serial == 1


def test_a_key_that_another_site_enrolled_meanwhile_is_refused(guests):
    first, second = guests.joined(guests.invited()), guests.invited("cork")
    (guests.home / "cork").mkdir()
    (guests.home / "anna" / "state").rename(guests.home / "cork" / "state")
    theirs = guests.joined(second)
    candidate = examine(guests.hub, theirs.enrolment.read_bytes(), NOW)
    guests.approved(first.enrolment)
    with pytest.raises(EnrolmentError, match="has a key of anna"):
        approve(guests.hub, candidate, candidate.compared.number, NOW)
