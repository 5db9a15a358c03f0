"""Streams a dataset through the transform: in a fixed order, in constant memory, past unreadable images."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from federation.errors import DataError
from federation.sampling import SamplingPlan
from federation.space import Transform
from site_agent.data.source import ImageSource
from site_agent.data.unreadable import BadImage
from site_agent.transforms import ImageTransform, Levels

# Two threads slow both halves of a forward pass on two cores alike, so that neither waits for the other
# (benchmarks/pipeline.py); larger machines, and GPUs that wait for images, get half the cores.
WORKERS = min(8, max(2, (os.cpu_count() or 2) // 2))
_SHOWN = 5

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images ready for an extractor.

    Args:
        images: uint8 [N, 3, S, S], in channels-last memory order.
        labels: int64 [N].
        indices: int64 [N], position of each image in its source.
        draws: int64 [N], position of each image in the order of drawing, unreadable ones counted.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    draws: torch.Tensor

    def first(self, n: int) -> "Batch":
        """Return the first ``n`` images."""
        return Batch(self.images[:n], self.labels[:n], self.indices[:n], self.draws[:n])


class ImageStream:
    """Batches of a dataset; iterate once or several times, and read ``bad`` afterwards.

    Every batch but the last holds exactly ``batch_size`` images, unreadable ones left out. Threads decode
    ahead of the consumer (image decoders release the interpreter lock) and end with the iteration, whether
    it is exhausted, closed or interrupted. Several streams may run in threads of one process.

    Args:
        source: The dataset.
        transform: What to do with each image.
        plan: Which images to use.
        batch_size: Images per batch.
        workers: Decoding threads; 0 decodes in the consumer's thread.
        max_unreadable: Largest share of distinct images that may be unreadable.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: Transform,
        plan: SamplingPlan,
        *,
        batch_size: int = 64,
        workers: int = WORKERS,
        max_unreadable: float = 0.2,
    ) -> None:
        self._source = source
        self._transform = ImageTransform(transform)
        self._seed = plan.seed
        self._draws = drawn_indices(plan, len(source))
        self._n_distinct = len(np.unique(self._draws))
        self._batch_size = batch_size
        self._workers = workers
        self._max_unreadable = max_unreadable
        self._bad: dict[int, BadImage] = {}

    def __len__(self) -> int:
        """Number of images that the plan asks for, unreadable ones included."""
        return len(self._draws)

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """Unreadable images met so far, each once, in order."""
        return tuple(self._bad[index] for index in sorted(self._bad))

    def bad_among(self, n_draws: int) -> tuple[BadImage, ...]:
        """Return the unreadable images among the first draws, whatever was read ahead of them.

        Args:
            n_draws: How many draws were used before reading stopped.

        Raises:
            DataError: If they are more than ``max_unreadable`` of the images drawn.
        """
        drawn = np.unique(self._draws[:n_draws]).tolist()
        bad = {index: self._bad[index] for index in drawn if index in self._bad}
        self._refuse_too_many(bad, len(drawn))
        return tuple(bad.values())

    def used_among(self, n_draws: int) -> Indices:
        """Return the images that were readable among the first draws, int64 [n], in the order of drawing."""
        drawn = self._draws[:n_draws]
        return drawn[~np.isin(drawn, list(self._bad))]

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the batches in order.

        Raises:
            DataError: If more than ``max_unreadable`` of the images are unreadable, or none is readable.
        """
        self._bad = {}
        for loaded in _rechunked(self._checked(), self._batch_size):
            indices = self._draws[loaded.draws]
            images = torch.from_numpy(loaded.images).permute(0, 3, 1, 2)
            labels = self._source.labels[indices]
            yield Batch(images, *map(torch.from_numpy, (labels, indices, loaded.draws)))

    def _checked(self) -> Iterator["_Loaded"]:
        stop = threading.Event()
        starts = range(0, len(self._draws), self._batch_size)
        for loaded in _ahead((partial(self._load, start, stop) for start in starts), self._workers, stop):
            self._bad |= loaded.bad
            self._refuse_too_many(self._bad, self._n_distinct)
            yield loaded

    def _load(self, start: int, stop: threading.Event) -> "_Loaded":
        draws = range(start, min(start + self._batch_size, len(self._draws)))
        size = self._transform.spec.image_size
        images = np.empty((len(draws), size, size, 3), np.uint8)
        kept: list[int] = []
        bad: dict[int, BadImage] = {}
        for index, repeats in groupby(draws, key=lambda draw: int(self._draws[draw])):
            if stop.is_set():
                break
            prepared = self._prepare(index)
            if isinstance(prepared, BadImage):
                bad[index] = prepared
                continue
            for draw in repeats:
                images[len(kept)] = self._transform.finish(prepared, self._seed, draw)
                kept.append(draw)
        return _Loaded(images[: len(kept)], np.array(kept, np.int64), bad)

    def _prepare(self, index: int) -> Levels | BadImage:
        try:
            image = self._source.load(index, min_side=self._transform.decode_side)
        except DataError as error:
            name = self._source.name(index)
            return BadImage(name, str(error).removeprefix(f"{name}: "))
        return self._transform.prepare(image)

    def _refuse_too_many(self, bad: Mapping[int, BadImage], n_distinct: int) -> None:
        if len(bad) > self._max_unreadable * n_distinct or len(bad) == n_distinct:
            first = [bad[index] for index in sorted(bad)[:_SHOWN]]
            shown = "; ".join(f"{image.name}: {image.reason}" for image in first)
            raise DataError(
                f"{self._source.origin}: {len(bad)} of {n_distinct} images cannot be used ({shown})",
                remedy=f"repair or remove these files; at most {self._max_unreadable:.0%} may fail",
            )


@dataclass(frozen=True, eq=False)
class _Loaded:
    """Images uint8 [k, S, S, 3] of some draws [k], and the unreadable ones met on the way, by index."""

    images: Levels
    draws: Indices
    bad: dict[int, BadImage]

    def __getitem__(self, part: slice) -> "_Loaded":
        return _Loaded(self.images[part], self.draws[part], {})

    def followed_by(self, other: "_Loaded") -> "_Loaded":
        if not len(self.draws):
            return other
        images = np.concatenate([self.images, other.images])
        return _Loaded(images, np.concatenate([self.draws, other.draws]), {})


def drawn_indices(plan: SamplingPlan, available: int) -> Indices:
    """Return which images a plan uses, in the order in which they are read.

    A fixed budget is read in ascending order, so that repeats and neighbouring files follow each other. An
    adaptive one may stop anywhere and is read as it was drawn: its first k images are the simple random
    sample that a fixed budget of k draws with the same seed.

    Without replacement a dataset larger than the budget gives a simple random sample; with replacement every
    draw is independent. Neither is balanced over classes: a fingerprint describes the images as they are, and
    the published one (Godau et al., arXiv 2412.08763) is unbalanced too.

    Args:
        plan: The budget.
        available: Number of images in the dataset.

    Returns:
        int64 [draws], values in [0, available).

    Raises:
        DataError: If there are no images.
    """
    if not available:
        raise DataError("there are no images to draw from", remedy="check the dataset's split and filters")
    # Raw words of the bit generator, unlike numpy's distributions, are the same in every version.
    random = np.random.PCG64(plan.seed)
    if plan.replacement:
        return np.sort(random.random_raw(plan.n_images) % np.uint64(available)).astype(np.int64)
    if plan.tolerance is not None:
        return np.argsort(random.random_raw(available), kind="stable")[: plan.n_images]
    if plan.n_images is None or plan.n_images >= available:
        return np.arange(available)
    return np.sort(np.argsort(random.random_raw(available), kind="stable")[: plan.n_images])


def _ahead(jobs: Iterable[Callable[[], _Loaded]], workers: int, stop: threading.Event) -> Iterator[_Loaded]:
    """Yield the results of jobs in order while threads work on the next ones, at most two per thread."""
    if workers == 0:
        yield from (job() for job in jobs)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fedprint-images")
    waiting: deque[Future[_Loaded]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _rechunked(parts: Iterable[_Loaded], size: int) -> Iterator[_Loaded]:
    """Join and cut so that all but the last have exactly ``size`` images."""
    rest: _Loaded | None = None
    for part in parts:
        rest = part if rest is None else rest.followed_by(part)
        while len(rest.draws) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest is not None and len(rest.draws):
        yield rest
