import pytest

from federation.expiry import WARN_DAYS, Urgency, expiry_of

DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("left_s", "days", "urgency"),
    [
        (400 * DAY, 400, Urgency.OK),
        (WARN_DAYS * DAY, WARN_DAYS, Urgency.OK),
        (WARN_DAYS * DAY - 1, WARN_DAYS - 1, Urgency.SOON),
        (1.0, 0, Urgency.SOON),
        (0.0, 0, Urgency.OVER),
        (-1.0, -1, Urgency.OVER),
    ],
)
def test_an_end_is_warned_of_thirty_days_ahead(left_s, days, urgency):
    found = expiry_of("the membership", NOW + left_s, NOW)
    assert (found.days, found.urgency) == (days, urgency)


def test_an_end_is_told_in_words():
    assert str(expiry_of("the membership", NOW + 1.5 * DAY, NOW)) == (
        "the membership ends on 2027-01-16, in 1 day"
    )
    assert str(expiry_of("the membership", NOW, NOW)) == "the membership ended on 2027-01-15"
