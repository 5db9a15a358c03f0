"""``fedprint hub serve``, ``hub run`` and ``hub jobs``."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.jobs.job import CALIBRATE, DONE, FAILED, FINGERPRINT, TRANSFER, Job
from aggregator.jobs.queue import JobQueue
from aggregator.options import JsonOption, print_json
from aggregator.store import Catalogue
from aggregator.tables import wide_console
from aggregator.transfer.plan import TransferPlan
from federation.errors import BusyError, ConfigError, DeploymentError, UnknownNameError
from federation.files import locked

FolderOption = Annotated[Path, typer.Option("--folder", "-f", help="The hub's folder.")]
HERE = Path()

_LOOK_S = 0.2


class JobKind(StrEnum):
    """What a consortium can be asked to do."""

    FINGERPRINT = FINGERPRINT
    CALIBRATE = CALIBRATE
    TRANSFER = TRANSFER


def serve(
    folder: Annotated[Path, typer.Argument(help="The hub's folder.")] = HERE,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write logs as JSON.")] = False,
) -> None:
    """Serve the consortium: sites connect, and jobs of the queue are run, until it is stopped."""
    from aggregator.serving import serve_hub

    status = serve_hub(HubFolder(folder.resolve()), json=json_logs)
    if status:
        raise DeploymentError(
            "a process of the hub refused to start", remedy=f"read the logs in {folder / 'logs'}"
        )


def run(
    kind: Annotated[JobKind, typer.Argument(help="What the consortium is asked to do.")],
    plan: Annotated[Path | None, typer.Option(help="Plan of a transfer job.")] = None,
    cohort: Annotated[str, typer.Option(help="Cohort of a calibration.")] = "",
    retry_failed: Annotated[bool, typer.Option(help="Do the failed steps of a plan again.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Put a job into the queue, and wait for its end."""
    hub, queue = _open(folder)
    job = queue.ask(kind, _arguments(hub, kind, plan, cohort, retry_failed))
    if wait:
        try:
            job = _waited(queue, job, _reporter(folder, as_json=as_json))
        except KeyboardInterrupt:
            typer.echo(
                f"job {job.job_id} stays in the queue without you; `fedprint hub jobs` shows it", err=True
            )
            raise
    if as_json:
        print_json(told(job))
    if job.state == FAILED:
        raise DeploymentError(f"job {job.job_id} failed ({job.code}): {job.reason}")
    if not as_json:
        typer.echo(_ending(queue, job))


def jobs(
    folder: FolderOption = HERE,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the latest jobs and how they ended."""
    _, queue = _open(folder)
    found = queue.list(limit)
    if as_json:
        print_json({"jobs": [told(job) for job in found]})
    elif found:
        wide_console().print(_table(found))
    else:
        typer.echo("nothing was asked for yet; `fedprint hub run fingerprint` does")


def told(job: Job) -> dict[str, Any]:
    """Return what is told of a job as JSON."""
    return {
        "job": job.job_id,
        "kind": job.kind,
        "arguments": dict(job.arguments),
        "state": job.state,
        "code": job.code,
        "reason": job.reason,
        "attempts": job.attempts,
        "asked_at": job.asked_at,
        "began_at": job.began_at,
        "finished_at": job.finished_at,
    }


def _open(folder: Path) -> tuple[HubConfig, JobQueue]:
    hub = HubConfig.read(HubFolder(folder).config)
    return hub, JobQueue(Catalogue(hub.catalogue, create=True))


def _arguments(
    hub: HubConfig, kind: JobKind, plan: Path | None, cohort: str, retry_failed: bool
) -> dict[str, str | bool]:
    """Return what a job is done with, after checking what can be checked before it waits."""
    if (kind is JobKind.TRANSFER) != (plan is not None):
        raise ConfigError("a transfer job, and no other, needs a plan", remedy="give --plan PLAN.toml")
    if (kind is JobKind.CALIBRATE) != bool(cohort):
        raise ConfigError("a calibration, and no other, needs a cohort", remedy="give --cohort NAME")
    if cohort and cohort not in {each.name for each in hub.cohort}:
        raise UnknownNameError(f"there is no cohort {cohort!r}", remedy="add it to hub.toml as [[cohort]]")
    if plan is not None:
        TransferPlan.read(plan)
        return {"plan": str(plan.resolve()), "retry-failed": retry_failed}
    return {"cohort": cohort} if cohort else {}


def _waited(queue: JobQueue, job: Job, report: Callable[[Job], None]) -> Job:
    """Return a job once it has come to its end, reporting every change."""
    seen: Job | None = None
    while job.is_open:
        if job != seen:
            report(job)
            seen = job
        time.sleep(_LOOK_S)
        job = queue.get(job.job_id)
    return job


def _reporter(folder: Path, *, as_json: bool) -> Callable[[Job], None]:
    console = Console(stderr=True, highlight=False)

    def report(job: Job) -> None:
        if as_json:
            return
        if job.attempts == 0:
            hint = "" if is_served(HubFolder(folder)) else "; start `fedprint hub serve`, nobody does it yet"
            console.print(f"job {job.job_id} waits{hint}")
        elif job.flower_run:
            console.print(f"attempt {job.attempts} has begun")
        else:
            console.print(f"attempt {job.attempts} died and will be made again: {escape(job.reason)}")

    return report


def is_served(folder: HubFolder) -> bool:
    """Return whether ``fedprint hub serve`` runs on a folder."""
    try:
        with locked(folder.serve_lock, wait=False):
            return False
    except BusyError:
        return True


def _ending(queue: JobQueue, job: Job) -> str:
    """Return how a job stands, and of fingerprints who is there and who is not."""
    if job.state != DONE:
        return f"job {job.job_id} waits in the queue; `fedprint hub jobs` shows it"
    if job.kind != FINGERPRINT:
        return f"job {job.job_id} is done"
    summary = queue.catalogue.run_summary(job.job_id)
    lines = [f"job {job.job_id} is done: {len(summary['accepted'])} fingerprints"]
    lines += [f"  {key}" for key in summary["accepted"]]
    for each in summary["missing"]:
        lines.append(f"  missing: {each['site']}{'/' if each['task'] else ''}{each['task']} ({each['code']})")
    return "\n".join(lines)


def _table(found: list[Job]) -> Table:
    table = Table("asked", "kind", "state", "attempts", "seconds", "why", "job", box=box.SIMPLE_HEAD)
    for job in found:
        asked = datetime.fromtimestamp(job.asked_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        seconds = f"{job.finished_at - job.asked_at:.0f}" if job.finished_at else ""
        why = f"{job.code}: {job.reason}" if job.code else job.reason
        cells = (asked, job.kind, job.state, str(job.attempts), seconds, why, job.job_id)
        table.add_row(*map(escape, cells))
    return table
