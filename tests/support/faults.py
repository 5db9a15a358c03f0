"""Moments of a job that can be seen from outside, and ways to kill what takes part in it.

Nothing in the product waits for a test: moments are seen in files, and whoever is killed dies by SIGKILL.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from loopback import PATIENCE_S, Consortium, Task, kill, kill_tree

from aggregator.jobs.job import DONE
from aggregator.matrix import read
from federation.fingerprint import Fingerprint
from federation.privacy.accounting import rho_for
from site_agent.events import SENT

QUICK_S = 0.002
_ASKED_AGAIN = 4


def see(condition: Callable[[], object], what: str) -> None:
    """Wait for a moment, looking all the time."""
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"{what} was not seen")
        time.sleep(QUICK_S)


@dataclass
class Case:
    """One case: tasks that no case had before, and jobs about them.

    Args:
        consortium: Who takes part.
        tasks: What they work on.
        jobs: Ids of the jobs, in order.
        told: Why jobs were not complete.
    """

    consortium: Consortium
    tasks: tuple[Task, ...]
    jobs: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    _before: dict[str, int] = field(default_factory=dict)
    _rounds: set[Path] = field(default_factory=set)

    def ask(self) -> str:
        """Put a fingerprint job into the queue."""
        for name, place in self.consortium.sites.items():
            self._before[name] = ledger_size(place)
        self._rounds = set(self.consortium.hub.path.glob("rounds/*"))
        self.jobs.append(self.consortium.ask())
        return self.jobs[-1]

    @property
    def addresses(self) -> set[str]:
        """Addresses of the fingerprints that there have to be in the end."""
        pooled = {f"all-{task.name}/{task.name}" for task in self.tasks if task.trust == "pooled"}
        own = {f"{site}/{task.name}" for task in self.tasks for site in task.sites if task.trust != "pooled"}
        return pooled | own

    def finish(self) -> list[str]:
        """Wait for the job; where it could not be done for all, it says so, and the next one is complete.

        Returns:
            The reasons that were given meanwhile; empty where the job came through by itself.
        """
        reasons = self.told
        for _ in range(_ASKED_AGAIN):
            job = self.consortium.ended(self.jobs[-1])
            if job.state != DONE:
                assert job.reason, f"the job failed without a word{self.consortium.tails()}"
                reasons.append(f"{job.code}: {job.reason}")
            else:
                missing = self.consortium.summary(job.job_id)["missing"]
                if not missing:
                    return reasons
                reasons += [f"{each['site']}: {each['code']}" for each in missing]
            self.consortium.wait_for_sites()
            self.jobs.append(self.consortium.ask())
        raise AssertionError(f"not complete after {_ASKED_AGAIN} jobs: {reasons}{self.consortium.tails()}")

    def verify(self) -> None:
        """Nothing is lost: the catalogue is complete; nothing is paid twice: ledgers are whole and say so."""
        with self.consortium.catalogue() as catalogue:
            ever = [entry for entry in catalogue.entries(self.consortium.space) if self._is_mine(entry)]
            compared = read(catalogue, self.consortium.space, "js")
        entries = {entry.fingerprint.key: entry.fingerprint for entry in ever if entry.current}
        assert (set(entries), len(ever)) == (self.addresses, len(self.addresses)), sorted(entries)
        assert self.addresses <= set(compared.keys)
        assert np.isfinite(compared.values).all()
        for task in self.tasks:
            for site in task.sites:
                self._verify_charges(site, task, entries)

    def _is_mine(self, entry) -> bool:
        return entry.fingerprint.card.task in {task.name for task in self.tasks}

    def _verify_charges(self, site: str, task: Task, entries: dict[str, Fingerprint]) -> None:
        charges = self.consortium.sites[site].charges(task.name)
        if task.trust == "open":
            assert charges == []
            return
        assert len(charges) == 1, [charge.release_id for charge in charges]
        assert 0.9 * rho_for(1.0, 1e-6) < charges[0].rho <= rho_for(1.0, 1e-6)
        if task.trust == "private":
            released = entries[f"{site}/{task.name}"]
            kept = {self.consortium.sites[site].state.release(job, task.name) for job in self.jobs} - {None}
            assert {Fingerprint.from_bytes(data).fingerprint_id for data in kept} == {released.fingerprint_id}


def ledger_size(place) -> int:
    """Return the bytes of a site's ledger."""
    with suppress(FileNotFoundError):
        return (place.folder.state / "ledger.jsonl").stat().st_size
    return 0


