"""One part of what is observed, read so that a locked or damaged store delays or stops nothing else."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from federation.errors import BusyError, FedprintError

T = TypeVar("T")
log = logging.getLogger("fedprint.operations")

PATIENCE_S = 4.0
"""Seconds that a store has to answer; Prometheus gives up after ten, and other parts want to be read too."""


class Part(Generic[T]):
    """Something that is read anew whenever it is asked for, by a thread that may be left behind.

    Args:
        name: What it is called in metrics and messages.
        read: Reads it.
        patience_s: Seconds to wait for it.
    """

    def __init__(self, name: str, read: Callable[[], T], patience_s: float = PATIENCE_S) -> None:
        self.name = name
        self._read, self._patience_s = read, patience_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._outcome: T | FedprintError = BusyError(f"{name} was not read yet")

    def value(self) -> T:
        """Return what was read.

        Raises:
            BusyError: If it is not read in time; the next call waits for the same reading.
            FedprintError: If it cannot be read.
        """
        with self._lock:
            thread = self._reading()
        thread.join(self._patience_s)
        if thread.is_alive():
            raise BusyError(
                f"{self.name} could not be read within {self._patience_s:g} s",
                remedy="see whether another process holds it, or its disk or server is overloaded",
            )
        if isinstance(self._outcome, FedprintError):
            raise self._outcome
        return self._outcome

    def _reading(self) -> threading.Thread:
        """Return the thread that reads; only one does, however many ask."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name=f"read-{self.name}", daemon=True)
            self._thread.start()
        return self._thread

    def _work(self) -> None:
        try:
            self._outcome = self._read()
        except FedprintError as error:
            self._outcome = error
        except Exception:
            # Whatever is wrong with a store, the other parts must still be seen.
            log.exception("reading %s failed", self.name)
            self._outcome = FedprintError(f"{self.name} cannot be read", remedy="see the log of this process")
