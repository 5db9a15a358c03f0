"""Many histograms side by side, read as blocks of frequencies, wherever they are kept."""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from federation.distances.base import Matrix
from federation.errors import FingerprintError
from federation.threads import for_each

CHUNK = 2**20  # numbers of the tasks that a thread compares with a few others (8 MiB)
PIECE = 2**17  # numbers of those of them that it compares at a time (1 MiB)
PART = 2**16  # numbers a thread prepares at a time, which stay in a core's cache (512 KiB)

Embedding: TypeAlias = Callable[[Matrix, Matrix], object]
"""Frequencies float64 [..., n_bins] → vectors of that shape, which are written into the second argument."""
Term: TypeAlias = Callable[[Matrix], Matrix]
"""Frequencies float64 [..., n_bins] → one number per histogram, float64 [...]."""


def itself(h: Matrix, out: Matrix) -> None:
    """The embedding that leaves frequencies as they are."""
    np.copyto(out, h)


def cumulative(h: Matrix, out: Matrix) -> None:
    """The embedding as cumulative frequencies."""
    np.cumsum(h, axis=-1, out=out)


Vectors: TypeAlias = dict[Embedding, Matrix]
"""Embedding → float64 [tasks, features, n_bins]; ``itself`` at least."""


class Room:
    """Arrays that a thread uses again for every chunk: getting memory afresh takes as long as filling it."""

    def __init__(self) -> None:
        self._arrays: dict[Embedding, Matrix] = {}

    def array(self, embedding: Embedding, shape: tuple[int, ...]) -> Matrix:
        """Return float64 of this shape, in the place of the array last returned for this embedding."""
        size = math.prod(shape)
        if embedding not in self._arrays or self._arrays[embedding].size < size:
            self._arrays[embedding] = np.empty(size)
        return self._arrays[embedding][:size].reshape(shape)


