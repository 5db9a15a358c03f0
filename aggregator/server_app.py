"""Flower's entry to the aggregator: read the configuration, run the job."""

import uuid
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from aggregator.config import HubConfig
from aggregator.rounds.fingerprint import run_fingerprint_job

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the fingerprint job of the hub file named in the run configuration."""
    hub = HubConfig.read(Path(str(context.run_config["hub-config"])))
    job_id = str(context.run_config.get("job-id") or uuid.uuid4().hex)
    run_fingerprint_job(grid, hub, job_id)
