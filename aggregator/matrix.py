"""The similarity matrix of a catalogue, or one column of it."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from aggregator.growth import grow
from aggregator.store import Catalogue, Entry, Listing
from federation import distances
from federation.distances.uncertainty import standard_errors
from federation.errors import UnknownNameError
from federation.fingerprint import Fingerprint
from federation.space import Space

__all__ = ["SimilarityMatrix", "TargetColumn", "column_of", "grow", "read", "read_all", "read_column"]

Values = npt.NDArray[np.float64]

_NAMED = 20  # tasks an error lists


@dataclass(frozen=True)
class SimilarityMatrix:
    """Distances between all current tasks of a space.

    Args:
        distance: Name of the distance.
        space: The space.
        entries: The tasks, in order of arrival; their fingerprints are without sketches.
        values: float64 [n_tasks, n_tasks], rows are sources and columns are targets.
    """

    distance: str
    space: Space
    entries: tuple[Entry, ...]
    values: Values

    @property
    def keys(self) -> tuple[str, ...]:
        """Addresses ``site/task`` of rows and columns."""
        return tuple(entry.fingerprint.key for entry in self.entries)

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """The fingerprints of rows and columns, without sketches."""
        return tuple(entry.fingerprint for entry in self.entries)

    @cached_property
    def standard_errors(self) -> Values:
        """float64 [n_tasks, n_tasks], what noise makes of it: 0 between exact tasks, NaN where unknown."""
        distance, tasks = distances.get(self.distance), self.fingerprints
        return standard_errors(distance, self.space, self.values, tasks, tasks)

    def index(self, key: str) -> int:
        """Return the position of a task given by address, or by name where only one site has it.

        Raises:
            UnknownNameError: If no task, or more than one, is meant.
        """
        return _position(self.keys, key)


@dataclass(frozen=True)
class TargetColumn:
    """Distances of all current tasks to one of them.

    Args:
        entries: The tasks, in order of arrival; their fingerprints are without sketches.
        target: Position of the target among them.
        values: Distance name → float64 [n_tasks] from every task to the target.
        standard_errors: Likewise, what noise makes of them: 0 between exact tasks, NaN where unknown.
    """

    entries: tuple[Entry, ...]
    target: int
    values: Mapping[str, Values]
    standard_errors: Mapping[str, Values]


def read(catalogue: Catalogue, space: Space, distance: str) -> SimilarityMatrix:
    """Return the matrix of the current tasks.

    Raises:
        UnknownNameError: If there is no such distance, or the sketches of the space do not allow it.
    """
    return _read(catalogue, space, [distances.chosen(space, distance)])[distance]


def read_all(
    catalogue: Catalogue, space: Space, asked: str = "", among: Container[str] | None = None
) -> dict[str, SimilarityMatrix]:
    """Return the matrices of every distance of the space.

    Args:
        catalogue: Where fingerprints and distances are kept.
        space: The space.
        asked: Name of a distance that is wanted even if it is computed on demand only.
        among: Addresses of the tasks that are wanted, by default all; only theirs are read.
    """
    return _read(catalogue, space, distances.available(space, asked), among)


def read_column(catalogue: Catalogue, space: Space, task: str, asked: str = "") -> TargetColumn:
    """Return the distances to one task by every distance of the space, without reading the matrices.

    Args:
        catalogue: Where fingerprints and distances are kept.
        space: The space.
        task: Address of the target, or its name where only one site has it.
        asked: Name of a distance that is wanted even if it is computed on demand only.

    Raises:
        UnknownNameError: If no current task, or more than one, is meant.
    """
    names = distances.available(space, asked)
    listings = grow(catalogue, space, names)
    current = [k for k, entry in enumerate(listings) if entry.current]
    target = _position([listings[k].key for k in current], task)
    values = {name: catalogue.column(listings, current[target], name)[current] for name in names}
    entries = tuple(catalogue.tasks(listings))
    fingerprints = [entry.fingerprint for entry in entries]
    errors = {
        name: standard_errors(
            distances.get(name), space, found[:, None], fingerprints, fingerprints[target : target + 1]
        )[:, 0]
        for name, found in values.items()
    }
    return TargetColumn(entries, target, values, errors)


def column_of(matrices: Mapping[str, SimilarityMatrix], task: str) -> TargetColumn:
    """Return one column of every matrix.

    Args:
        matrices: Distance name → matrix, all over the same tasks.
        task: Address of the target, or its name where only one site has it.

    Raises:
        UnknownNameError: If no task, or more than one, is meant.
    """
    any_matrix = next(iter(matrices.values()))
    target = any_matrix.index(task)
    return TargetColumn(
        any_matrix.entries,
        target,
        {name: m.values[:, target] for name, m in matrices.items()},
        {name: m.standard_errors[:, target] for name, m in matrices.items()},
    )


def _read(
    catalogue: Catalogue, space: Space, names: Sequence[str], among: Container[str] | None = None
) -> dict[str, SimilarityMatrix]:
    listings = grow(catalogue, space, names)
    places = {
        k: entry
        for k, entry in enumerate(listings)
        if entry.current and (among is None or entry.key in among)
    }
    entries = tuple(catalogue.tasks(places.values()))
    return {
        name: SimilarityMatrix(name, space, entries, _assemble(catalogue, space, places, name))
        for name in names
    }


def _assemble(catalogue: Catalogue, space: Space, places: Mapping[int, Listing], distance: str) -> Values:
    """Return the values among some fingerprints, given by position in the order of arrival."""
    borders = catalogue.borders(space, distance, [entry.seq for entry in places.values()])
    at = np.array(list(places), dtype=np.int64)
    values = np.full((len(at), len(at)), np.nan)
    for i, (k, entry) in enumerate(places.items()):
        border, earlier = borders[entry.seq], at[:i]
        values[i, :i], values[:i, i] = border.to_earlier[earlier], border.from_earlier[earlier]
        values[i, i] = border.to_earlier[k]
    return values


def _position(keys: Sequence[str], key: str) -> int:
    matches = [i for i, known in enumerate(keys) if key in (known, known.split("/", 1)[1])]
    if len(matches) == 1:
        return matches[0]
    choices = [keys[i] for i in matches] or list(keys)
    problem = "names several tasks" if matches else "is no task of the catalogue"
    more = f" and {len(choices) - _NAMED:,} more" if len(choices) > _NAMED else ""
    named = ", ".join(choices[:_NAMED]) + more
    remedy = f"choose one of: {named}" if choices else "no task has released a fingerprint"
    raise UnknownNameError(f"{key!r} {problem}", remedy=remedy)
