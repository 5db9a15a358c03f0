"""The demo's transfer experiments, on the tasks of the embedded consortium."""

from pathlib import Path

from aggregator.transfer.plan import TransferPlan
from deploy.demo import demo_federation
from deploy.progress_display import ProgressDisplay
from deploy.transfer_simulation import SimulatedTransfer, prepare_plan
from federation.files import write_atomically

PLAN_FILE = "transfer.toml"


def prepare_demo(output: Path, display: ProgressDisplay | None = None) -> SimulatedTransfer:
    """Write the demo's images and plan below a folder, and return its experiments, ready to run.

    Args:
        output: Folder of ``fedprint demo``; what it left there is used.
        display: Where progress is shown.

    Raises:
        ConfigError: If the packages that hold the images are not installed.
        StoreError: If the folder cannot be written.
    """
    plan_file = output / PLAN_FILE
    write_atomically(plan_file, (Path(__file__).parent / "transfer.demo.toml").read_bytes())
    return prepare_plan(TransferPlan.read(plan_file), plan_file, demo_federation(output), display)