class Histograms(ABC):
    """Tasks of one space, each a histogram per feature."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of tasks."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features."""

    @property
    @abstractmethod
    def n_bins(self) -> int:
        """Number of bins per feature."""

    @abstractmethod
    def coarsened_to(self, n_bins: int) -> "Histograms":
        """Return the same tasks over ``n_bins`` bins where those are exact unions of the bins at hand.

        Other numbers of bins stay as they are.
        """

    @abstractmethod
    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features] mean features."""

    @abstractmethod
    def frequencies(self, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins] counts divided by the total of their row.

        Raises:
            FingerprintError: If a row is empty.
        """

    def vectors(self, embedding: Embedding, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins]: the embedding of frequencies."""
        h = self.frequencies(tasks, features)
        if embedding is itself:
            return h
        found = np.empty_like(h)
        embedding(h, found)
        return found

    def terms(self, term: Term) -> Matrix:
        """Return float64 [n_tasks, n_features]: the term of every histogram."""
        return self.several_terms([term])[0]

    def several_terms(self, terms: Sequence[Term]) -> list[Matrix]:
        """Return what ``terms`` returns, for each of several, reading frequencies once."""
        values = [np.empty((len(self), self.n_features)) for _ in terms]

        def compute(tasks: slice) -> None:
            h = self.frequencies(tasks, slice(0, self.n_features))
            for term, found in zip(terms, values, strict=True):
                found[tasks] = term(h)

        size = max(1, PART // (self.n_features * self.n_bins))
        for_each(list(slices(len(self), size)), compute)
        return values

    def chunks(self) -> list[slice]:
        """Return consecutive slices of tasks that a thread prepares at a time."""
        return list(slices(len(self), max(1, CHUNK // (self.n_features * self.n_bins))))

    def block(self, tasks: slice, room: Room) -> "Block":
        """Return some of the tasks, whose frequencies are then read into ``room``."""
        return Block(self, tasks, lambda: self.load(tasks, room), room)

    def load(self, tasks: slice, room: Room) -> Vectors:
        """Return the frequencies of some tasks, and other embeddings that come with them, in ``room``."""
        del room
        return {itself: self.frequencies(tasks, slice(0, self.n_features))}

    def pieces(self, tasks: slice, room: Room) -> Iterator["Block"]:
        """Yield some of the tasks, very few at a time, each time in the same place of ``room``."""
        for piece in self.piece_slices(tasks.stop - tasks.start):
            yield self.block(within(tasks, piece), room)

    def piece_slices(self, n_tasks: int) -> Iterator[slice]:
        """Yield slices of as few tasks as are compared at a time."""
        return slices(n_tasks, max(1, PIECE // (self.n_features * self.n_bins)))

    def is_same_as(self, other: "Histograms") -> bool:
        """Return whether both hold the very same tasks in the same order."""
        return self is other


class Block(Histograms):
    """A few tasks whose frequencies are read when they are needed; every embedding of them is made once.

    Args:
        stack: Where the tasks are kept.
        tasks: Which of its tasks.
        load: Returns the frequencies, and other embeddings that come with them.
        room: Where embeddings are written.
    """

    def __init__(self, stack: Histograms, tasks: slice, load: Callable[[], Vectors], room: Room) -> None:
        self._stack = stack
        self._tasks = tasks
        self._shape: tuple[int, int, int] = (tasks.stop - tasks.start, stack.n_features, stack.n_bins)
        self._load = load
        self._room = room
        self._lock = threading.RLock()
        self._vectors: Vectors = {}
        self._terms: dict[Term, Matrix] = {}
        self._coarser: dict[int, Block] = {}
        self._compared: WeakKeyDictionary[Block, dict[object, Matrix]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self._shape[1]

    @property
    def n_bins(self) -> int:
        """Number of bins per feature."""
        return self._shape[2]

    def coarsened_to(self, n_bins: int) -> "Block":
        """Return the same tasks over wider bins where those are exact unions of the bins at hand."""
        if bins_per_union(self.n_bins, n_bins) == 1:
            return self
        if n_bins not in self._coarser:
            self._coarser[n_bins] = self._stack.coarsened_to(n_bins).block(self._tasks, Room())
        return self._coarser[n_bins]

    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features] mean features."""
        return self._stack.means()[self._tasks]

    def frequencies(self, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins] counts divided by the total of their row."""
        return self.every(itself)[tasks, features]

    def every(self, embedding: Embedding) -> Matrix:
        """Return float64 [n_tasks, n_features, n_bins]: the embedding of all frequencies."""
        with self._lock:
            if not self._vectors:
                self._vectors = self._load()
            if embedding not in self._vectors:
                vectors = self._room.array(embedding, self._shape)
                embedding(self._vectors[itself], vectors)
                self._vectors[embedding] = vectors
            return self._vectors[embedding]

    def several_terms(self, terms: Sequence[Term]) -> list[Matrix]:
        """Return float64 [n_tasks, n_features] of every term, computing each once."""
        for term in terms:
            if term not in self._terms:
                self._terms[term] = term(self.every(itself))
        return [self._terms[term] for term in terms]

    def products(self, embedding: Embedding, other: "Block", theirs: Embedding) -> Matrix:
        """Return float64 [n_tasks, others, n_features]: inner products with the vectors of other tasks.

        Args:
            embedding: Embedding of these tasks.
            other: The other tasks.
            theirs: Embedding of the others.
        """
        mirrored = other.remembered(self, (theirs, embedding))
        if mirrored is not None:
            return mirrored.swapaxes(0, 1)

        def multiply() -> Matrix:
            products = self.every(embedding)[:, None, :, None, :] @ other.every(theirs)[..., None]
            return products[..., 0, 0]

        return self.compared(other, (embedding, theirs), multiply)

    def compared(self, other: "Block", how: object, compare: Callable[[], Matrix]) -> Matrix:
        """Return what came out when these tasks were compared with others in some way, comparing them once.

        Args:
            other: The other tasks.
            how: Names the comparison.
            compare: Returns float64 [n_tasks, others, ...].
        """
        known = self._compared.setdefault(other, {})
        if how not in known:
            known[how] = compare()
        return known[how]

    def remembered(self, other: "Block", how: object) -> Matrix | None:
        """Return what ``compared`` returned before, if anything."""
        return self._compared.get(other, {}).get(how)

    def forget_vectors(self) -> None:
        """Give up the room of the vectors; they would be read again if they were needed."""
        self._vectors = {}

    def learn(self, other: "Block", pieces: Sequence["Block"]) -> None:
        """Take over how other tasks compare with these, from blocks of which these are made."""
        found = [piece._compared.get(other, {}) for piece in pieces]
        self._compared[other] = {how: np.concatenate([each[how] for each in found]) for how in found[0]}


def require_images(totals: Matrix, labels: Sequence[str]) -> None:
    """Raise unless every row total of float64 [tasks, features] is positive.

    Raises:
        FingerprintError: Naming the first task without images.
    """
    if not (totals > 0).all():
        first = int(np.flatnonzero((totals <= 0).any(axis=1))[0])
        raise FingerprintError(
            f"the histogram of {labels[first]} holds no images",
            remedy="leave the task out, or fingerprint it again",
        )


def bins_per_union(n_bins: int, wanted: int) -> int:
    """Return how many of ``n_bins`` bins make one of ``wanted``; 1 where they do not divide."""
    factor, rest = divmod(n_bins, wanted)
    return 1 if rest or factor < 2 else factor


def slices(total: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of ``size`` that cover ``range(total)``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def parts(block: Matrix) -> list[slice]:
    """Return slices of the tasks of float64 [tasks, features, n_bins] that stay in a core's cache."""
    size = max(1, PART // (int(block.shape[1]) * int(block.shape[2])))
    return list(slices(len(block), size))


def within(tasks: slice, part: slice) -> slice:
    """Return where a part of some tasks lies in the stack that the tasks are a slice of."""
    return slice(tasks.start + part.start, tasks.start + part.stop)
