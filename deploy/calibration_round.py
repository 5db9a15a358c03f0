"""A cohort's coarse histogram, opened once: by a round of its sites, or read where it was opened before."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from aggregator.jobs.job import CALIBRATE
from aggregator.server_app import app as server_app
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.inprocess import Config, Node, run_in_process
from deploy.progress_display import ProgressDisplay
from deploy.simulated_cohort import SimulatedCohort
from deploy.simulation import CATALOGUE_FILE, check_data, problems_of, write_consortium
from federation.errors import RoundError, StoreError
from federation.fingerprint import Fingerprint
from federation.space import Space
from site_agent.client_app import app as client_app

FOLDER = "calibration"
"""Where, in the output folder of a consortium, each coarse space has a folder of its own."""


@dataclass(frozen=True)
class Opened:
    """The sum of a cohort's coarse histograms.

    Args:
        fingerprint: The sum, as it is in the catalogue of the coarse space.
        asked: Whether sites were asked for it now; False: it stood already, and costs nobody anything.
    """

    fingerprint: Fingerprint
    asked: bool


def opened_histogram(
    config: FederationConfig,
    cohort: SimulatedCohort,
    coarse: Space,
    display: ProgressDisplay,
    *,
    again: bool = False,
) -> Opened:
    """Return a cohort's fingerprint in the coarse space.

    What was opened for the same members and the same budget stands: nobody is asked for it twice.

    Args:
        config: The consortium.
        cohort: The cohort.
        coarse: The space of the histogram.
        display: Where progress is shown.
        again: Whether sites are asked in any case, and pay again.

    Raises:
        ConfigError: If a member's dataset cannot be used.
        RoundError: If the sum could not be opened.
    """
    members = tuple(site for site in config.site if site.name in cohort.sites)
    asked = cohort.model_copy(update={"refresh_days": 0.0}) if again else cohort
    own = config.model_copy(update={"site": members, "cohort": (asked,)})
    display.stage("checking the data")
    check_data(own)
    display.stage(f"pooling histograms of {coarse.n_bins} coarse bins over {len(members)} sites")
    folder = config.consortium.output / FOLDER / coarse.space_id[:16]
    before = _standing(folder / CATALOGUE_FILE, cohort, coarse)
    _ask(own, coarse, folder)
    opened = _standing(folder / CATALOGUE_FILE, cohort, coarse)
    if opened is None:
        raise StoreError(f"the sum of cohort {cohort.name} is not in {folder / CATALOGUE_FILE}")
    return Opened(opened, before is None or opened.fingerprint_id != before.fingerprint_id)


def _ask(config: FederationConfig, coarse: Space, folder: Path) -> None:
    """Run the round in this process.

    Raises:
        RoundError: If it failed, with what sites wrote into their own logs.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    prepared = write_consortium(config, coarse, folder)
    job_id = f"{CALIBRATE}-{uuid.uuid4().hex[:12]}"
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    run_config: Config = {"hub-config": str(prepared.hub_file), "job-id": job_id, "job": CALIBRATE}
    run_in_process(server_app, nodes, run_config, parallel=config.consortium.parallel_sites)
    codes = _codes(prepared.catalogue, job_id)
    if codes:
        complaints = dict.fromkeys(
            f"{p.site}: {p.text}" for p in problems_of(prepared, job_id) if not p.image
        )
        raise RoundError(
            f"the coarse histogram in space {coarse.space_id} was not opened ({', '.join(codes)}): "
            f"{'; '.join(complaints) or 'no site complained'}",
            remedy="run again once that is mended; a policy of a site's own must allow that space",
        )


def _codes(path: Path, job_id: str) -> list[str]:
    catalogue = Catalogue(path)
    try:
        return [e["code"] for e in catalogue.events() if e["kind"] == "missing" and e["job"] == job_id]
    finally:
        catalogue.close()


def _standing(path: Path, cohort: SimulatedCohort, coarse: Space) -> Fingerprint | None:
    if not path.exists():
        return None
    catalogue = Catalogue(path)
    try:
        for entry in catalogue.listings(coarse):
            if entry.current and entry.key == cohort.address:
                return catalogue.fingerprint(entry.seq, coarse)
    finally:
        catalogue.close()
    return None
