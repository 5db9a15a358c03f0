"""Flower's entry to the aggregator: read the configuration, run the job."""

import uuid
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from aggregator.config import HubConfig
from aggregator.rounds.fingerprint import run_fingerprint_job
from aggregator.rounds.pooled import run_calibration_job
from federation.errors import ConfigError

FINGERPRINT, CALIBRATE = "fingerprint", "calibrate"

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
    else:
        raise ConfigError(f"there is no job {job!r}", remedy=f"choose {FINGERPRINT!r} or {CALIBRATE!r}")
