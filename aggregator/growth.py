"""New fingerprints get their distances to and from those before them; what is stored is never recomputed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from aggregator.mapped_histograms import HistogramFiles
from aggregator.store import Border, Catalogue, Listing
from federation import distances
from federation.distances.base import CARD, Distance, Matrix
from federation.distances.histogram import HistogramDistance
from federation.distances.newcomers import rows_and_columns
from federation.distances.stack import slices
from federation.fingerprint import Fingerprint
from federation.space import Space

AT_ONCE = 1024  # new fingerprints whose rows and columns are in memory together


def grow(catalogue: Catalogue, space: Space, names: Sequence[str] | None = None) -> list[Listing]:
    """Compute and store the distances that are missing.

    Args:
        catalogue: Where fingerprints and distances are kept.
        space: The space.
        names: The distances, by default all of the space.

    Returns:
        Every fingerprint of the space, in order of arrival.
    """
    listings = catalogue.listings(space)
    places = {entry.seq: k for k, entry in enumerate(listings)}
    for seq, missing in _missing(catalogue, space, names or distances.available(space)).items():
        first = places[seq]
        of_histograms = [d for d in missing if isinstance(d, HistogramDistance)]
        others = [d for d in missing if not isinstance(d, HistogramDistance)]
        if of_histograms:
            stack = _histograms(catalogue, space, listings).all()
            for part in _parts(first, len(listings)):
                everyone = stack.part(slice(0, part.stop))
                found = rows_and_columns(of_histograms, stack.part(part), everyone)
                named = zip((d.name for d in of_histograms), found, strict=True)
                _store(catalogue, listings, part, dict(named))
        if others:
            _compare_fingerprints(catalogue, space, listings, first, others)
    return listings


def _missing(catalogue: Catalogue, space: Space, names: Sequence[str]) -> dict[int, list[Distance]]:
    """``seq`` of the first fingerprint without a border → the distances it lacks."""
    found = defaultdict(list)
    for name in names:
        seq = catalogue.first_without_border(space, name)
        if seq is not None:
            found[seq].append(distances.get(name))
    return found


def _histograms(catalogue: Catalogue, space: Space, listings: Sequence[Listing]) -> HistogramFiles:
    return HistogramFiles(
        catalogue.path.with_suffix(".mapped") / space.space_id[:16],
        space,
        [entry.fingerprint_id for entry in listings],
        [entry.key for entry in listings],
        lambda k: catalogue.fingerprint(listings[k].seq, space).histogram,
    )


def _compare_fingerprints(
    catalogue: Catalogue, space: Space, listings: Sequence[Listing], first: int, missing: Sequence[Distance]
) -> None:
    for needs in {distance.needs for distance in missing}:
        everyone = _fingerprints(catalogue, space, listings, whole=needs != CARD)
        for distance in (d for d in missing if d.needs == needs):
            for part in _parts(first, len(listings)):
                newcomers, those = everyone[part], everyone[: part.stop]
                rows, columns = distance.matrix(newcomers, those), distance.matrix(those, newcomers)
                _store(catalogue, listings, part, {distance.name: (rows, columns)})


def _fingerprints(
    catalogue: Catalogue, space: Space, listings: Sequence[Listing], *, whole: bool
) -> list[Fingerprint]:
    seqs = [entry.seq for entry in listings]
    return [catalogue.fingerprint(seq, space) for seq in seqs] if whole else catalogue.heads(seqs)


def _parts(first: int, total: int) -> Iterator[slice]:
    for part in slices(total - first, AT_ONCE):
        yield slice(first + part.start, first + part.stop)


def _store(
    catalogue: Catalogue,
    listings: Sequence[Listing],
    part: slice,
    found: dict[str, tuple[Matrix, Matrix]],
) -> None:
    with catalogue.writing() as writer:
        for name, (rows, columns) in found.items():
            for i, k in enumerate(range(part.start, part.stop)):
                writer.add_border(listings[k].seq, name, Border(rows[i, : k + 1], columns[:k, i]))
