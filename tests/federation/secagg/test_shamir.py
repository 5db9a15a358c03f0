"""Any threshold of shares recovers a secret; fewer are consistent with every secret."""

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from randomness import stream

from federation.errors import ShareError
from federation.secagg import shamir
from federation.secagg.shamir import PRIME, SHARE_BYTES, recover, split

secrets_of_32_bytes = st.binary(min_size=32, max_size=32)


def solved(points, values, modulus):
    """Coefficients of the polynomial through the points: the Vandermonde system by Gaussian elimination."""
    n = len(points)
    rows = [[pow(x, k, modulus) for k in range(n)] + [y] for x, y in zip(points, values, strict=True)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        inverse = pow(rows[i][i], modulus - 2, modulus)
        rows[i] = [value * inverse % modulus for value in rows[i]]
        for r in range(n):
            if r != i:
                factor = rows[r][i]
                rows[r] = [(a - factor * b) % modulus for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[n] for row in rows]


def is_probably_prime(n, bases=64):
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    draws = random.Random(1)
    for base in (draws.randrange(2, n - 1) for _ in range(bases)):
        x = pow(base, odd, n)
        if x not in (1, n - 1) and not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


def test_the_field_is_that_of_the_least_prime_above_every_secret():
    assert is_probably_prime(PRIME)
    assert not any(is_probably_prime(n, bases=1) for n in range(2**256 + 1, PRIME))


@settings(max_examples=50)
@given(secrets_of_32_bytes, st.integers(1, 12), st.data())
def test_any_threshold_of_shares_recovers_the_secret(secret, holders, data):
    threshold = data.draw(st.integers(1, holders))
    chosen = data.draw(st.permutations(range(holders)))[: data.draw(st.integers(threshold, holders))]
    shares = split(secret, holders, threshold)
    assert recover({k: shares[k] for k in chosen}, threshold) == secret


@settings(max_examples=25)
@given(secrets_of_32_bytes, st.integers(2, 9), st.integers(0, 2**32), st.data())
def test_shares_lie_on_a_polynomial_of_the_threshold_s_degree_through_the_secret(secret, holders, seed, data):
    threshold = data.draw(st.integers(1, holders))
    values = [int.from_bytes(share) for share in split(secret, holders, threshold, stream(seed))]
    coefficients = solved(range(1, holders + 1), values, PRIME)
    assert coefficients[0] == int.from_bytes(secret)
    assert not any(coefficients[threshold:])


def test_recovering_agrees_with_a_solved_vandermonde_system_for_a_cohort_of_a_hundred():
    secret = stream(3)(32)
    shares = split(secret, 100, 67, stream(4))
    chosen = sorted(random.Random(5).sample(range(100), 67))
    coefficients = solved([k + 1 for k in chosen], [int.from_bytes(shares[k]) for k in chosen], PRIME)
    assert coefficients[0].to_bytes(32) == secret == recover({k: shares[k] for k in chosen}, 67)


@pytest.mark.parametrize("absent", [{0}, {41}, {99}, {0, 1, 2, 50, 98, 99}, set(range(0, 66, 2))])
def test_a_secret_survives_any_holders_that_drop_out(absent):
    secret = bytes(range(32))
    shares = split(secret, 100, 67, stream(6))
    assert recover({k: share for k, share in enumerate(shares) if k not in absent}, 67) == secret


def test_only_the_first_threshold_of_positions_counts():
    shares = dict(enumerate(split(bytes(32), 5, 3, stream(1))))
    assert recover(shares | {4: bytes(SHARE_BYTES)}, 3) == bytes(32)


@given(secrets_of_32_bytes, secrets_of_32_bytes, st.integers(2, 8), st.integers(0, 2**32))
@settings(max_examples=25)
def test_one_share_too_few_is_consistent_with_every_secret(secret, other, threshold, seed):
    known = [int.from_bytes(share) for share in split(secret, threshold, threshold, stream(seed))[:-1]]
    coefficients = solved(range(threshold), [int.from_bytes(other), *known], PRIME)
    last = sum(a * pow(threshold, k, PRIME) for k, a in enumerate(coefficients)) % PRIME
    shares = [value.to_bytes(SHARE_BYTES) for value in (*known, last)]
    assert recover(dict(enumerate(shares)), threshold) == other


def test_in_a_small_field_shares_below_the_threshold_are_equally_likely_for_every_secret(monkeypatch):
    """All polynomials of GF(5): any two of three shares of a secret take every pair of values once."""
    monkeypatch.setattr(shamir, "PRIME", 5)
    pairs = [(a, b) for a in range(5) for b in range(5)]
    for secret in range(5):
        rows = [[value % 5 for value in shamir._values([secret, a, b], 4)[1:]] for a, b in pairs]
        for holders in combinations(range(3), 2):
            assert sorted(tuple(row[k] for k in holders) for row in rows) == pairs


def test_coefficients_are_drawn_by_rejection():
    beyond, within = (2**257 - 1).to_bytes(33), (PRIME - 1).to_bytes(33)
    blocks = [beyond + within, within]
    assert shamir._field_elements(2, lambda n: blocks.pop(0)) == [PRIME - 1, PRIME - 1]
    assert not blocks


def test_two_splits_of_a_secret_have_nothing_in_common():
    one, other = split(bytes(32), 5, 3), split(bytes(32), 5, 3)
    assert not set(one) & set(other)


@pytest.mark.parametrize(("holders", "threshold"), [(3, 0), (3, 4), (0, 0), (3, -1)])
def test_an_impossible_threshold_is_refused(holders, threshold):
    with pytest.raises(ShareError, match=f"threshold of a secret is {threshold}"):
        split(bytes(32), holders, threshold)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused(length):
    with pytest.raises(ShareError, match=f"{length} bytes, expected 32"):
        split(bytes(length), 3, 2)


def test_randomness_that_runs_short_is_refused():
    with pytest.raises(ShareError, match="gave 32 of 33 bytes"):
        split(bytes(32), 3, 2, lambda n: bytes(n - 1))


def test_too_few_shares_are_refused():
    shares = dict(enumerate(split(bytes(32), 5, 3)))
    del shares[0], shares[1], shares[2]
    with pytest.raises(ShareError, match="2 shares, expected 3"):
        recover(shares, 3)
    with pytest.raises(ShareError, match="0 shares"):
        recover({}, 0)


@pytest.mark.parametrize("share", [b"", bytes(32), bytes(34), PRIME.to_bytes(33), b"\xff" * 33])
def test_a_share_outside_the_field_is_refused(share):
    shares = dict(enumerate(split(bytes(32), 3, 3)))
    with pytest.raises(ShareError, match="not in the field"):
        recover(shares | {1: share}, 3)


def test_a_holder_before_the_first_is_refused():
    with pytest.raises(ShareError, match="holder -1"):
        recover({-1: bytes(33), 0: bytes(33)}, 2)


def test_shares_that_recover_no_secret_are_refused_without_saying_what_they_recover():
    share = (PRIME - 1).to_bytes(33)
    with pytest.raises(ShareError, match="recover no secret") as caught:
        recover({0: share}, 1)
    assert share.hex()[2:] not in str(caught.value)
