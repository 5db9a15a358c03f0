"""Everything that ``fedprint site check`` looks at in a deployment."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from federation.errors import FedprintError
from site_agent.checking import SiteCheck
from site_agent.config import SiteConfig
from site_agent.deployed_site import DeployedSite
from site_agent.deployment_check.connection import Clock, check_connection
from site_agent.deployment_check.finding import Finding, State, fail, ok
from site_agent.deployment_check.machine import check_machine
from site_agent.deployment_check.papers import (
    check_bundle,
    check_keys,
    check_link,
    check_log,
    check_membership,
    check_policy,
)


def check_deployment(
    path: Path, config: SiteConfig, data: SiteCheck, clock: Clock = time.time
) -> list[Finding]:
    """Return every finding about a site of a deployment; none where a site has no hub.

    Args:
        path: The site file.
        config: What it says; its paths are absolute.
        data: What is known of the site's tasks.
        clock: Returns Unix time in seconds.
    """
    if config.hub is None:
        return []
    try:
        site = DeployedSite.open(path.resolve().parent)
    except FedprintError as error:
        return [fail("keys", error.problem, error.remedy)]
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: check_connection(site.hub, clock),
        lambda: check_machine(config),
        lambda: iter([check_keys(site)]),
        lambda: iter([check_policy(site, config.policy_path)]),
        lambda: iter([check_membership(site, clock())]),
        lambda: check_link(site, clock()),
        lambda: iter([check_bundle(site)]),
        lambda: iter([check_log(config)]),
        lambda: _data(data),
    )
    return [finding for part in parts for finding in _safely(part)]


def is_ready(findings: Sequence[Finding]) -> bool:
    """Return whether nothing keeps the site from serving."""
    return all(finding.state is not State.FAIL for finding in findings)


def _safely(part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a part finds; what it cannot read is a finding too."""
    try:
        yield from part()
    except FedprintError as error:
        yield fail("files", error.problem, error.remedy)
    except OSError as error:
        yield fail("files", f"{error.filename} cannot be read: {error.strerror}", "correct its permissions")


def _data(found: SiteCheck) -> Iterator[Finding]:
    yield from (fail("data", problem.text, "") for problem in found.problems)
    for task in found.tasks:
        if task.problems:
            yield from (fail(f"data of {task.task}", problem.text, "") for problem in task.problems)
        else:
            yield ok(f"data of {task.task}", f"found; {task.mode}")
