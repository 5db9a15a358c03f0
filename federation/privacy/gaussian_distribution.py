"""The cumulative distribution of a discrete Gaussian's magnitude, or of one side of it, between integers.

Only integer arithmetic: every quantity is a pair of Python integers that stand for a lower and an upper bound
in units of 2^-bits, rounded down and up, so the truth lies between them whatever the precision.
Why: docs/privacy-proofs.md#the-sampler-is-exact.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

Enclosure = tuple[int, int]  # lower, upper


@dataclass(frozen=True)
class MagnitudeDistribution:
    """Bounds of P(magnitude ≤ m) for m = 0, 1, …, until all but about 2^-bits of the mass is below.

    Args:
        bits: The unit of the bounds is 2^-bits.
        lower: Bounds from below, rounded down.
        upper: Bounds from above, rounded up, at most 2^bits.
    """

    bits: int
    lower: list[int]
    upper: list[int]


def magnitude_distribution(rate: Fraction, bits: int, sides: int = 2) -> MagnitudeDistribution:
    """Return P(|X| ≤ m) where P(X = k) ∝ exp(−k²·rate) on the integers, or on those from zero.

    Args:
        rate: 1/2σ², at most one half.
        bits: Of the bounds; they lie at most four units apart.
        sides: 2: all integers; 1: those from zero.
    """
    precision = bits + int(1 / rate).bit_length() + 16  # rounding adds up to about 20σ² units
    weights, tail = _weights(rate, precision, bits)
    lower = list(accumulate((sides * low for low, _ in weights[1:]), initial=weights[0][0]))
    upper = list(accumulate((sides * up for _, up in weights[1:]), initial=weights[0][1]))
    least, most = lower[-1], upper[-1] + sides * tail  # of the sum of all weights
    return MagnitudeDistribution(
        bits,
        [(head << bits) // most for head in lower],
        [min(_ceiling(head << bits, least), 1 << bits) for head in upper],
    )


def _weights(rate: Fraction, precision: int, bits: int) -> tuple[list[Enclosure], int]:
    """Return exp(−k²·rate) for k = 0, 1, … and an upper bound of the sum of all that are left out.

    The ratio of neighbours is exp(−(2k+1)·rate), and each ratio is exp(−2·rate) times the one before. As
    ratios fall, the weights from k on sum to at most the k-th over one minus its ratio: a geometric series.
    """
    one = 1 << precision
    low, up = one, one
    ratio_low, ratio_up = exponential(rate, precision)
    step_low, step_up = exponential(2 * rate, precision)
    weights = []
    while up << (bits + 1) > one - ratio_up:
        weights.append((low, up))
        low, up = low * ratio_low >> precision, -(-up * ratio_up >> precision)
        ratio_low, ratio_up = ratio_low * step_low >> precision, -(-ratio_up * step_up >> precision)
    return weights, _ceiling(up << precision, one - ratio_up)


def exponential(x: Fraction, precision: int) -> Enclosure:
    """Return bounds of exp(−x) in units of 2^-precision.

    Its Taylor series alternates; once its terms fall, neighbouring partial sums enclose it. They are exact
    fractions with the denominator i!·qⁱ where x = p/q, rounded only at the end.

    Args:
        x: Not negative.
        precision: The bounds differ by at most three units.
    """
    p, q = x.numerator, x.denominator
    i, term, numerator, denominator, above = 0, 1, 1, 1, (1, 1)
    while i % 2 == 0 or -term << (precision + 1) > denominator:
        if i % 2 == 0:
            above = (numerator, denominator)
        i, term = i + 1, -term * p
        numerator, denominator = numerator * i * q + term, denominator * i * q
    return (numerator << precision) // denominator, _ceiling(above[0] << precision, above[1])


def _ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
