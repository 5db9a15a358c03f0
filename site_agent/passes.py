"""Further passes over images, with a deadline and progress."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from federation.errors import DeadlineError
from site_agent.loading import Batch, ImageStream


class Passes:
    """Further passes over the images that the first one used; together they are the second half of the work.

    Args:
        stream: The images.
        n_draws: How many draws the first pass used.
        deadline: Unix time after which the work is given up.
        total: How many further passes there will be.
        on_progress: Told how many images are done, of how many.
    """

    def __init__(
        self,
        stream: ImageStream,
        n_draws: int,
        deadline: float,
        total: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._stream, self._n_draws, self._deadline = stream, n_draws, deadline
        self._total, self._tell, self._finished = total, on_progress, 0

    def following(self) -> Iterator[Batch]:
        """Yield the batches of one more pass.

        Raises:
            DeadlineError: If the deadline passes first.
        """
        done = 0
        with closing(iter(self._stream)) as batches:
            for batch in batches:
                if time.time() > self._deadline:
                    images = self._images(done)
                    raise DeadlineError(f"the deadline passed after {images} of {self._n_draws} images")
                used = int((batch.draws < self._n_draws).sum())
                yield batch.first(used)
                done = int(batch.draws[-1]) + 1
                if done >= self._n_draws:
                    break
                self._tell(self._images(done), self._n_draws)
        self._finished += 1

    def _images(self, done: int) -> int:
        """Return how many images are done, when in each of them the first pass is half of the work."""
        return (self._n_draws + (self._finished * self._n_draws + done) // self._total) // 2
