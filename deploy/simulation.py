"""A whole federation on one machine: the sites' and the aggregator's Flower apps in one process."""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w
from rich.console import Console

from aggregator.config import EnrolledSite, HubConfig
from aggregator.server_app import app as server_app
from deploy.federation_file import FederationConfig, SpaceConfig
from deploy.inprocess import Config, Node, run_in_process
from deploy.progress_display import ProgressDisplay
from deploy.simulated_cohort import memberships
from deploy.site_policy import TransferGrant, policy_text
from deploy.space_file import read_space, require_extractor
from federation.errors import ConfigError, FedprintError
from federation.files import write_atomically
from federation.identity import Identity
from federation.space import Space
from federation.trust import TrustMode
from site_agent.approval import approve
from site_agent.client_app import app as client_app
from site_agent.config import SiteConfig
from site_agent.data import open_source
from site_agent.extractors import Extractor, ExtractorSpec, load_extractor
from site_agent.policy import POLICY_FILE
from site_agent.rounds.participation import ROUND_EVENT
from site_agent.space_builder import SpaceRecipe, build_space_once
from site_agent.state import SiteState

CATALOGUE_FILE = "catalogue.sqlite"
SPACE_FILE = "space.safetensors"
HUB_KEY_FILE = "hub.key"
_COMPLAINTS = ("refused", "failed", "unreadable", ROUND_EVENT)


@dataclass(frozen=True)
class Prepared:
    """Files that aggregator and sites start from; a real deployment starts from the same.

    Args:
        site_files: ``site.toml`` of every site.
        hub_file: ``hub.toml`` of the aggregator.
        catalogue: Where the catalogue will be.
    """

    site_files: tuple[Path, ...]
    hub_file: Path
    catalogue: Path


@dataclass(frozen=True)
class SiteProblem:
    """What a site's own log says about a failed task or an unreadable image.

    Args:
        site: Name of the site.
        task: Name of the task, empty when the site refused the whole request.
        image: Name of the image, empty when the whole task failed.
        text: What went wrong and what to do.
    """

    site: str
    task: str
    image: str
    text: str


@dataclass(frozen=True)
class Simulation:
    """A finished run.

    Args:
        job_id: Id of the run in the catalogue.
        catalogue: The catalogue it left behind.
        problems: What the sites wrote into their own logs; on one machine these may be shown.
    """

    job_id: str
    catalogue: Path
    problems: tuple[SiteProblem, ...]


def check_data(config: FederationConfig) -> None:
    """List every dataset before any work is done.

    Raises:
        ConfigError: Naming every dataset that cannot be used.
    """
    complaints = []
    for site in config.site:
        for dataset in site.dataset:
            try:
                open_source(dataset)
            except FedprintError as error:
                complaints.append(f"{site.name}/{dataset.task}: {error}")
    if complaints:
        raise ConfigError("these datasets cannot be used: " + "; ".join(complaints))


def prepare(
    config: FederationConfig,
    display: ProgressDisplay | None = None,
    transfer: TransferGrant | None = None,
) -> Prepared:
    """Check the data, build the space and write the files that aggregator and sites start from.

    Args:
        config: The consortium; its paths are absolute.
        display: Where progress is shown.
        transfer: What the sites' policies let transfer experiments do; None: nothing.

    Raises:
        ConfigError: If a dataset cannot be used at all; nothing is changed then.
        ExtractorError: If the extractor cannot be loaded.
        StoreError: If the output folder cannot be written.
    """
    display = display or ProgressDisplay(Console(quiet=True))
    output = config.consortium.output
    display.stage("checking the data")
    check_data(config)
    made = "building the space" if config.space.file is None else f"the space of {config.space.file.name}"
    display.stage(f"{made}: {config.space.extractor}, {config.space.bins} bins")
    space, _ = open_space(config.space, output / SPACE_FILE, display)
    return write_consortium(config, space, output, transfer)


def write_consortium(
    config: FederationConfig, space: Space, folder: Path, transfer: TransferGrant | None = None
) -> Prepared:
    """Write the files of a consortium that works in a space.

    Args:
        config: The consortium; sites and keys are in its output folder.
        space: The space; every site's policy allows this one and no other.
        folder: Where hub file, space and catalogue of the run are.
        transfer: What the sites' policies let transfer experiments do; None: nothing.

    Raises:
        StoreError: If a file cannot be written.
    """
    output = config.consortium.output
    write_atomically(folder / SPACE_FILE, space.to_bytes())
    hub = Identity.load_or_create(config.consortium.name, output / HUB_KEY_FILE)
    # Every policy names the keys of all members, so keys are first.
    keys = {site.name: _identity(site, output).public_key for site in config.site}
    if transfer is not None:
        transfer = replace(transfer, model_sources=keys)
    terms = _Terms(config, space, hub.public_key, keys, transfer)
    files = tuple(_write_site(site, terms) for site in config.site)
    return Prepared(files, _write_hub(config, folder, keys), folder / CATALOGUE_FILE)


