"""What ``python -m benchmarks.private_ranking`` measured on 16 real image tasks, for suggestions.

EfficientNet-Lite0 features (1,280), 480 public reference images, sources and targets noisy, one image per
patient, δ = 1e-6. Other networks and other tasks will differ; the order of the spaces seldom does.
"""

from dataclasses import dataclass

from federation.space import Binning

IMAGES = (100, 300, 1000, 2000)
EPS = (0.25, 0.5, 1.0, 2.0, 4.0)
DELTA = 1e-6
N_FEATURES = 1280
N_TASKS = 16

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measured:
    """A space in which rankings were measured.

    Args:
        kind: Kind of sketch.
        n_bins: Bins per feature.
        distance: The distance that ranks in it.
        typical: Mean distance between two tasks without noise.
        spread: Standard deviation of distances over the sources of a target without noise.
        spearman: [images, ε]: median agreement with the noise-free ranking.
        top3: [images, ε]: median share of the three nearest sources that are the same.
        clip_norm: Largest norm of an image in units of the sketch, where it clips.
        binning: How the edges are placed.
    """

    kind: str
    n_bins: int
    distance: str
    typical: float
    spread: float
    spearman: Grid
    top3: Grid
    clip_norm: int = 0
    binning: Binning = "skewed"


MEASURED = (
    Measured(
        kind="cdf",
        n_bins=2,
        distance="cdf-l2",
        typical=0.0697,
        spread=0.0172,
        clip_norm=460,
        spearman=(
            (0.07, 0.12, 0.38, 0.76, 0.92),
            (0.24, 0.70, 0.90, 0.96, 0.98),
            (0.88, 0.95, 0.98, 0.98, 0.98),
            (0.96, 0.98, 0.98, 0.99, 0.99),
        ),
        top3=(
            (0.21, 0.25, 0.40, 0.67, 0.88),
            (0.29, 0.65, 0.85, 0.96, 0.98),
            (0.83, 0.94, 0.98, 0.98, 0.98),
            (0.92, 0.96, 0.98, 0.98, 0.98),
        ),
    ),
    Measured(
        kind="cdf",
        n_bins=4,
        distance="cdf-l2",
        typical=0.0732,
        spread=0.0180,
        clip_norm=804,
        spearman=(
            (0.10, 0.04, 0.28, 0.64, 0.90),
            (0.16, 0.48, 0.86, 0.96, 0.97),
            (0.82, 0.95, 0.98, 0.99, 0.99),
            (0.95, 0.98, 0.99, 0.99, 0.99),
        ),
        top3=(
            (0.23, 0.17, 0.32, 0.59, 0.86),
            (0.32, 0.52, 0.76, 0.94, 0.96),
            (0.73, 0.92, 0.94, 0.98, 0.98),
            (0.91, 0.96, 0.98, 0.98, 0.98),
        ),
    ),
    Measured(
        kind="histogram",
        n_bins=4,
        distance="cramer",
        typical=0.2233,
        spread=0.0543,
        clip_norm=0,
        spearman=(
            (0.03, 0.03, 0.12, 0.45, 0.83),
            (0.11, 0.36, 0.76, 0.93, 0.97),
            (0.69, 0.92, 0.97, 0.99, 0.99),
            (0.92, 0.97, 0.99, 0.99, 0.99),
        ),
        top3=(
            (0.20, 0.25, 0.28, 0.44, 0.76),
            (0.23, 0.40, 0.69, 0.88, 0.94),
            (0.60, 0.85, 0.93, 0.98, 1.00),
            (0.90, 0.96, 0.98, 1.00, 1.00),
        ),
    ),
)
"""In the order of preference where they rank equally well."""
