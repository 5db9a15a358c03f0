"""A process that writes to a rotating log and does not outlive the one that started it."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from federation.rotating_log import RotatingLog

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class ChildProcess:
    """A running process, in a group of its own with all that it starts.

    It dies when the thread that started it ends, so start it from the main thread.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        log: Where its output goes.

    Raises:
        OSError: If it cannot be started, or the log not be opened.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        kept = RotatingLog(log)
        self._process = subprocess.Popen(  # noqa: S603
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=_dying_with(os.getpid()),
        )
        self._copier = threading.Thread(target=_copy, args=(self._process.stdout, kept), daemon=True)
        self._copier.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit status; negative: killed by that signal; None: it runs."""
        return self._process.poll()

    def stop(self, patience_s: float) -> int:
        """Ask it to end, then kill it and all that it started.

        Args:
            patience_s: Seconds that it may take to end by itself.

        Returns:
            Its exit status.
        """
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        self.close()
        return self._process.wait()

    def close(self) -> None:
        """Kill whatever is left of the group; what was written until then is in the log."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._copier.join(1.0)


def _dying_with(parent: int) -> Callable[[], None]:
    """Return what a new process does first: have the kernel kill it when its parent dies."""

    def ask() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def _copy(source: IO[bytes], log: RotatingLog) -> None:
    """Copy output to a log until nobody holds its other end."""
    with source:
        while data := os.read(source.fileno(), 65_536):
            log.write(data)
    log.close()
