"""A plan from start to end on this machine: progress, findings, report."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from aggregator.store import Catalogue
from aggregator.transfer.report import report_plan
from deploy import REPORTS_FOLDER
from deploy.progress_display import ProgressDisplay
from deploy.transfer_demo import prepare_demo as demo_experiments
from deploy.transfer_display import TransferDisplay
from deploy.transfer_private import private_warnings
from deploy.transfer_results import show_findings
from deploy.transfer_simulation import SimulatedTransfer, prepare_transfer, run_transfer
from deploy.transfer_watch import Watch
from federation.errors import FedprintError


def prepare_plan_file(plan: Path, console: Console) -> SimulatedTransfer:
    """Read a plan and make its simulated consortium ready; errors as of ``prepare_transfer``."""
    with ProgressDisplay(console).shown() as display:
        return prepare_transfer(plan, display)


def prepare_demo(output: Path, console: Console) -> SimulatedTransfer:
    """Make the demo's experiments ready below its folder; errors as of ``demo_experiments``."""
    with ProgressDisplay(console).shown() as display:
        return demo_experiments(output, display)


def carry_out(simulated: SimulatedTransfer, console: Console, *, retry_failed: bool = False) -> bool:
    """Run a plan, show how far it is and what it found, and write its report.

    Args:
        simulated: The plan and its consortium.
        console: Where.
        retry_failed: Whether what failed in an earlier run is tried again.

    Returns:
        Whether every experiment was measured.

    Raises:
        FedprintError: If the catalogue cannot be written.
    """
    plan, n_sites = simulated.plan, len(simulated.prepared.site_files)
    watch = Watch(simulated.prepared.catalogue, plan)
    if not watch.has_fingerprints():
        _miss_fingerprints(simulated, console)
    for warning in private_warnings(plan, simulated.federation):
        console.print(f"[yellow]note:[/yellow] {escape(warning)}")
    console.print(f"[bold]•[/bold] experiments of plan {plan.name} on {n_sites} sites")
    with TransferDisplay(console, watch.standing).shown():
        run_transfer(simulated, retry_failed=retry_failed)
    complete = show_findings(watch.findings(), simulated.problems(), console)
    _leave_report(simulated, console)
    return complete


def _miss_fingerprints(simulated: SimulatedTransfer, console: Console) -> None:
    federation = simulated.plan.federation
    command = f"fedprint simulate {federation}" if federation else "fedprint demo"
    console.print(
        f"[yellow]note:[/yellow] there are no fingerprints yet; `{escape(command)}` first gives distances, "
        "which help to choose sources and are judged in the report"
    )


def _leave_report(simulated: SimulatedTransfer, console: Console) -> None:
    folder = simulated.prepared.catalogue.parent / REPORTS_FOLDER / simulated.plan.name
    catalogue = Catalogue(simulated.prepared.catalogue)
    try:
        page, *tables = report_plan(catalogue, folder, simulated.plan.name)
    except FedprintError as error:
        console.print(f"[yellow]no report:[/yellow] {escape(str(error))}")
        return
    finally:
        catalogue.close()
    console.print(f"outcomes: {simulated.prepared.catalogue}  (`fedprint hub outcomes list`)")
    console.print(f"report:   {page}\ntables:   {folder}, {len(tables)} files")