# Moments.


def before_it_is_asked(case: Case, site: str) -> None:
    """The hub's process of the job has begun."""
    see(lambda: any(case.consortium.hub.runs.glob("*.lock")), "the begin of the job")


def while_it_works(case: Case, site: str) -> None:
    """A ClientApp of the site runs."""
    see(case.consortium.sites[site].working, "the work of the site")


def once_it_is_charged(case: Case, site: str) -> None:
    """The ledger of the site has a new entry."""
    place = case.consortium.sites[site]
    see(lambda: ledger_size(place) > case._before[site], "the charge")


def while_it_replies(case: Case, site: str) -> None:
    """The site has written down that a reply is about to leave."""
    place, job = case.consortium.sites[site], case.jobs[-1].encode()
    marker = f'"event":"{SENT}"'.encode()

    def sent() -> bool:
        lines = place.state.log_path.read_bytes().splitlines()[-20:]
        return any(marker in line and job in line for line in lines)

    see(sent, "the reply")


def once_it_is_admitted(case: Case, site: str) -> None:
    """A fingerprint of the case is in the catalogue; its distances are computed next."""
    path, names = case.consortium.hub.path / "catalogue.sqlite", [task.name for task in case.tasks]
    asks = f"SELECT count(*) FROM fingerprint WHERE task IN ({','.join('?' * len(names))})"

    see(lambda: count_rows(path, asks, names), "the admission")


def count_rows(catalogue: Path, asks: str, values: list) -> int:
    """Return what a query counts in a catalogue that others write."""
    try:
        with closing(sqlite3.connect(f"{catalogue.as_uri()}?mode=ro", uri=True)) as rows:
            return rows.execute(asks, values).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def once_a_step_is_closed(step: str) -> Callable[[Case, str], None]:
    """A step of the latest round of a cohort is on the hub's disk."""

    def wait(case: Case, site: str) -> None:
        rounds = case.consortium.hub.path.glob
        see(
            lambda: {path.parent for path in rounds(f"rounds/*/{step}.safetensors")} - case._rounds,
            f"the end of {step}",
        )

    wait.__name__ = f"once_{step}_is_closed"
    return wait


# Victims.


def clientapp(case: Case, site: str) -> None:
    for pid in case.consortium.sites[site].working():
        kill(pid)


def supernode(case: Case, site: str) -> None:
    kill(case.consortium.sites[site].pid("supernode"))


def sites_superexec(case: Case, site: str) -> None:
    kill(case.consortium.sites[site].pid("superexec"))


def whole_site(case: Case, site: str) -> None:
    """The machine loses its power, and comes back."""
    place = case.consortium.sites[site]
    kill_tree(place.process)
    case.consortium.serve_site(site)


def superlink(case: Case, site: str) -> None:
    kill(case.consortium.pid("superlink"))


def hubs_superexec(case: Case, site: str) -> None:
    kill(case.consortium.pid("superexec"))


def job_runner(case: Case, site: str) -> None:
    kill(case.consortium.pid("jobs"))


def aggregator(case: Case, site: str) -> None:
    for pid in case.consortium.aggregators():
        kill(pid)


def whole_hub(case: Case, site: str) -> None:
    """The machine loses its power, and comes back."""
    kill_tree(case.consortium.process)
    case.consortium.serve_hub()
