"""New fingerprints get their distances to and from those before them; what is stored is never recomputed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aggregator.mapped_histograms import HistogramFiles, MappedHistograms
from aggregator.store import Border, Catalogue, Listing
from federation import distances
from federation.distances.base import CARD, Distance, Matrix
from federation.distances.histogram import HistogramDistance
from federation.distances.newcomers import RowsAndColumns, rows_and_columns
from federation.distances.noise import NoisyTask, less_energies
from federation.distances.stack import slices
from federation.distances.uncertainty import stated_noise
from federation.fingerprint import Fingerprint
from federation.sketches import HistogramSketch
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
    everyone = _Everyone(catalogue, space, listings)
    for seq, missing in _missing(catalogue, space, names or distances.available(space)).items():
        of_histograms = [d for d in missing if isinstance(d, HistogramDistance)]
        others = [d for d in missing if not isinstance(d, HistogramDistance)]
        if of_histograms:
            _compare_histograms(everyone, places[seq], of_histograms)
        if others:
            _compare_fingerprints(everyone, places[seq], others)
    return listings


@dataclass(frozen=True)
class _Everyone:
    """All fingerprints of a space, read when they are needed.

    Args:
        catalogue: Where they are kept.
        space: The space.
        listings: A line for each of them, in order of arrival.
    """

    catalogue: Catalogue
    space: Space
    listings: Sequence[Listing]

    @cached_property
    def heads(self) -> list[Fingerprint]:
        """The fingerprints without their sketches."""
        return self.catalogue.heads(entry.seq for entry in self.listings)

    @cached_property
    def whole(self) -> list[Fingerprint]:
        """The fingerprints, bound to their space."""
        return [self.catalogue.fingerprint(entry.seq, self.space) for entry in self.listings]

    @cached_property
    def histograms(self) -> MappedHistograms:
        """Their histograms."""
        catalogue, space, listings = self.catalogue, self.space, self.listings
        return HistogramFiles(
            catalogue.place.mapped / space.space_id[:16],
            space,
            [entry.fingerprint_id for entry in listings],
            [entry.key for entry in listings],
            # Not through self: in a cycle of references what is mapped would outlive its use.
            lambda k: catalogue.fingerprint(listings[k].seq, space).histogram,
        ).all()

    @cached_property
    def noise(self) -> list[NoisyTask]:
        """The noise in their histograms, with the number of images that the histograms themselves give."""
        stated = [stated_noise(head, HistogramSketch.kind) for head in self.heads]
        if not any(task.noise for task in stated):
            return stated
        n_images = self.histograms.totals() / self.space.n_bins  # in balanced counts one image counts n_bins
        return [NoisyTask(task.noise, float(n)) for task, n in zip(stated, n_images, strict=True)]


def _missing(catalogue: Catalogue, space: Space, names: Sequence[str]) -> dict[int, list[Distance]]:
    """``seq`` of the first fingerprint without a border → the distances it lacks."""
    found = defaultdict(list)
    for name in names:
        seq = catalogue.first_without_border(space, name)
        if seq is not None:
            found[seq].append(distances.get(name))
    return found


def _compare_histograms(everyone: _Everyone, first: int, missing: Sequence[HistogramDistance]) -> None:
    stack = everyone.histograms
    energies = {distance.name: _energies(everyone, distance) for distance in missing}
    for part in _parts(first, len(everyone.listings)):
        found = rows_and_columns(missing, stack.part(part), stack.part(slice(0, part.stop)))
        clean = [_without_noise(each, energies[d.name], part) for d, each in zip(missing, found, strict=True)]
        named = dict(zip((d.name for d in missing), clean, strict=True))
        _store(everyone, part, named)


def _energies(everyone: _Everyone, distance: HistogramDistance) -> Matrix | None:
    """Return float64 [n_tasks], what noise adds to the distances of every task; None if there is no noise."""
    if distance.noise_model is None or not any(task.noise for task in everyone.noise):
        return None
    return distance.noise_model.energies(HistogramSketch.for_space(everyone.space), everyone.noise)


def _without_noise(found: RowsAndColumns, energies: Matrix | None, part: slice) -> RowsAndColumns:
    if energies is None:
        return found
    rows, columns = found
    new, all_of_them = energies[part], energies[: part.stop]
    same = np.arange(part.start, part.stop)[:, None] == np.arange(part.stop)
    return less_energies(rows, new, all_of_them, same), less_energies(columns, all_of_them, new, same.T)


def _compare_fingerprints(everyone: _Everyone, first: int, missing: Sequence[Distance]) -> None:
    for distance in missing:
        known = everyone.heads if distance.needs == CARD else everyone.whole
        for part in _parts(first, len(known)):
            newcomers, those = known[part], known[: part.stop]
            rows, columns = distance.matrix(newcomers, those), distance.matrix(those, newcomers)
            _store(everyone, part, {distance.name: (rows, columns)})


def _parts(first: int, total: int) -> Iterator[slice]:
    for part in slices(total - first, AT_ONCE):
        yield slice(first + part.start, first + part.stop)


def _store(everyone: _Everyone, part: slice, found: dict[str, RowsAndColumns]) -> None:
    with everyone.catalogue.writing() as writer:
        for name, (rows, columns) in found.items():
            for i, k in enumerate(range(part.start, part.stop)):
                border = Border(rows[i, : k + 1], columns[:k, i])
                writer.add_border(everyone.listings[k].seq, name, border)
