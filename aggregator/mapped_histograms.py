"""The histograms of a catalogue, mapped into memory beside it.

Fingerprints in the catalogue are compact and signed, but slow to decode. Here the same counts lie side by
side as cumulative counts in the smallest integers that hold them: frequencies are their differences, and the
distances of a new task to ten thousand others take one reading. What distances add per histogram is kept too.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from aggregator.row_file import RowFile, Rows
from federation.distances.base import Matrix
from federation.distances.stack import (
    Block,
    Embedding,
    Histograms,
    Room,
    Term,
    Vectors,
    bins_per_union,
    cumulative,
    itself,
    require_images,
    within,
)
from federation.errors import StoreError
from federation.sketches import HistogramSketch
from federation.space import Space

Loader: TypeAlias = Callable[[int], HistogramSketch]
"""Position of a fingerprint in the catalogue → its histogram."""

_TYPES = ("<u2", "<i4", "<i8")


class _TooNarrow(Exception):  # noqa: N818
    """A count does not fit into the integers of the file."""


class HistogramFiles:
    """The files of one space: cumulative counts and means, and one file per term.

    Args:
        folder: Where they lie; made if it is missing.
        space: The space.
        ids: Ids of all fingerprints of the space, in order of arrival.
        keys: Their addresses, for errors.
        load: Reads a histogram from the catalogue, bound to the space.

    Raises:
        StoreError: If the files cannot be written.
    """

    def __init__(
        self, folder: Path, space: Space, ids: Sequence[str], keys: Sequence[str], load: Loader
    ) -> None:
        self.folder = folder
        self.shape = (space.n_features, space.n_bins)
        self.edges = space.edges
        self.ids = ids
        self.keys = keys
        self._load = load
        self._terms: dict[tuple[Term, int], Matrix] = {}
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # it may hold exact histograms
            self.counts = self._open_counts()
        except OSError as error:
            raise _unwritable(folder, error) from error

    def all(self) -> "MappedHistograms":
        """Return every task of the space."""
        return MappedHistograms(self, slice(0, len(self.ids)))

    def terms(self, term: Term, stack: "MappedHistograms") -> Matrix:
        """Return float64 [all tasks, n_features]: a term of every histogram over the bins of ``stack``."""
        with self._lock:
            key = (term, stack.factor)
            if key not in self._terms:
                try:
                    self._terms[key] = self._read_terms(term, stack.factor)
                except OSError as error:
                    raise _unwritable(self.folder, error) from error
            return self._terms[key]

    def _open_counts(self) -> RowFile:
        there = [i for i, kind in enumerate(_TYPES) if self._path(kind).exists()]
        for kind in _TYPES[max(there, default=0) :]:
            try:
                return RowFile(
                    self._path(kind), self._row(kind), self.ids, partial(_rows, self._load, self._row(kind))
                )
            except _TooNarrow:
                self._path(kind).unlink(missing_ok=True)
        raise AssertionError("eight bytes hold every count")

    def _path(self, kind: str) -> Path:
        return self.folder / f"histograms-{kind[1:]}.rows"

    def _row(self, kind: str) -> "np.dtype[Any]":
        fields = [("means", "<f8", self.shape[:1]), ("exact", "<i8"), ("cumulative", kind, self.shape)]
        return np.dtype(fields)

    def _read_terms(self, term: Term, factor: int) -> Matrix:
        def make(tasks: slice) -> Rows:
            return Histograms.several_terms(MappedHistograms(self, tasks, factor), [term])[0]

        n_features, n_bins = self.shape
        name = f"{term.__name__.replace('_', '-')}-{n_bins // factor}.rows"
        file = RowFile(self.folder / name, np.dtype(("<f8", (n_features,))), self.ids, make)
        everyone = slice(0, len(self.ids))
        last = slice(max(0, len(self.ids) - 1), len(self.ids))
        if not np.allclose(file.read(last), make(last), rtol=1e-12, atol=1e-12):
            file.update(anew=True)  # the formula has changed since the file was made
        return file.read(everyone)


@dataclass(frozen=True)
class MappedHistograms(Histograms):
    """Consecutive tasks of a catalogue, read from its mapped files.

    Args:
        files: The files.
        tasks: Which tasks.
        factor: How many neighbouring bins of the files make one of these.
    """

    files: HistogramFiles = field(repr=False)
    tasks: slice
    factor: int = 1

    def __len__(self) -> int:
        return int(self.tasks.stop - self.tasks.start)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.files.shape[0]

    @property
    def n_bins(self) -> int:
        """Number of bins per feature."""
        return self.files.shape[1] // self.factor

    def part(self, tasks: slice) -> "MappedHistograms":
        """Return some of the tasks."""
        return MappedHistograms(self.files, self._within(tasks), self.factor)

    def coarsened_to(self, n_bins: int) -> "MappedHistograms":
        """Return the same tasks over wider bins where those are exact unions of the bins at hand."""
        factor = bins_per_union(self.n_bins, n_bins)
        return MappedHistograms(self.files, self.tasks, self.factor * factor)

    def is_same_as(self, other: Histograms) -> bool:
        """Return whether both are the same tasks of the same files."""
        return isinstance(other, MappedHistograms) and (
            (self.files, self.tasks, self.factor) == (other.files, other.tasks, other.factor)
        )

    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features]: exact means where kept, else those of these bins' centres."""
        rows = self._rows(slice(0, len(self)))
        if self.factor == 1 or rows["exact"].all():
            return np.asarray(rows["means"])
        edges = self.files.edges[:, :: self.factor]
        of_bins = np.empty((len(self), self.n_features))
        for tasks in self.chunks():
            h = self.frequencies(tasks, slice(0, self.n_features))
            of_bins[tasks] = np.einsum("tfb,fb->tf", h, (edges[:, :-1] + edges[:, 1:]) / 2)
        return np.where(rows["exact"][:, None] != 0, rows["means"], of_bins)

    def totals(self) -> npt.NDArray[np.int64]:
        """Return int64 [n_tasks]: what every row of the task's balanced counts sums to."""
        return np.asarray(self._rows(slice(0, len(self)))["cumulative"][:, 0, -1], np.int64)

    def frequencies(self, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins] counts divided by the total of their row."""
        counts, totals = self._cumulative(tasks, features)
        h = np.empty(counts.shape)
        _differences(counts.astype(np.float64), h)
        h /= totals
        return h

    def vectors(self, embedding: Embedding, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins]: the embedding of frequencies."""
        if embedding is not cumulative:
            return super().vectors(embedding, tasks, features)
        counts, totals = self._cumulative(tasks, features)
        return np.asarray(counts / totals)

    def several_terms(self, terms: Sequence[Term]) -> list[Matrix]:
        """Return float64 [n_tasks, n_features] of every term, from the files."""
        return [self.files.terms(term, self)[self.tasks] for term in terms]

    def block(self, tasks: slice, room: Room) -> Block:
        """Return some of the tasks, whose frequencies are then read into ``room``."""
        return _MappedBlock(self, tasks, lambda: self.load(tasks, room), room)

    def load(self, tasks: slice, room: Room) -> Vectors:
        """Return frequencies and cumulative frequencies of some tasks, in ``room``."""
        return _read(*self._cumulative(tasks, slice(0, self.n_features)), room)

    def pieces(self, tasks: slice, room: Room) -> Iterator[Block]:
        """Yield some of the tasks, very few at a time, each time in the same place of ``room``."""
        counts, totals = self._cumulative(tasks, slice(0, self.n_features))
        for piece in self.piece_slices(len(counts)):
            load = partial(_read, counts[piece], totals[piece], room)
            yield _MappedBlock(self, within(tasks, piece), load, room)

    def _rows(self, tasks: slice) -> Rows:
        return self.files.counts.read(self._within(tasks))

    def _within(self, tasks: slice) -> slice:
        return within(self.tasks, tasks)

    def _cumulative(self, tasks: slice, features: slice) -> tuple[Rows, Matrix]:
        """Return [tasks, features, n_bins] cumulative counts and float64 [tasks, features, 1] totals."""
        counts = self._rows(tasks)["cumulative"][:, features, self.factor - 1 :: self.factor]
        totals = counts[..., -1:].astype(np.float64)
        require_images(totals[..., 0], self.files.keys[self._within(tasks)])
        return counts, totals


