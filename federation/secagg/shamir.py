"""Shamir's secret sharing: any ``threshold`` shares recover a secret, fewer say nothing about it.

Over the field of a prime just above 2^256, so that every 32-byte secret is an element of it (Shamir 1979,
"How to Share a Secret", Communications of the ACM 22(11)). The polynomial is written in Newton's basis,
f(x) = Σ a_k·C(x, k) with a_0 = f(0) the secret: its values at 0, 1, 2, … are nothing but repeated running
sums. The change of basis is triangular and invertible in the field, so uniform coefficients in one basis are
uniform coefficients in the other.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from math import comb, prod
from operator import mul

from federation.errors import ShareError

PRIME = 2**256 + 297
SECRET_BYTES, SHARE_BYTES = 32, 33

_LOW_BITS = (1 << PRIME.bit_length()) - 1

Randomness = Callable[[int], bytes]


def split(secret: bytes, holders: int, threshold: int, randomness: Randomness = os.urandom) -> list[bytes]:
    """Return one share for every holder; holder k = 0, 1, … gets f(k + 1).

    Args:
        secret: 32 bytes.
        holders: Number of shares.
        threshold: How many of them recover the secret.
        randomness: Independent uniform bytes, as many as asked for.

    Returns:
        ``holders`` shares of 33 bytes, big-endian.

    Raises:
        ShareError: If the secret has another length, or no polynomial has this threshold.
    """
    if len(secret) != SECRET_BYTES:
        raise ShareError(f"a secret has {len(secret)} bytes, expected {SECRET_BYTES}")
    if not 1 <= threshold <= holders:
        raise ShareError(f"the threshold of a secret is {threshold}, expected 1 to {holders} for its holders")
    coefficients = [int.from_bytes(secret), *_field_elements(threshold - 1, randomness)]
    return [(value % PRIME).to_bytes(SHARE_BYTES) for value in _values(coefficients, holders + 1)[1:]]


def recover(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """Return the secret; a wrong share goes unnoticed unless what it recovers is compared with a commitment.

    Args:
        shares: Position of the holder, 0, 1, … → its share; the first ``threshold`` positions count.
        threshold: How many shares the secret was split for.

    Raises:
        ShareError: If shares are too few or malformed, or recover no secret.
    """
    positions = tuple(sorted(shares)[:threshold])
    if threshold < 1 or len(positions) < threshold:
        raise ShareError(
            f"a secret has {len(shares)} shares, expected {threshold}", remedy="too many sites are missing"
        )
    values = [_value(shares[position]) for position in positions]
    secret: int = sum(map(mul, _coefficients_at_zero(positions), values)) % PRIME
    if secret >> 8 * SECRET_BYTES:
        raise ShareError("shares recover no secret", remedy="a site sent a wrong share")
    return secret.to_bytes(SECRET_BYTES)


def _field_elements(n: int, randomness: Randomness) -> list[int]:
    """Return n independent uniform elements of the field: of numbers of 257 bits, those below the prime."""
    elements: list[int] = []
    while len(elements) < n:
        missing = (n - len(elements)) * SHARE_BYTES
        block = randomness(missing)
        if len(block) != missing:
            raise ShareError(f"the source of randomness gave {len(block)} of {missing} bytes")
        draws = (_low_bits(block[i : i + SHARE_BYTES]) for i in range(0, missing, SHARE_BYTES))
        elements += [draw for draw in draws if draw < PRIME]
    return elements


def _low_bits(block: bytes) -> int:
    return int.from_bytes(block) & _LOW_BITS


def _values(coefficients: Sequence[int], n: int) -> list[int]:
    """Return Σ a_k·C(x, k) at x = 0 … n − 1, not reduced: f(x) is f(0) and the differences up to x."""
    row = [coefficients[-1]] * n
    for coefficient in reversed(coefficients[:-1]):
        row = list(islice(accumulate(row, initial=coefficient), n))
    return row


def _value(share: bytes) -> int:
    value = int.from_bytes(share)
    if len(share) != SHARE_BYTES or value >= PRIME:
        raise ShareError("a share is not in the field", remedy="a site sent a malformed share")
    return value


@lru_cache(maxsize=4096)
def _coefficients_at_zero(positions: tuple[int, ...]) -> tuple[int, ...]:
    """Return Lagrange's coefficients: f(0) = Σ λ_x·f(x), λ_x = Π y / (y − x) over the other points y.

    Were every point 1 … m there, that would be (−1)^(x − 1)·C(m, x); the few that are not are divided out.
    """
    if positions[0] < 0:
        raise ShareError(f"a share is of holder {positions[0]}, expected 0 or more")
    points = [position + 1 for position in positions]
    absent = sorted(set(range(1, points[-1])).difference(points))
    divisor = pow(prod(absent), -1, PRIME)
    return tuple(
        (-1) ** (x - 1) * comb(points[-1], x) * prod(y - x for y in absent) * divisor % PRIME for x in points
    )
