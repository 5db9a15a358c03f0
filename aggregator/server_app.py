"""Flower's entry to the aggregator: read the configuration, run the job."""

import uuid
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.jobs.attempt import Attempt
from aggregator.jobs.job import CALIBRATE, FINGERPRINT, TRANSFER
from aggregator.jobs.log_file import write_log
from aggregator.jobs.queue import JobQueue
from aggregator.rounds.fingerprint import run_fingerprint_job
from aggregator.rounds.pooled import run_calibration_job
from aggregator.store import Catalogue
from aggregator.transfer.job import Conditions, run_transfer_job
from aggregator.transfer.plan import TransferPlan
from federation import logs
from federation.errors import ConfigError

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job of the run configuration on the hub file that it names.

    A job of a hub's queue is done once, by one process at a time, and its end is recorded there.
    """
    config = context.run_config
    hub_file = Path(str(config["hub-config"]))
    hub = HubConfig.read(hub_file)
    job_id = str(config.get("job-id") or uuid.uuid4().hex)
    work = partial(_work, grid, hub, job_id, config)
    with logs.job(job_id), closing(Catalogue(hub.catalogue, create=True)) as catalogue:
        queue = JobQueue(catalogue)
        if queue.find(job_id) is None:
            work()
            return
        folder = HubFolder(hub_file.resolve().parent)
        write_log(folder.logs / "aggregator.log")
        Attempt(queue, folder, job_id, str(context.run_id)).carry_out(work)


def _work(grid: Grid, hub: HubConfig, job_id: str, config: Mapping[str, object]) -> None:
    job = str(config.get("job") or FINGERPRINT)
    if job == FINGERPRINT:
        run_fingerprint_job(grid, hub, job_id)
    elif job == CALIBRATE:
        run_calibration_job(grid, hub, job_id, str(config.get("cohort") or ""))
    elif job == TRANSFER:
        plan = TransferPlan.read(Path(str(config.get("plan") or "PLAN.toml")))
        run_transfer_job(grid, hub, job_id, plan, Conditions(bool(config.get("retry-failed"))))
    else:
        raise ConfigError(
            f"there is no job {job!r}", remedy=f"choose {FINGERPRINT!r}, {CALIBRATE!r} or {TRANSFER!r}"
        )
