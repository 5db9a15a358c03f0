"""Transfer experiments of a consortium that is simulated on this machine."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import torch

from aggregator.server_app import app as server_app
from aggregator.transfer.answer import site_of
from aggregator.transfer.plan import TransferPlan
from deploy.federation_file import FederationConfig
from deploy.inprocess import Config, InProcessGrid, Node, run_in_process
from deploy.progress_display import ProgressDisplay
from deploy.simulation import Prepared, SiteProblem, prepare
from deploy.site_policy import TransferGrant
from federation.errors import ConfigError
from federation.names import task_key
from site_agent.client_app import app as client_app
from site_agent.state import SiteState
from site_agent.transfer.turn import FAILED

JOB = "transfer"


@dataclass(frozen=True)
class SimulatedTransfer:
    """A plan, and the simulated consortium that carries it out.

    Args:
        plan: The plan.
        plan_file: Where it is.
        federation: The consortium.
        prepared: The files that aggregator and sites start from.
        job_id: Names this run in the logs of the sites.
    """

    plan: TransferPlan
    plan_file: Path
    federation: FederationConfig
    prepared: Prepared
    job_id: str

    @property
    def parallel(self) -> int:
        """How many sites work at the same time."""
        return min(self.federation.consortium.parallel_sites, len(self.prepared.site_files))

    def problems(self) -> Iterator[SiteProblem]:
        """Yield why steps of this run failed, as sites wrote it into their logs; here it may be shown."""
        for path in self.prepared.site_files:
            for event in SiteState(path.parent).events():
                if event.get("job") == self.job_id and event["event"] == FAILED and "text" in event:
                    yield SiteProblem(path.parent.name, event.get("task", ""), "", event["text"])


def prepare_transfer(plan_file: Path, display: ProgressDisplay | None = None) -> SimulatedTransfer:
    """Read a plan and its federation, and let the simulated sites' policies permit what it needs.

    Raises:
        ConfigError: If plan or federation file is wrong, or a dataset cannot be used at all.
        ExtractorError: If the extractor of the consortium's space cannot be loaded.
        StoreError: If the output folder cannot be written.
    """
    plan = TransferPlan.read(plan_file)
    federation = FederationConfig.read(federation_of(plan, plan_file))
    return prepare_plan(plan, plan_file, federation, display)


def prepare_plan(
    plan: TransferPlan, plan_file: Path, federation: FederationConfig, display: ProgressDisplay | None = None
) -> SimulatedTransfer:
    """Return a plan and its consortium, ready to run; errors as of ``prepare_transfer``."""
    _check_addresses(plan, plan_file, federation)
    _check_cohorts(plan, plan_file, federation)
    grant = TransferGrant(networks_of(plan), cohorts=cohorts_of(plan))
    prepared = prepare(federation, display, grant)
    return SimulatedTransfer(
        plan, plan_file.resolve(), federation, prepared, f"transfer-{uuid.uuid4().hex[:12]}"
    )


def run_transfer(
    simulated: SimulatedTransfer, *, retry_failed: bool = False, record: bool = False
) -> InProcessGrid:
    """Carry a plan out; what was done before is not done again.

    Args:
        simulated: The plan and its consortium.
        retry_failed: Whether what failed in an earlier run is tried again.
        record: Whether the grid keeps everything that crosses the wire.

    Raises:
        FedprintError: If the catalogue cannot be written; what fails at a site fails there alone.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    nodes = [Node(client_app, {"site-config": str(path)}) for path in simulated.prepared.site_files]
    run_config: Config = {
        "hub-config": str(simulated.prepared.hub_file),
        "job": JOB,
        "job-id": simulated.job_id,
        "plan": str(simulated.plan_file),
        "retry-failed": retry_failed,
    }
    with cores_shared_by(simulated.parallel):
        return run_in_process(server_app, nodes, run_config, parallel=simulated.parallel, record=record)


def federation_of(plan: TransferPlan, plan_file: Path) -> Path:
    """Return the federation file that a plan names.

    Raises:
        ConfigError: If it names none.
    """
    if not plan.federation:
        raise ConfigError(
            f"{plan_file} names no federation, so there is nobody to simulate",
            remedy='add federation = "federation.toml"; for real sites see docs/transfer.md',
        )
    return plan_file.resolve().parent / plan.federation


def networks_of(plan: TransferPlan) -> tuple[str, ...]:
    """Return every architecture that a plan trains, as ``library:name``."""
    networks = (plan.network, *plan.candidates)
    return tuple(sorted({f"{network.library}:{network.name}" for network in networks}))


def cohorts_of(plan: TransferPlan) -> dict[str, tuple[str, ...]]:
    """Return cohort → addresses of the tasks whose updates a plan sums under masks."""
    return {cohort: group for cohort, group in plan.co_training.parties if cohort}


@contextmanager
def cores_shared_by(parallel: int) -> Iterator[None]:
    """Give each of several sites in this process its share of the cores while the block runs."""
    threads = torch.get_num_threads()
    # Threads that use torch for the first time take the number that is set now.
    torch.set_num_threads(max(1, threads // parallel))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_addresses(plan: TransferPlan, plan_file: Path, federation: FederationConfig) -> None:
    known = [task_key(site.name, dataset.task) for site in federation.site for dataset in site.dataset]
    named = [each for tasks in (plan.targets, plan.sources) if isinstance(tasks, tuple) for each in tasks]
    for address in (*named, *chain(*plan.pairs), *plan.co_training.addresses):
        if address not in known:
            alike = " or ".join(get_close_matches(address, known, n=2)) or ", ".join(sorted(known)[:5])
            raise ConfigError(
                f"{plan_file} names {address}, which is no site/task of {plan.federation}",
                remedy=f"is it {alike}?",
            )


def _check_cohorts(plan: TransferPlan, plan_file: Path, federation: FederationConfig) -> None:
    """Raise where a site's policy would have to say two things about a cohort of one name."""
    pooled = {cohort.name: set(cohort.sites) for cohort in federation.cohort}
    for cohort, group in cohorts_of(plan).items():
        sites = {site_of(address) for address in group}
        if pooled.get(cohort, sites) != sites:
            raise ConfigError(
                f"{plan_file} has a masked group {cohort} of other sites than the cohort {cohort} of "
                f"{plan.federation}",
                remedy="give the group another name",
            )