def simulate(config: FederationConfig, display: ProgressDisplay) -> Simulation:
    """Fingerprint a simulated consortium and leave a catalogue behind.

    Args:
        config: The consortium; its paths are absolute.
        display: Where progress is shown.

    Raises:
        FedprintError: As ``prepare`` does, or if the catalogue cannot be written.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    prepared = prepare(config, display)
    display.stage(f"fingerprinting {len(prepared.site_files)} sites")
    job_id = f"sim-{uuid.uuid4().hex[:12]}"
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    run_config: Config = {"hub-config": str(prepared.hub_file), "job-id": job_id}
    run_in_process(server_app, nodes, run_config, parallel=config.consortium.parallel_sites)
    # A run can ask a site twice, and a refusal then stands twice in its log.
    problems = dict.fromkeys(problems_of(prepared, job_id))
    return Simulation(job_id, prepared.catalogue, tuple(problems))


def open_space(space: SpaceConfig, path: Path, display: ProgressDisplay) -> tuple[Space, Extractor]:
    """Return the space of a federation file and its extractor, and leave the space in ``path``.

    It is the space of the file that ``[space]`` names, or else built, or else read from ``path`` where an
    earlier run built the same.

    Raises:
        ExtractorError: If the extractor cannot be loaded.
        SpaceMismatchError: If it is not that of the file that ``[space]`` names.
        StoreError: If the file cannot be written.
    """
    extractor = open_extractor(space)
    if space.file is None:
        return build_space_once(recipe_of(space), extractor, path, display.reference), extractor
    given = read_space(space.file)
    require_extractor(given, extractor.identity, space.file)
    write_atomically(path, given.to_bytes())
    return given, extractor


def open_extractor(space: SpaceConfig) -> Extractor:
    """Return the extractor that a federation file names.

    Raises:
        ExtractorError: If it cannot be loaded.
    """
    spec = ExtractorSpec(
        space.library,
        space.extractor,
        space.weights,
        space.weights_sha256,
        space.image_size,
        space.preprocessing,
        space.layers,
    )
    return load_extractor(spec, acceleration=space.acceleration)


def recipe_of(space: SpaceConfig) -> SpaceRecipe:
    """Return how a federation file builds its space."""
    return SpaceRecipe(
        space.extractor,
        space.bins,
        space.binning,
        space.reference_images,
        space.sketches,
        space.fisher.recipe(space.seed, private=space.private),
        space.private,
        space.clip,
    )


def _identity(site: SiteConfig, output: Path) -> Identity:
    return Identity.load_or_create(site.name, SiteState(_folder(site, output)).key_path)


def _folder(site: SiteConfig, output: Path) -> Path:
    return output / "sites" / site.name


@dataclass(frozen=True)
class _Terms:
    """What all sites of a simulated consortium agree on.

    Args:
        config: The consortium.
        space: The only space they work in.
        aggregator: Public key of the aggregator.
        keys: Site → public key.
        transfer: What transfer experiments may do.
    """

    config: FederationConfig
    space: Space
    aggregator: str
    keys: Mapping[str, str]
    transfer: TransferGrant | None

    def policy_of(self, site: SiteConfig) -> str:
        """Return the policy file of a site."""
        pooled = memberships(self.config.cohort, site.name, self.keys)
        return policy_text(site, self.config.privacy, self.space, self.aggregator, pooled, self.transfer)


def _write_site(site: SiteConfig, terms: _Terms) -> Path:
    """Give a site a folder with its own configuration and policy, as a real one would have.

    The words of its private cards count as read: they stand in the federation file.
    """
    config = terms.config
    folder = _folder(site, config.consortium.output)
    own = site.model_copy(
        update={
            "state": Path(),
            "weights": config.space.weights_config,
            "acceleration": config.space.acceleration,
            "pretrained": config.pretrained_at(site),
        }
    )
    path, state = folder / "site.toml", SiteState(folder)
    write_atomically(path, tomli_w.dumps(own.model_dump(mode="json", exclude_none=True)).encode())
    if site.policy is None:
        write_atomically(folder / POLICY_FILE, terms.policy_of(site).encode())
    for dataset in site.dataset:
        if site.mode(dataset) in (TrustMode.PRIVATE, TrustMode.POOLED):
            approve(state, dataset.private_card())
    return path


def _write_hub(config: FederationConfig, folder: Path, keys: Mapping[str, str]) -> Path:
    consortium, space = config.consortium, config.space
    hub = HubConfig(
        consortium=consortium.name,
        catalogue=Path(CATALOGUE_FILE),
        space=Path(SPACE_FILE),
        key=Path(os.path.relpath(consortium.output / HUB_KEY_FILE, folder)),
        distance=config.distance,
        timeout_s=consortium.timeout_s,
        shared_images=consortium.shared_images,
        samples=space.samples,
        tolerance=space.tolerance,
        ceiling=space.ceiling,
        replacement=space.replacement,
        seed=space.seed,
        cohort=tuple(cohort.at_hub for cohort in config.cohort),
        site=tuple(EnrolledSite(name=name, public_key=key) for name, key in keys.items()),
    )
    path = folder / "hub.toml"
    write_atomically(path, tomli_w.dumps(hub.model_dump(mode="json", exclude_none=True)).encode())
    return path


def problems_of(prepared: Prepared, job_id: str) -> Iterator[SiteProblem]:
    """Yield what the sites of a run wrote into their own logs about it."""
    for path in prepared.site_files:
        for event in SiteState(path.parent).events():
            if event.get("job") == job_id and event["event"] in _COMPLAINTS and "text" in event:
                yield SiteProblem(
                    path.parent.name, event.get("task", ""), event.get("image", ""), event["text"]
                )