class _MappedBlock(Block):
    """A few tasks whose terms are in the files."""

    _stack: MappedHistograms

    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features] mean features."""
        return self._stack.part(self._tasks).means()

    def several_terms(self, terms: Sequence[Term]) -> list[Matrix]:
        """Return float64 [n_tasks, n_features] of every term, from the files."""
        return [found[self._tasks] for found in self._stack.several_terms(terms)]


def _rows(load: Loader, kind: "np.dtype[Any]", tasks: slice) -> Rows:
    """Means and cumulative counts of some tasks.

    Raises:
        _TooNarrow: If a count does not fit into this type of row.
    """
    rows = np.zeros(tasks.stop - tasks.start, kind)
    limits = np.iinfo(kind["cumulative"].base)
    for row, k in zip(rows, range(tasks.start, tasks.stop), strict=True):
        sketch = load(k)
        sums = np.cumsum(sketch.balanced, axis=1)
        if sums.min() < limits.min or sums.max() > limits.max:
            raise _TooNarrow
        row["means"], row["exact"] = sketch.mean_features(), sketch.feature_sums is not None
        row["cumulative"] = sums
    return rows


def _read(counts: Rows, totals: Matrix, room: Room) -> Vectors:
    shares, h = room.array(cumulative, counts.shape), room.array(itself, counts.shape)
    _divide(counts, totals, shares)
    _differences(shares, h)
    return {itself: h, cumulative: shares}


def _divide(counts: Rows, totals: Matrix, out: Matrix) -> None:
    np.copyto(out, counts)  # converting first is faster than dividing integers
    out /= totals


def _differences(x: Matrix, out: Matrix) -> None:
    """Write the steps of cumulative float64 [..., n_bins] into ``out``; both are contiguous."""
    flat = x.reshape(-1)
    np.subtract(flat[1:], flat[:-1], out=out.reshape(-1)[1:])
    out[..., 0] = x[..., 0]


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the mapped histograms in {folder} cannot be written: {error.strerror or error}",
        remedy="check free disk space and permissions; the catalogue itself is unchanged",
    )
