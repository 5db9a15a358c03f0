"""How far distances between fingerprints order pairs of tasks as raw samples do."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

Floats = npt.NDArray[np.float64]


def agreement(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> list[dict[str, object]]:
    """Return Spearman's rank correlation of every distance with every other kind.

    Args:
        ours: Name → float64 [n_tasks, n_tasks] between fingerprints.
        theirs: Name → float64 [n_tasks, n_tasks] between raw samples.

    Returns:
        Rows with ``fingerprint``, ``sample``, ``pairs`` (over all pairs of different tasks) and ``targets``
        (mean over targets of the correlation over their sources); None where a ranking is constant.
    """
    return [
        {"fingerprint": a, "sample": b, "pairs": _over_pairs(x, y), "targets": _over_targets(x, y)}
        for a, x in ours.items()
        for b, y in theirs.items()
    ]


def _over_pairs(x: Floats, y: Floats) -> float | None:
    others = ~np.eye(len(x), dtype=bool)
    return _mean([_spearman(x[others], y[others])])


def _over_targets(x: Floats, y: Floats) -> float | None:
    sources = [np.arange(len(x)) != target for target in range(len(x))]
    return _mean([_spearman(x[kept, t], y[kept, t]) for t, kept in enumerate(sources)])


def _spearman(x: Floats, y: Floats) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(spearmanr(x, y).statistic)


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
