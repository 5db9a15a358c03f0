"""How far two rankings of sources agree."""

import numpy as np
from scipy.stats import rankdata

NEAREST = 3


def agreement(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return Spearman's correlation over sources and the overlap of the three nearest, means over targets.

    A target whose sources are all tied has no ranking, and counts as 0.

    Args:
        found: float64 [n_tasks, n_tasks], distances of sources (rows) to targets.
        expected: Likewise.
    """
    others = ~np.eye(len(found), dtype=bool)
    ours, theirs = (
        rankdata(values.T[others].reshape(len(found), -1), axis=1) for values in (found, expected)
    )
    nearest = [np.argsort(ranks, axis=1)[:, :NEAREST] for ranks in (ours, theirs)]
    overlap = [len({*a} & {*b}) / len(a) for a, b in zip(*nearest, strict=True)]
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (ours, theirs))
    length = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    spearman = (a * b).sum(axis=1) / np.where(length, length, np.inf)
    return float(spearman.mean()), float(np.mean(overlap))
