"""What a privacy statement may say of a sum, and that the others say nothing of one."""

import pytest

from federation.errors import FingerprintError
from federation.privacy.statement import (
    DISCRETE_GAUSSIAN,
    DISTRIBUTED_GAUSSIAN,
    NEIGHBOURS,
    PrivacyStatement,
)
from federation.trust import TrustMode

NOISY = PrivacyStatement(
    TrustMode.PRIVATE,
    DISCRETE_GAUSSIAN,
    "patient",
    NEIGHBOURS,
    "1/50",
    1.0,
    1e-6,
    noise={"histogram.counts": 64},
)
EXACT_SUM = PrivacyStatement(TrustMode.POOLED, sites=5)
NOISY_SUM = PrivacyStatement(
    TrustMode.POOLED,
    DISTRIBUTED_GAUSSIAN,
    "patient",
    NEIGHBOURS,
    "1/50",
    1.0,
    1e-6,
    noise={"histogram.counts": 80},
    sites=5,
    honest=3,
)


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        (PrivacyStatement(TrustMode.OPEN), {"mode", "mechanism", "unit"}),
        (EXACT_SUM, {"mode", "mechanism", "unit", "sites"}),
    ],
)
def test_an_exact_statement_says_little(statement, keys):
    assert set(statement.to_json()) == keys
    assert PrivacyStatement.from_json(statement.to_json()) == statement


def test_only_a_pooled_statement_speaks_of_sites():
    assert {"sites", "honest"}.isdisjoint(NOISY.to_json())
    assert PrivacyStatement.from_json(NOISY.to_json()) == NOISY
    assert PrivacyStatement.from_json(NOISY_SUM.to_json()) == NOISY_SUM
    assert set(NOISY_SUM.to_json()) - set(NOISY.to_json()) == {"sites", "honest"}


@pytest.mark.parametrize(
    ("statement", "changes", "match"),
    [
        (EXACT_SUM, {"sites": 0}, "sum of 0 sites"),
        (EXACT_SUM, {"sites": -1}, "whole and not negative"),
        (EXACT_SUM, {"sites": True}, "whole and not negative"),
        (EXACT_SUM, {"mode": "open"}, "mode 'open' is about the sum of 5 sites"),
        (EXACT_SUM, {"honest": 1}, "'none' relies on 1 honest sites"),
        (NOISY, {"sites": 3}, "mode 'private' is about the sum of 3 sites"),
        (NOISY, {"mode": "pooled", "sites": 5, "honest": 3}, "'discrete Gaussian' relies on 3 honest"),
        (NOISY_SUM, {"honest": 6}, "sum of 5 sites, 6 of them honest"),
        (NOISY_SUM, {"honest": 0}, "relies on 0 honest sites"),
        (NOISY_SUM, {"honest": 3.0}, "whole and not negative"),
        (NOISY_SUM, {"mode": "private", "sites": 0, "honest": 0}, "relies on 0 honest sites"),
    ],
)
def test_contradictions_about_a_sum_are_refused(statement, changes, match):
    with pytest.raises(FingerprintError, match=match):
        PrivacyStatement.from_json(statement.to_json() | changes)
