"""Keeps the processes of a deployment running, and stops them together.

A process that ends is started again, later each time it does so at once. Output goes to log files that
rotate. A process that says by its exit status that trying again will not help (``EX_CONFIG``, 78) ends all of
them. If the supervisor itself is killed, the kernel kills its processes.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from federation.canonical import canonical_json
from federation.child_process import ChildProcess
from federation.errors import StoreError
from federation.files import write_atomically

EX_CONFIG, CANNOT_START = 78, 127

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_SETTLED_S = 60.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Program:
    """What is run.

    Args:
        name: Names its log file and its place in the status.
        command: Program and arguments; other users can read them, so they hold no secret.
        environment: Environment variables beside those of the supervisor.
        patience_s: Seconds between asking it to stop and killing it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 10.0


@dataclass
class _Place:
    """A program, the process that runs it now, and what became of those before."""

    program: Program
    child: ChildProcess | None = None
    began_at: float = 0.0
    restarts: int = 0
    pause_s: float = _FIRST_PAUSE_S
    next_start: float = 0.0
    last_exit: int | None = None
    last_exit_at: float | None = None


class Supervisor:
    """Runs programs until it is told to stop.

    Args:
        programs: What to run, in the order of starting; stopped in the opposite order.
        logs: Folder of the log files: ``NAME.log``.
        status: JSON file that always says what runs.
    """

    def __init__(self, programs: Sequence[Program], logs: Path, status: Path) -> None:
        self._places = [_Place(program) for program in programs]
        self._logs, self._status = logs, status
        self._stopping = threading.Event()
        self._began_at = time.time()
        self._said: bytes = b""

    def run(self) -> int:
        """Start everything and keep it running until a signal or ``stop``.

        Returns:
            0 after an orderly stop, ``EX_CONFIG`` after a program that refused to start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        code = 0
        try:
            while not self._stopping.is_set():
                if self._look():
                    code = EX_CONFIG
                    break
                self._stopping.wait(_LOOK_S)
        finally:
            self._stop_all()
        return code

    def stop(self) -> None:
        """Let ``run`` stop everything and return; may be called from another thread."""
        self._stopping.set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def _look(self) -> bool:
        """Start what does not run and is due; True: a program refused to start for good."""
        for place in self._places:
            if place.child is not None and (code := place.child.poll()) is not None:
                self._ended(place, code)
                if code == EX_CONFIG:
                    self._tell()
                    return True
            if place.child is None and time.monotonic() >= place.next_start:
                self._start(place)
        self._tell()
        return False

    def _start(self, place: _Place) -> None:
        program = place.program
        log = self._logs / f"{program.name}.log"
        place.began_at = time.time()
        try:
            place.child = ChildProcess(program.command, os.environ | dict(program.environment), log)
        except OSError:
            self._ended(place, CANNOT_START)

    def _ended(self, place: _Place, code: int) -> None:
        """Note that a process ended and when the next one is due."""
        if place.child is not None:
            place.child.close()
        now = time.time()
        if now - place.began_at >= _SETTLED_S:
            place.pause_s = _FIRST_PAUSE_S
        place.next_start = time.monotonic() + place.pause_s * _jitter()
        place.pause_s = min(2 * place.pause_s, _LONGEST_PAUSE_S)
        place.child, place.last_exit, place.last_exit_at = None, code, now
        place.restarts += 1

    def _stop_all(self) -> None:
        for place in reversed(self._places):
            if place.child is not None:
                place.last_exit = place.child.stop(place.program.patience_s)
                place.last_exit_at = time.time()
                place.child = None
        self._tell()

    def _tell(self) -> None:
        """Write the status file if anything has changed."""
        told = canonical_json(
            {
                "pid": os.getpid(),
                "began_at": self._began_at,
                "stopping": self._stopping.is_set(),
                "programs": {place.program.name: _told(place) for place in self._places},
            }
        )
        if told != self._said:
            with suppress(StoreError):  # a full disk stops nothing; it is written as soon as it can be
                write_atomically(self._status, told)
                self._said = told


def _jitter() -> float:
    """Return a factor around 1, so that processes that fell together do not rise together."""
    return random.uniform(0.5, 1.5)  # noqa: S311


def _told(place: _Place) -> dict[str, object]:
    return {
        "pid": place.child.pid if place.child else None,
        "began_at": place.began_at if place.child else None,
        "restarts": place.restarts,
        "last_exit": place.last_exit,
        "last_exit_at": place.last_exit_at,
    }
