"""Flower's entry to the aggregator: read the configuration, run the job."""

import uuid
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from aggregator.config import HubConfig
from aggregator.rounds.fingerprint import run_fingerprint_job
from aggregator.rounds.pooled import run_calibration_job
from aggregator.transfer.job import Conditions, run_transfer_job
from aggregator.transfer.plan import TransferPlan
from federation.errors import ConfigError

FINGERPRINT, CALIBRATE, TRANSFER = "fingerprint", "calibrate", "transfer"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job of the run configuration on the hub file that it names."""
    config = context.run_config
    hub = HubConfig.read(Path(str(config["hub-config"])))
    job_id = str(config.get("job-id") or uuid.uuid4().hex)
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
