"""A site's status: for people, and as JSON for programs; it stays at the site."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from federation.expiry import Urgency
from federation.operations.words import (
    expiries,
    say_bytes,
    say_disk,
    say_expiries,
    say_moment,
    say_number,
    say_problems,
    say_processes,
)
from site_agent.flower.link_status import Link
from site_agent.hub_log.standing import LogStanding
from site_agent.operations.activity import JobSeen
from site_agent.operations.budget_reading import BudgetLeft
from site_agent.operations.site_reading import SiteReading

_SHOWN_JOBS = 10
_SHOWN_KEY = 16  # digits of a key that has no name


def to_json(reading: SiteReading) -> dict[str, Any]:
    """Return the status as JSON can hold it; what could not be read is null."""
    return {
        "at": reading.at,
        "site": reading.site,
        "consortium": None if reading.hub is None else reading.hub.consortium,
        "connection": asdict(reading.link),
        "jobs": [_job_json(job, reading) for job in latest_jobs(reading)],
        "budgets": None if reading.budgets is None else [asdict(budget) for budget in reading.budgets],
        "waiting_bundles": reading.n_waiting,
        "log": None if reading.log is None else asdict(reading.log),
        "expires": [
            {"what": e.what, "at": e.at, "days": e.days, "urgency": e.urgency.value}
            for e in expiries(reading.ends, reading.at)
        ],
        "processes": None if reading.processes is None else [asdict(p) for p in reading.processes],
        "disk": None if reading.disk is None else asdict(reading.disk),
        "problems": reading.readings.to_json(),
        "next": list(next_steps(reading)),
    }


def rendered(reading: SiteReading) -> Iterator[RenderableType]:
    """Yield the status for people."""
    of = "" if reading.hub is None else f" in {escape(reading.hub.consortium)}"
    yield f"[bold]{escape(reading.site)}[/bold]{of}, {say_moment(reading.at)} UTC"
    yield _facts_table(reading)
    if jobs := latest_jobs(reading):
        yield _job_table(jobs, reading)
    if reading.budgets:
        yield _budget_table(reading.budgets)
    for problem in say_problems(reading.readings):
        yield f"[bold red]![/bold red] {escape(problem)}"
    for step in next_steps(reading):
        yield f"→ {escape(step)}"


def next_steps(reading: SiteReading) -> Iterator[str]:
    """Yield what somebody at the site should do, the most urgent first."""
    runs = any(process.runs for process in reading.processes or ())
    if reading.hub is None:
        yield "this site belongs to no hub: `fedprint site init INVITATION` begins one that does"
    elif reading.log is not None and reading.log.contradiction:
        yield f"the hub is not answered: {reading.log.contradiction}; `fedprint site verify` says more"
    elif not runs:
        yield "`fedprint site serve FOLDER` starts the site"
    elif not reading.link.connected:
        yield "`fedprint site check FOLDER` says what stands between this site and the hub"
    if reading.disk is not None and not reading.disk.is_enough:
        yield "free space on the disk: nothing can be recorded soon, and then nothing leaves"
    if reading.n_waiting:
        yield "`fedprint site approve FOLDER` shows the app bundles that wait, and what changed"
    for expiry in expiries(reading.ends, reading.at):
        if expiry.urgency is not Urgency.OK:
            yield f"{expiry}: ask the hub's operator to renew it"


def latest_jobs(reading: SiteReading) -> list[JobSeen]:
    """Return the jobs that the site was asked for last, newest first."""
    known = [] if reading.activity is None else list(reading.activity.jobs.values())
    return known[: -_SHOWN_JOBS - 1 : -1]


def _job_json(job: JobSeen, reading: SiteReading) -> dict[str, Any]:
    return {
        "job": job.job_id,
        "began": job.began,
        "last": job.last,
        "replies": job.replies,
        "bytes": job.n_bytes,
        "to": _to(job, reading),
        "released": [{"task": task, "mode": mode} for task, mode in sorted(job.released)],
        "failed": [{"task": task, "code": code} for task, code in sorted(job.failed)],
    }


def _to(job: JobSeen, reading: SiteReading) -> list[str]:
    """Return who got replies: the hub by its name, others by their key."""
    hub = reading.hub
    names = {} if hub is None else {hub.public_key: hub.consortium}
    return [names.get(key, f"{key[:_SHOWN_KEY]}…") for key in sorted(job.aggregators)]


def _facts_table(reading: SiteReading) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in _told(reading):
        table.add_row(name, escape(text))
    return table


def _told(reading: SiteReading) -> Iterator[tuple[str, str]]:
    yield "hub", _say_link(reading.link) if reading.hub is not None else "none"
    yield "processes", say_processes(reading.processes)
    if reading.activity is not None:
        known = reading.activity
        last = f", the last one on {say_moment(known.last_sent)}" if known.last_sent else ""
        yield "sent", f"{say_number(known.replies, 'message')}, {say_bytes(known.n_bytes)}{last}"
    if reading.n_waiting is not None:
        yield "waiting", f"{say_number(reading.n_waiting, 'app bundle')} for approval"
    if reading.log is not None:
        yield "hub's log", _say_log(reading.log)
    yield "ends", say_expiries(expiries(reading.ends, reading.at))
    yield "disk", say_disk(reading.disk)


def _say_log(log: LogStanding) -> str:
    seen = f"seen up to line {log.size}" if log.size else "not seen yet"
    return f"{seen}, CONTRADICTED" if log.contradiction else seen


def _say_link(link: Link) -> str:
    if link.connected:
        return f"connected since {say_moment(link.since)}"
    since = f" since {say_moment(link.since)}" if link.since else ""
    return f"not connected{since}: {link.last_error or 'no reason is known'}"


def _job_table(jobs: list[JobSeen], reading: SiteReading) -> Table:
    table = Table("job", "when", "what left", "size", "to", "not done", box=None, padding=(0, 2, 0, 0))
    for job in jobs:
        left = ", ".join(f"{task} ({mode})" for task, mode in sorted(job.released))
        failed = ", ".join(f"{task} {code}".strip() for task, code in sorted(job.failed))
        told = (job.job_id[:12], say_moment(job.began), left or "no data", say_bytes(job.n_bytes))
        table.add_row(*map(escape, (*told, ", ".join(_to(job, reading)), failed)))
    return table


def _budget_table(budgets: tuple[BudgetLeft, ...]) -> Table:
    table = Table("budget", "ε left", "ε spent", "ε at most", "at δ", box=None, padding=(0, 2, 0, 0))
    for budget in budgets:
        amounts = (f"{amount:.3g}" for amount in (budget.left_eps, budget.spent_eps, budget.limit_eps))
        table.add_row(escape(f"{budget.scope} {budget.name}"), *amounts, f"{budget.delta:g}")
    return table
