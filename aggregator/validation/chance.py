"""What is to be expected without knowledge: of random choice, exactly, and of no transfer at all."""

from functools import cache
from math import comb

import numpy as np

from aggregator.study import Floats
from aggregator.validation.metrics import BEST_OF, CHOSEN, METRICS, percentiles, regrets, weighted_tau

_PERMUTATIONS = 1000
_OF_RANKINGS = ("weighted_tau", "spearman", "percentile_at_3", "best_of_3_percentile")


def expect_random(performance: Floats, baseline: float) -> Floats:
    """Return the expected scores of a ranking drawn at random.

    Means over the chosen equal the mean over all sources, the percentile (N + 1)/2N among them; the best
    of k follows the hypergeometric distribution; correlations are zero. (Where performances are tied,
    SciPy's weighted tau is on average a few thousandths above zero, since affinity breaks their tie.)

    Args:
        performance: float64 [n_sources], finite.
        baseline: Performance without transfer, NaN where unknown.

    Returns:
        float64 [n_metrics], columns as in ``metrics.METRICS``.
    """
    gains = performance - baseline
    known = not np.isnan(baseline)
    expected = {
        "weighted_tau": 0.0,
        "spearman": 0.0,
        "percentile_at_3": percentiles(performance).mean(),
        "best_of_3_percentile": expect_best(percentiles(performance), CHOSEN),
        "regret_at_3": regrets(performance).mean(),
        "improvement_rate_at_3": (gains > 0).mean() if known else np.nan,
        "delta_at_1": gains.mean(),
        "delta_at_3": gains.mean(),
        "negative_transfer_rate": (gains < 0).mean() if known else np.nan,
    }
    improves = (gains > 0).astype(np.float64)
    for k, name in enumerate(BEST_OF, start=1):
        expected[name] = expect_best(improves, k) if known else np.nan
    return np.array([expected[name] for name in METRICS])


def expect_best(values: Floats, k: int) -> float:
    """Return the expected largest of k values drawn without replacement.

    The i-th smallest of N is the largest of the k in C(i − 1, k − 1) of C(N, k) draws.

    Args:
        values: float64 [n_values].
        k: How many are drawn; all, if there are fewer.
    """
    k = min(k, len(values))
    draws = [comb(i, k - 1) for i in range(len(values))]
    return float(np.sort(values) @ np.array(draws, dtype=np.float64) / comb(len(values), k))


def score_no_transfer(performance: Floats, baseline: float) -> Floats:
    """Return the scores of keeping to the target's own data.

    Nothing is ranked and nothing is gained; what is left is the regret, none where no source helps.

    Args:
        performance: float64 [n_sources], finite.
        baseline: Performance without transfer, NaN where unknown.

    Returns:
        float64 [n_metrics], columns as in ``metrics.METRICS``.
    """
    scores = dict.fromkeys(METRICS, np.nan if np.isnan(baseline) else 0.0) | dict.fromkeys(
        _OF_RANKINGS, np.nan
    )
    if not np.isnan(baseline):
        scores["regret_at_3"] = float(regrets(np.append(performance, baseline))[-1])
    return np.array([scores[name] for name in METRICS])


def null_interval(n_sources: list[int]) -> tuple[float, float]:
    """Return where the mean weighted tau of a random ranking falls in 95 of 100 studies.

    Targets count as independent and performances as free of ties.

    Args:
        n_sources: Number of sources of every target.
    """
    spread = np.sqrt(sum(null_variance(n) for n in n_sources)) / max(len(n_sources), 1)
    return -1.96 * float(spread), 1.96 * float(spread)


@cache
def null_variance(n_sources: int) -> float:
    """Return the variance of the weighted tau of a random ranking, by simulation.

    Args:
        n_sources: Number of sources ranked.
    """
    generator = np.random.default_rng(n_sources)
    order = np.arange(n_sources, dtype=np.float64)
    rankings = (generator.permutation(order) for _ in range(_PERMUTATIONS))
    taus = np.concatenate([weighted_tau(ranking[None], order) for ranking in rankings])
    return float(np.mean(taus**2))
