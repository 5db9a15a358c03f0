"""Which space suits a private consortium, from its size and its privacy budget, and why.

Two figures lead to a suggestion, and neither looks at any site's data: how uncertain noise makes a distance,
in closed form, compared with how much distances between tasks differ; and how well rankings held up where
that was measured.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from deploy.measured_rankings import DELTA, EPS, IMAGES, MEASURED, N_FEATURES, Grid, Measured
from federation import distances
from federation.distances.noise import NoisyTask
from federation.errors import ConfigError
from federation.privacy.accounting import eps_of, rho_for, variance_for
from federation.secagg import graph
from federation.secagg.terms import SMALLEST_COHORT, honest_shares
from federation.sketches import CdfSketch, HistogramSketch, Sketch
from federation.sketches.base import Noise
from federation.sketches.cdf_parameters import CLIP, levels_of, n_thresholds

GOOD = 0.85
"""Expected Spearman from which a ranking is worth having."""
USEFUL = 0.6
"""Below it a ranking is mostly noise."""
_SAME = 0.004  # a better Spearman than this is chance
_MOST_SITES = 200
_LARGEST_EPS = 8.0


@dataclass(frozen=True)
class Plan:
    """What a consortium expects.

    Args:
        n_images: Images per site and task.
        eps: ε of one release.
        delta: δ of one release.
        n_sites: Sites, each with one task.
        images_per_patient: At most this many images per patient.

    Raises:
        ConfigError: If the numbers contradict each other.
        BudgetError: If ε or δ is impossible.
    """

    n_images: int
    eps: float
    delta: float = DELTA
    n_sites: int = 10
    images_per_patient: int = 1

    def __post_init__(self) -> None:
        if self.n_patients < 1:
            raise ConfigError(
                f"{self.n_images} images at {self.images_per_patient} per patient are less than one patient",
                remedy="give the images of a site, and at most as many per patient",
            )
        if self.delta >= 1 / self.n_patients:
            raise ConfigError(
                f"δ = {self.delta:g} is not below one over {self.n_patients} patients",
                remedy="use --delta 1e-6, or smaller for a million patients",
            )
        if self.n_sites < 3:
            raise ConfigError(
                f"{self.n_sites} sites leave fewer than two sources to rank", remedy="give --sites 3 or more"
            )
        _ = self.rho

    @property
    def n_patients(self) -> int:
        """Patients of a site if all have as many images as they may; a patient counts like one image."""
        return self.n_images // self.images_per_patient if self.images_per_patient > 0 else 0

    @property
    def rho(self) -> Fraction:
        """What one release spends."""
        return rho_for(self.eps, self.delta)


@dataclass(frozen=True)
class Expectation:
    """What one space would give.

    Args:
        space: The space.
        spearman: Expected agreement with the noise-free ranking.
        top3: Expected share of the three nearest sources that are found.
        relative_error: Standard error of a typical distance ÷ how much distances to a target differ.
        relative_error_listening: The same for a target that listens and adds no noise of its own.
    """

    space: Measured
    spearman: float
    top3: float
    relative_error: float
    relative_error_listening: float

    @property
    def told_apart(self) -> float:
        """Share of pairs of sources whose distances differ by two standard errors, if both are normal."""
        return math.erfc(math.sqrt(2) * self.relative_error)


def expectations(plan: Plan) -> list[Expectation]:
    """Return what every measured space would give, the suggested one first."""
    found = [_expected(space, plan) for space in MEASURED]
    best = max(e.spearman for e in found)
    if best >= USEFUL:
        chosen = next(e for e in found if e.spearman >= best - _SAME)
    else:  # which of the rankings is least bad is chance
        chosen = min(found, key=lambda e: e.relative_error)
    return [chosen, *(e for e in found if e is not chosen)]


def remedies(plan: Plan) -> list[str]:
    """Return what would make a ranking good, in words; nothing where it is good already."""
    if _best(plan.n_patients, plan.rho) >= GOOD:
        return []
    return [_pooled(plan), _larger_eps(plan), _more_patients(plan), _LISTEN]


def toml(space: Measured) -> str:
    """Return the ``[space]`` table of a federation file, with the distance that ranks in it."""
    clip = [f"clip = {CLIP:g}"] if space.clip_norm else []
    lines = [
        f'# [consortium] distance = "{space.distance}"',
        "[space]",
        f'sketches = ["{space.kind}"]',
        f"bins = {space.n_bins}",
        f'binning = "{space.binning}"',
        *clip,
        "private = true",
        'samples = "all"',
    ]
    return "\n".join(lines) + "\n"


_LISTEN = (
    "listen mode: a target that only ranks others for itself releases nothing and adds no noise of its own, "
    "which takes away half of the noise"
)


def _expected(space: Measured, plan: Plan) -> Expectation:
    n, eps = float(plan.n_patients), _measured_eps(plan.rho)
    spearman, top3 = (_looked_up(grid, n, eps) for grid in (space.spearman, space.top3))
    both, one = (_relative_error(space, plan, listening) for listening in (False, True))
    return Expectation(space, spearman, top3, both, one)


def _relative_error(space: Measured, plan: Plan, listening: bool) -> float:
    sketch, model = _empty(space), distances.get(space.distance).noise_model
    if model is None:
        raise TypeError(f"{space.distance} has no closed form of its noise")
    noisy, exact = NoisyTask(_noise(space, sketch, plan.rho), plan.n_patients), NoisyTask({}, plan.n_patients)
    typical = np.array([[space.typical]])
    error = model.standard_errors(sketch, typical, [noisy], [exact if listening else noisy])
    return float(error[0, 0]) / space.spread


def _empty(space: Measured) -> Sketch:
    if space.kind == CdfSketch.kind:
        return CdfSketch(np.zeros((n_thresholds(levels_of(space.n_bins)), N_FEATURES), np.int64), 0)
    return HistogramSketch(np.zeros((N_FEATURES, space.n_bins), np.int64))


def _noise(space: Measured, sketch: Sketch, rho: Fraction) -> Noise:
    bounds = {"n_images": 1, "curve": space.clip_norm**2} if space.clip_norm else {"counts": N_FEATURES}
    return {array: variance_for(bound, rho * sketch.shares[array]) for array, bound in bounds.items()}


def _measured_eps(rho: Fraction) -> float:
    """The ε at the δ of the measurement that spends as much."""
    return eps_of(rho, DELTA)


def _looked_up(grid: Grid, n: float, eps: float) -> float:
    """Interpolate between measurements.

    Noise counts by n·ε, so that few patients are looked up at a smaller ε and a small ε at fewer patients;
    beyond the largest measured numbers nothing better is promised.
    """
    if n < IMAGES[0]:
        n, eps = float(IMAGES[0]), eps * n / IMAGES[0]
    if eps < EPS[0]:
        n, eps = n * eps / EPS[0], EPS[0]
    if n < IMAGES[0]:
        return max(0.0, grid[0][0]) * n / IMAGES[0]
    by_n = [float(np.interp(math.log(eps), np.log(EPS), row)) for row in grid]
    return float(np.interp(math.log(n), np.log(IMAGES), by_n))


def _best(n_patients: int, rho: Fraction) -> float:
    eps = _measured_eps(rho)
    return max(_looked_up(space.spearman, n_patients, eps) for space in MEASURED)


def _pooled(plan: Plan) -> str:
    enough = (g for g in range(SMALLEST_COHORT, _MOST_SITES + 1) if _best_of_cohort(plan, g) >= GOOD)
    sites = next(enough, None)
    if sites is None:
        return f"pooled cohorts would not do: not even {_MOST_SITES} such sites hold enough patients together"
    return (
        f"a pooled cohort: {sites} sites with the same task that release only their "
        f"sum count as one of {sites * plan.n_patients:,} patients"
    )


def _best_of_cohort(plan: Plan, n_sites: int) -> float:
    """Return the best agreement of a sum: it carries all sites' noise while ρ counts only honest sites'."""
    honest = honest_shares(graph.minimum(n_sites), graph.most_colluders(n_sites))
    return _best(n_sites * plan.n_patients, plan.rho * honest / n_sites)


def _larger_eps(plan: Plan) -> str:
    steps = (s / 4 for s in range(1, int(4 * _LARGEST_EPS) + 1) if s / 4 > plan.eps)
    eps = next((e for e in steps if _best(plan.n_patients, rho_for(e, plan.delta)) >= GOOD), None)
    if eps is None:
        return f"a larger ε alone would not do up to {_LARGEST_EPS:g}, which hardly protects"
    return f"a larger ε: {eps:g} instead of {plan.eps:g} would be enough, and protects patients less"


def _more_patients(plan: Plan) -> str:
    steps = (round(plan.n_patients * 1.1**k) for k in range(1, 120))
    n = next((n for n in steps if _best(n, plan.rho) >= GOOD), None)
    if n is None:
        return "more patients alone would not do"
    return f"more patients: about {float(f'{n:.2g}'):,.0f} per site would be enough at this ε"
