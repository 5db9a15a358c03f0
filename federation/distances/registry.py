"""Every distance by name."""

from collections.abc import Collection

from federation.distances.base import CARD, Distance
from federation.distances.cdf import CDF_L2
from federation.distances.divergence import BKLD_LARGE, BKLD_LARGE_SOURCE, BKLD_SMALL, JS, KLD_CLIPPED
from federation.distances.fisher import FED, TASK2VEC, TASK2VEC_ASYMMETRIC, TASK2VEC_PUBLISHED
from federation.distances.gaussian import FID
from federation.distances.kernel import MMD, MMD_UNBIASED
from federation.distances.mean_features import KLD_MEAN_SOURCE, KLD_MEAN_TARGET
from federation.distances.overlap import COSINE, L1
from federation.distances.semantic import EXPERT, SEMANTIC
from federation.distances.sinkhorn import SINKHORN
from federation.distances.squared import L2
from federation.distances.transport import CRAMER, EMD
from federation.errors import UnknownNameError
from federation.space import Space

_ENTRIES: tuple[Distance, ...] = (
    BKLD_SMALL,
    BKLD_LARGE,
    BKLD_LARGE_SOURCE,
    JS,
    KLD_CLIPPED,
    EMD,
    CRAMER,
    CDF_L2,
    L2,
    L1,
    COSINE,
    SINKHORN,
    SEMANTIC,
    EXPERT,
    MMD,
    MMD_UNBIASED,
    FID,
    KLD_MEAN_SOURCE,
    KLD_MEAN_TARGET,
    FED,
    TASK2VEC,
    TASK2VEC_PUBLISHED,
    TASK2VEC_ASYMMETRIC,
)
_BY_NAME = {distance.name: distance for distance in _ENTRIES}


def names() -> tuple[str, ...]:
    """Return the names of all distances."""
    return tuple(_BY_NAME)


def available(space: Space, asked: str = "") -> tuple[str, ...]:
    """Return the names of the distances that fingerprints of a space are compared by.

    Args:
        space: The space.
        asked: Name of a distance that is wanted even if it is declared ``on_demand``.
    """
    provided = {*space.sketches, CARD}
    return tuple(
        name
        for name, distance in _BY_NAME.items()
        if distance.needs in provided and (name == asked or not distance.on_demand)
    )


def on_demand(space: Space) -> tuple[str, ...]:
    """Return the names of the distances that a space allows and that are computed only when asked for."""
    return tuple(name for name in _BY_NAME if _BY_NAME[name].on_demand and name in available(space, name))


def default_for(sketches: Collection[str]) -> str:
    """Return the name of the distance that ranks sources where nobody chose one.

    ``cramer`` where there are histograms, ``cdf-l2`` where there are cumulative frequencies, else the first
    that compares the sketches at hand and is fast enough for every catalogue.

    Args:
        sketches: Kinds of sketches that fingerprints carry.
    """
    by_preference = (CRAMER, CDF_L2, *_ENTRIES)
    usable = (d.name for d in by_preference if d.needs in sketches and not d.on_demand)
    return next(usable, SEMANTIC.name)


def chosen(space: Space, asked: str | None = None) -> str:
    """Return the distance that was asked for, or the default of a space.

    Raises:
        UnknownNameError: If there is no such distance, or the sketches of the space do not allow it.
    """
    if asked is None:
        return default_for(space.sketches)
    possible = available(space, get(asked).name)
    if asked not in possible:
        raise UnknownNameError(
            f"distance {asked!r} needs {get(asked).needs!r} sketches, the space has "
            f"{', '.join(sorted(space.sketches))}",
            remedy=f"choose one of: {', '.join(possible)}",
        )
    return asked


def get(name: str) -> Distance:
    """Return the distance of that name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in _BY_NAME:
        choices = ", ".join(_BY_NAME)
        raise UnknownNameError(f"there is no distance {name!r}", remedy=f"choose one of: {choices}")
    return _BY_NAME[name]


def markdown_table() -> str:
    """Return the declarations of all distances as a table for the documentation."""
    header = "| name | D(s→t) | symmetric | D(T→T) = 0 | follows | under noise |\n|---|---|---|---|---|---|\n"
    return header + "".join(map(_table_row, _ENTRIES))


def _table_row(distance: Distance) -> str:
    answers = [("no", "yes")[flag] for flag in (distance.symmetric, distance.zero_self)]
    cells = [f"`{distance.name}`", distance.formula, *answers, distance.origin, distance.noise]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
