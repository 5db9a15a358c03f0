"""When an adaptive sample is large enough: as soon as its own sampling error is small.

The cumulative frequency C of a bin, estimated from n images, has the variance C(1 - C)/n. The rule stops at
the first checkpoint where the root mean square of that error over features and bins is at most a tolerance.
Its square times the number of bins is what sampling adds to the Cramér distance (squared L2 of cumulative
curves), on average; stopping every task at the same error adds the same to all sources of a target and so
favours none, whereas equal numbers of images favour homogeneous ones.
"""

import math

import numpy as np

from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch

CHECKPOINT = 64  # images between two looks at the error
FIRST_CHECKPOINT = 128  # before that the error is itself too uncertain
_LARGEST_VARIANCE = 0.25  # of a single image's C: no sample needs more than 1 + 0.25 / tolerance²


def sampling_error(histogram: HistogramSketch) -> float:
    """Return the root mean square standard error of cumulative frequencies over features and bins.

    The sum over c(n - c), c the cumulative counts, is taken in integers: the same counts stop at the same
    image everywhere.

    Args:
        histogram: The images drawn so far.

    Returns:
        A share between 0 and 0.5; infinity for fewer than two images, whose error cannot be told.
    """
    n = histogram.n
    if n < 2:
        return math.inf
    below = np.cumsum(histogram.counts, axis=1)
    spread = sum((below * (n - below)).sum(axis=1).tolist())
    return math.sqrt(spread / (n * n * (n - 1) * below.size))


def is_enough(histogram: HistogramSketch, tolerance: float) -> bool:
    """Return whether sampling may stop at this histogram; asked at every checkpoint."""
    return histogram.n >= FIRST_CHECKPOINT and sampling_error(histogram) <= tolerance


def expected_images(plan: SamplingPlan, histogram: HistogramSketch, available: int) -> int:
    """Return how many images a plan is going to use, judging by those drawn so far.

    Args:
        plan: The budget.
        histogram: The images drawn so far.
        available: Draws that the plan has at most.
    """
    if plan.tolerance is None:
        return available
    variance = _LARGEST_VARIANCE
    if histogram.n >= FIRST_CHECKPOINT:
        variance = (histogram.n - 1) * sampling_error(histogram) ** 2
    needed = max(FIRST_CHECKPOINT, 1 + variance / plan.tolerance**2)
    return min(available, CHECKPOINT * math.ceil(needed / CHECKPOINT))
