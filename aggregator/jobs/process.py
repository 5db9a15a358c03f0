"""The process that runs jobs and admits members: ``python -m aggregator.jobs.process FOLDER``."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.config import HubConfig
from aggregator.flower.control import Control
from aggregator.flower.reconcile import reconcile
from aggregator.hub_folder import HubFolder
from aggregator.jobs.queue import JobQueue
from aggregator.jobs.runner import Runner
from aggregator.members import read_members
from aggregator.store import Catalogue
from federation import logs
from federation.errors import FedprintError, StoreError
from federation.identity import Identity
from federation.supervisor import EX_CONFIG

log = logging.getLogger("fedprint.jobs")

TICK_S, MEMBERS_S = 0.2, 2.0
MEMBERS, JOBS = "members", "jobs"
TRY_AGAIN = 1
"""Exit status where the store cannot be reached now; the supervisor starts the process again."""


@dataclass
class JobProcess:
    """Ticks until it is told to stop; what cannot be reached is waited for.

    Args:
        folder: The hub's folder.
        hub: Its file; members are read anew again and again.
        control: Flower's Control API.
        runner: The runner of its jobs.
    """

    folder: HubFolder
    hub: HubConfig
    control: Control
    runner: Runner
    stopping: threading.Event = field(default_factory=threading.Event)
    _is_tidy: bool = False
    _members_at: float = 0.0
    _trouble: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Tick until ``stopping`` is set."""
        while not self.stopping.is_set():
            self.tick()
            self.stopping.wait(TICK_S)

    def tick(self) -> None:
        """Look after members and jobs once; trouble is logged when it begins and when it is over."""
        self._try(MEMBERS, self._admit_members)
        self._try(JOBS, self._run_jobs)

    def _try(self, what: str, step: Callable[[], None]) -> None:
        """Take a step; what stands in the way of one does not keep the other from being taken."""
        try:
            step()
        except FedprintError as error:
            self._say(what, str(error))
        else:
            self._say(what, "")

    def _run_jobs(self) -> None:
        if not self._is_tidy:
            self.runner.tidy()
            self._is_tidy = True
        self.runner.tick()

    def _admit_members(self) -> None:
        if self.hub.members is None or time.monotonic() < self._members_at:
            return
        key = Identity.load(self.hub.consortium, self.hub.key).public_key
        reconcile(self.control, read_members(self.hub.members, key, time.time()))
        self._members_at = time.monotonic() + MEMBERS_S

    def _say(self, what: str, trouble: str) -> None:
        before = self._trouble.get(what, "")
        if trouble and trouble != before:
            log.warning("%s: %s", what, trouble)
        elif before and not trouble:
            log.info("%s: going on", what)
        self._trouble[what] = trouble


def main(arguments: Sequence[str]) -> int:
    """Run jobs until a signal; the only argument is the hub's folder."""
    logs.configure_child("jobs")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    try:
        folder = HubFolder(Path(arguments[0]).resolve())
        hub = HubConfig.read(folder.config)
        control = Control.of(folder, hub.serve)
        queue = JobQueue(Catalogue(hub.catalogue, create=True))
    except FedprintError as error:
        log.error("jobs cannot be run: %s", error)
        return TRY_AGAIN if isinstance(error, StoreError) else EX_CONFIG
    process = JobProcess(folder, hub, control, Runner(queue, control, folder, hub.serve.attempts))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stopping.set())
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
