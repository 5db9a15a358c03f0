"""Live progress of transfer experiments on a terminal: one line per site, and how much is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from federation.transfer.step import CotrainStep, SearchStep, Step

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class SiteAtWork:
    """What a site is doing now.

    Args:
        site: Name of the site.
        doing: In words.
        epoch: Epochs done.
        epochs: Epochs to do; 0: not known yet.
    """

    site: str
    doing: str
    epoch: int = 0
    epochs: int = 0


@dataclass(frozen=True)
class Standing:
    """How far a plan is.

    Args:
        done: Experiments that were measured.
        failed: Experiments that ended without a result.
        total: All experiments.
        seconds_left: Estimate; None: there is nothing to estimate from yet.
        sites: What sites are doing.
    """

    done: int
    failed: int
    total: int
    seconds_left: float | None = None
    sites: tuple[SiteAtWork, ...] = ()


class TransferDisplay:
    """Shows how far a plan is while it runs.

    Args:
        console: Where.
        read: Returns how far it is; called from a thread of its own.
    """

    def __init__(self, console: Console, read: Callable[[], Standing | None]) -> None:
        self._read = read
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._lines: dict[str, TaskID] = {}
        self._all = self._bars.add_task("experiments", total=None, told="")

    def update(self, standing: Standing) -> None:
        """Show how far it is."""
        left = "" if standing.seconds_left is None else f", about {say_time(standing.seconds_left)} left"
        failed = f", {standing.failed} failed" if standing.failed else ""
        ended = standing.done + standing.failed
        told = f"{ended} of {standing.total}{failed}{left}"
        self._bars.update(self._all, completed=ended, total=standing.total, told=told)
        busy = {each.site: each for each in standing.sites}
        for site in {*busy, *self._lines}:
            self._update_site(site, busy.get(site))

    @contextmanager
    def shown(self) -> Iterator["TransferDisplay"]:
        """Show it while the block runs."""
        over = Event()
        watch = Thread(target=self._watch, args=(over,), name="fedprint-display", daemon=True)
        with self._bars:
            watch.start()
            try:
                yield self
            finally:
                over.set()
                watch.join()

    def _watch(self, over: Event) -> None:
        while not over.wait(_LOOK_EVERY_S):
            standing = self._read()
            if standing is not None:
                self.update(standing)

    def _update_site(self, site: str, at_work: SiteAtWork | None) -> None:
        if site not in self._lines:
            self._lines[site] = self._bars.add_task(site, total=None, told="")
        line = self._lines[site]
        if at_work is None:
            self._bars.update(line, visible=False)
            return
        self._bars.update(
            line,
            visible=True,
            description=f"{site}: {at_work.doing}",
            total=at_work.epochs or None,
            completed=at_work.epoch,
            told=f"epoch {at_work.epoch} of {at_work.epochs}" if at_work.epochs else "",
        )


def say_step(step: Step) -> str:
    """Return what a site does in a step, in words."""
    seed = f", seed {step.seed}"
    if isinstance(step, SearchStep):
        return f"searches an augmentation policy on {step.task}{seed}"
    if isinstance(step, CotrainStep):
        partners = ", ".join(sorted(set(step.partners) - {step.site})) or step.site
        return f"round {step.round + 1} of {step.rounds} of {step.task} with {partners}{seed}"
    begun = f"from model {step.model_id[:8]}" if step.model_id else f"from {step.start}"
    ranked = ", for a ranking" if step.measure == "validation" else ""
    return f"trains {step.network.name} on {step.task} {begun}{ranked}{seed}"


def say_time(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
