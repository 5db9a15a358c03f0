"""The similarity matrix of a catalogue, grown by one row and one column per fingerprint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregator.store import Border, Catalogue, Entry
from federation import distances
from federation.errors import UnknownNameError
from federation.fingerprint import Fingerprint
from federation.space import Space

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SimilarityMatrix:
    """Distances between all current tasks of a space.

    Args:
        distance: Name of the distance.
        fingerprints: The tasks, in order of arrival.
        values: float64 [n_tasks, n_tasks], rows are sources and columns are targets.
    """

    distance: str
    fingerprints: tuple[Fingerprint, ...]
    values: Values

    @property
    def keys(self) -> tuple[str, ...]:
        """Addresses ``site/task`` of rows and columns."""
        return tuple(fingerprint.key for fingerprint in self.fingerprints)

    def index(self, key: str) -> int:
        """Return the position of a task given by address, or by name where only one site has it.

        Raises:
            UnknownNameError: If no task, or more than one, is meant.
        """
        matches = [i for i, known in enumerate(self.keys) if key in (known, known.split("/", 1)[1])]
        if len(matches) == 1:
            return matches[0]
        choices = [self.keys[i] for i in matches] or list(self.keys)
        problem = "names several tasks" if matches else "is no task of the catalogue"
        remedy = "choose one of: " + ", ".join(choices) if choices else "no task has released a fingerprint"
        raise UnknownNameError(f"{key!r} {problem}", remedy=remedy)


def grow(catalogue: Catalogue, space: Space) -> None:
    """Compute and store the distances that are missing, for every distance not left for demand."""
    entries = catalogue.entries(space)
    for name in distances.available(space):
        _fill(catalogue, space, entries, name)


def read(catalogue: Catalogue, space: Space, distance: str) -> SimilarityMatrix:
    """Return the matrix of the current tasks.

    Raises:
        UnknownNameError: If there is no such distance.
    """
    return _assemble(catalogue, space, catalogue.entries(space), distance)


def read_all(catalogue: Catalogue, space: Space, asked: str = "") -> dict[str, SimilarityMatrix]:
    """Return the matrices of every distance of the space, reading the fingerprints once.

    Args:
        catalogue: Where fingerprints and distances are kept.
        space: The space.
        asked: Name of a distance that is wanted even if it is computed on demand only.
    """
    entries = catalogue.entries(space)
    return {name: _assemble(catalogue, space, entries, name) for name in distances.available(space, asked)}


def _assemble(
    catalogue: Catalogue, space: Space, entries: Sequence[Entry], distance: str
) -> SimilarityMatrix:
    borders = _fill(catalogue, space, entries, distance)
    values = np.full((len(entries), len(entries)), np.nan)
    for k, entry in enumerate(entries):
        border = borders[entry.seq]
        values[k, : k + 1], values[:k, k] = border.to_earlier, border.from_earlier
    current = [k for k, entry in enumerate(entries) if entry.current]
    chosen = tuple(entries[k].fingerprint for k in current)
    return SimilarityMatrix(distance, chosen, values[np.ix_(current, current)])


def _fill(catalogue: Catalogue, space: Space, entries: Sequence[Entry], name: str) -> dict[int, Border]:
    borders = catalogue.borders(space, name)
    new = [k for k, entry in enumerate(entries) if entry.seq not in borders]
    if not new:
        return borders
    fresh = dict(zip([entries[k].seq for k in new], _borders(entries, new, name), strict=True))
    with catalogue.writing() as writer:
        for seq, border in fresh.items():
            writer.add_border(seq, name, border)
    return borders | fresh


def _borders(entries: Sequence[Entry], new: Sequence[int], name: str) -> list[Border]:
    distance = distances.get(name)
    everyone = [entry.fingerprint for entry in entries]
    newcomers = [everyone[k] for k in new]
    rows, columns = distance.matrix(newcomers, everyone), distance.matrix(everyone, newcomers)
    return [Border(rows[i, : k + 1], columns[:k, i]) for i, k in enumerate(new)]
