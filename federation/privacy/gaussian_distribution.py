"""The cumulative distribution of a discrete Gaussian's magnitude, enclosed between integers.

Only integer arithmetic: every quantity is a pair of Python integers that stand for a lower and an upper bound
in units of 2^-bits, rounded down and up, so the truth lies between them whatever the precision.
Why: docs/privacy-proofs.md#the-sampler-is-exact.
"""

from dataclasses import dataclass
from itertools import accumulate

Enclosure = tuple[int, int]  # lower, upper


@dataclass(frozen=True)
class MagnitudeDistribution:
    """Bounds of P(|X| ≤ m) for m = 0, 1, …, until all but about 2^-bits of the mass is below.

    Args:
        bits: The unit of the bounds is 2^-bits.
        lower: Bounds from below, rounded down.
        upper: Bounds from above, rounded up, at most 2^bits.
    """

    bits: int
    lower: list[int]
    upper: list[int]


def magnitude_distribution(variance: int, bits: int) -> MagnitudeDistribution:
    """Return P(|X| ≤ m) where P(X = k) ∝ exp(−k²/2σ²) on the integers.

    Args:
        variance: σ², at least 1.
        bits: Of the bounds; they lie at most four units apart.
    """
    precision = bits + variance.bit_length() + 16  # rounding adds up to about 20σ² units
    weights, tail = _weights(variance, precision, bits)
    lower = list(accumulate((2 * low for low, _ in weights[1:]), initial=weights[0][0]))
    upper = list(accumulate((2 * up for _, up in weights[1:]), initial=weights[0][1]))
    least, most = lower[-1], upper[-1] + 2 * tail  # of the sum of all weights
    return MagnitudeDistribution(
        bits,
        [(head << bits) // most for head in lower],
        [min(_ceiling(head << bits, least), 1 << bits) for head in upper],
    )


def _weights(variance: int, precision: int, bits: int) -> tuple[list[Enclosure], int]:
    """Return exp(−k²/2σ²) for k = 0, 1, … and an upper bound of the sum of all that are left out.

    The ratio of neighbours is exp(−(2k+1)/2σ²), and each ratio is exp(−1/σ²) times the one before. As ratios
    fall, the weights from k on sum to at most the k-th divided by one minus its ratio: a geometric series.
    """
    one = 1 << precision
    low, up = one, one
    ratio_low, ratio_up = exponential_of_reciprocal(2 * variance, precision)
    step_low, step_up = exponential_of_reciprocal(variance, precision)
    weights = []
    while up << (bits + 1) > one - ratio_up:
        weights.append((low, up))
        low, up = low * ratio_low >> precision, -(-up * ratio_up >> precision)
        ratio_low, ratio_up = ratio_low * step_low >> precision, -(-ratio_up * step_up >> precision)
    return weights, _ceiling(up << precision, one - ratio_up)


def exponential_of_reciprocal(n: int, precision: int) -> Enclosure:
    """Return bounds of exp(−1/n) in units of 2^-precision.

    Its Taylor series alternates with falling terms, so neighbouring partial sums enclose it; they are exact
    fractions with the denominator i!·nⁱ, rounded only at the end.

    Args:
        n: At least 1.
        precision: The bounds differ by at most three units.
    """
    i, numerator, denominator = 1, n - 1, n  # the partial sum up to an odd i is below
    while denominator >> (precision + 1) == 0:
        i += 2
        numerator = (numerator * (i - 1) * n + 1) * i * n - 1
        denominator *= (i - 1) * i * n * n
    lower = (numerator << precision) // denominator
    i += 1
    return lower, _ceiling((numerator * i * n + 1) << precision, denominator * i * n)


def _ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
