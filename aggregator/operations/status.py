"""A hub's status: for people, and as JSON for programs."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from aggregator.jobs.job import FAILED, RUNNING, Job
from aggregator.members import Member, Standing
from aggregator.operations.catalogue_reading import CatalogueReading
from aggregator.operations.hub_reading import HubReading
from federation.expiry import Urgency
from federation.operations.words import (
    expiries,
    say_disk,
    say_expiries,
    say_moment,
    say_number,
    say_problems,
    say_processes,
)


def to_json(reading: HubReading) -> dict[str, Any]:
    """Return the status as JSON can hold it; what could not be read is null."""
    return {
        "at": reading.at,
        "consortium": reading.consortium,
        "catalogue": None if reading.catalogue is None else catalogue_json(reading.catalogue),
        "members": None if reading.members is None else [_member_json(m) for m in reading.members],
        "expires": [
            {"what": e.what, "at": e.at, "days": e.days, "urgency": e.urgency.value}
            for e in expiries(reading.ends, reading.at)
        ],
        "processes": None if reading.processes is None else [asdict(p) for p in reading.processes],
        "disk": None if reading.disk is None else asdict(reading.disk),
        "problems": reading.readings.to_json(),
        "next": list(next_steps(reading)),
    }


def rendered(reading: HubReading) -> Iterator[RenderableType]:
    """Yield the status for people."""
    yield f"[bold]{escape(reading.consortium)}[/bold], {say_moment(reading.at)} UTC"
    yield _facts_table(_told(reading))
    if reading.catalogue is not None and reading.catalogue.latest:
        yield _job_table(reading.catalogue.latest)
    if reading.members:
        yield _member_table(reading.members)
    for problem in say_problems(reading.readings):
        yield f"[bold red]![/bold red] {escape(problem)}"
    for step in next_steps(reading):
        yield f"→ {escape(step)}"


def next_steps(reading: HubReading) -> Iterator[str]:
    """Yield what an operator should do, the most urgent first."""
    stopped = [process.name for process in reading.processes or () if not process.runs]
    if reading.processes is None or len(stopped) == len(reading.processes):
        yield "`fedprint hub serve FOLDER` starts the hub"
    elif stopped:
        yield f"{', '.join(stopped)} does not run: its log is in logs/"
    if reading.disk is not None and not reading.disk.is_enough:
        yield "free space on the disk: nothing can be stored soon"
    yield from _renewals(reading)
    yield from _about_jobs(reading)


def _renewals(reading: HubReading) -> Iterator[str]:
    for expiry in expiries(reading.ends, reading.at):
        kind, _, name = expiry.what.partition(" ")
        renewal = f"hub renew {name}" if kind == "membership" else "hub renew-certificate"
        if expiry.urgency is not Urgency.OK:
            yield f"{expiry}: `fedprint {renewal}`"


def _about_jobs(reading: HubReading) -> Iterator[str]:
    if reading.invited and not reading.members:
        answers = ", ".join(f"{site}.enrolment.json" for site in reading.invited)
        yield f"`fedprint hub approve FILE` lets a hospital in, once its answer has come: {answers}"
    elif reading.members is not None and not reading.members:
        yield "`fedprint hub invite SITE` invites the first hospital"
    elif reading.catalogue is not None and not reading.catalogue.jobs:
        yield "`fedprint hub run fingerprint` asks the sites for fingerprints"
    latest = reading.catalogue.latest if reading.catalogue is not None else ()
    if latest and latest[0].state == FAILED:
        yield f"the last job failed ({latest[0].code}): `fedprint hub run {latest[0].kind}` asks again"


def catalogue_rendered(known: CatalogueReading) -> Iterator[RenderableType]:
    """Yield for people what a catalogue holds."""
    yield _facts_table(_told_of_catalogue(known))
    if known.latest:
        yield _job_table(known.latest)


def catalogue_json(known: CatalogueReading) -> dict[str, Any]:
    """Return what a catalogue holds as JSON can hold it."""
    return {
        "jobs": [{"kind": kind, "state": state, "n": n} for (kind, state), n in sorted(known.jobs.items())],
        "failures": [
            {"kind": kind, "code": code, "n": n} for (kind, code), n in sorted(known.failures.items())
        ],
        "attempts": dict(known.attempts),
        "last_done": dict(known.last_finished),
        "waiting": known.waiting,
        "fingerprints": known.fingerprints,
        "log_entries": known.log_entries,
        "latest": [asdict(job) for job in known.latest],
    }


def _member_json(member: Member) -> dict[str, Any]:
    ends = None if member.membership is None else member.membership.valid_until
    return {
        "site": member.site,
        "standing": member.standing.value,
        "valid_until": ends,
        "because": member.because,
    }


def _facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in facts:
        table.add_row(name, escape(text))
    return table


def _told(reading: HubReading) -> Iterator[tuple[str, str]]:
    yield "processes", say_processes(reading.processes)
    if reading.catalogue is None:
        yield "catalogue", "cannot be read"
    else:
        yield from _told_of_catalogue(reading.catalogue)
    if reading.members is not None:
        valid = sum(member.standing is Standing.VALID for member in reading.members)
        yield "members", f"{valid} of {len(reading.members)} take part"
    yield "ends", say_expiries(expiries(reading.ends, reading.at))
    yield "disk", say_disk(reading.disk)


def _told_of_catalogue(known: CatalogueReading) -> Iterator[tuple[str, str]]:
    n_running = sum(n for (_, state), n in known.jobs.items() if state == RUNNING)
    yield (
        "catalogue",
        f"{say_number(known.fingerprints, 'fingerprint')}, log of {say_number(known.log_entries, 'line')}",
    )
    yield "queue", f"{n_running} running, {known.waiting} waiting"


def _job_table(jobs: tuple[Job, ...]) -> Table:
    table = Table(
        "job", "kind", "asked for", "ended", "state", "attempts", "why", box=None, padding=(0, 2, 0, 0)
    )
    for job in jobs:
        why = " ".join(part for part in (f"[{job.code}]" if job.code else "", job.reason) if part)
        moments = say_moment(job.asked_at), say_moment(job.finished_at)
        table.add_row(job.job_id[:12], job.kind, *moments, job.state, str(job.attempts), escape(why))
    return table


def _member_table(members: tuple[Member, ...]) -> Table:
    table = Table("site", "membership", "until", "why", box=None, padding=(0, 2, 0, 0))
    for member in members:
        until = "" if member.membership is None else say_moment(float(member.membership.valid_until))
        table.add_row(escape(member.site), member.standing.value, until, escape(member.because))
    return table
