"""Whether keys, policy, membership and app bundle of a site are in order."""

import stat
from collections.abc import Iterator
from pathlib import Path

from federation.app_bundle import bundle_hash
from federation.errors import FedprintError
from federation.expiry import expiry_of
from federation.files import read_file
from federation.invitation import Invitation
from federation.node_key import public_text, read_node_key
from federation.space import Space
from federation.trust import TrustMode
from site_agent.bundles import Bundles
from site_agent.config import SiteConfig
from site_agent.deployed_site import DeployedSite
from site_agent.deployment_check.finding import Finding, fail, of_expiry, ok, warn
from site_agent.flower.link_status import read_link
from site_agent.hub_log.standing import LogStanding
from site_agent.membership import kept_membership
from site_agent.policy import Policy
from site_agent.state import SiteState

_OTHERS = 0o077


def check_keys(site: DeployedSite) -> Finding:
    """Return whether the keys are there, and private."""
    state = SiteState(site.folder.state)
    private = (state.folder, state.key_path, site.folder.node_key)
    missing = [path for path in private if not path.exists()]
    if missing:
        return fail("keys", f"{missing[0]} is missing", "restore it from backup, or ask to be invited anew")
    open_ones = [path for path in private if _is_open(path)]
    if open_ones:
        return fail(
            "keys",
            f"others on this machine can read {open_ones[0]}",
            f"chmod go= {' '.join(str(path) for path in open_ones)}",
        )
    try:
        read_node_key(read_file(site.folder.node_key, "node key"))
    except FedprintError as error:
        return fail("keys", error.problem, error.remedy)
    return ok("keys", f"only their owner can read them; identity {site.identity.public_key[:16]}…")


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)


def check_policy(site: DeployedSite, path: Path) -> Finding:
    """Return whether the policy answers the hub, in the space of its invitation."""
    try:
        policy = Policy.read(path)
        policy.check_aggregator(site.hub.public_key)
    except FedprintError as error:
        return fail("policy", error.problem, error.remedy)
    if not policy.tasks:
        return warn(
            "policy", "it names no task, so nothing leaves", "name your tasks in policy.toml if some shall"
        )
    try:
        _check_space(site, policy)
    except FedprintError as error:
        return warn("policy", f"in the space of the invitation nothing leaves: {error.problem}", error.remedy)
    return ok("policy", f"it answers {site.hub.consortium} and names {', '.join(sorted(policy.tasks))}")


def _check_space(site: DeployedSite, policy: Policy) -> None:
    """Raise unless all tasks that may leave may do so in the space that the invitation carried."""
    space = Space.from_bytes(read_file(site.folder.space, "space"))
    for name, table in policy.tasks.items():
        if set(table.modes) != {TrustMode.LISTEN}:
            policy.task(name).check_request(space, site.hub.public_key)


def check_membership(site: DeployedSite, now: float) -> Finding:
    """Return whether the operator has let the site in, and until when."""
    try:
        membership = kept_membership(site)
    except FedprintError as error:
        return fail("membership", error.problem, error.remedy)
    if membership is None:
        return fail(
            "membership",
            "the operator has not let this site in yet, or has not sent the file",
            f"send {site.folder.enrolment(site.name)}; when the answer comes: fedprint site accept FILE",
        )
    if membership.identity_key != site.identity.public_key:
        return fail(
            "membership", "it is that of another identity key", "restore state/identity.key from backup"
        )
    if membership.node_key != public_text(read_node_key(read_file(site.folder.node_key, "node key"))):
        return fail(
            "membership", "it is that of another node key", "fedprint site accept the latest membership"
        )
    if now < membership.valid_from:
        return fail("membership", "it begins in the future", "set this machine's clock (NTP)")
    ends = expiry_of("the membership", membership.valid_until, now)
    return of_expiry("membership", ends, "ask the operator: fedprint hub renew")


def check_link(site: DeployedSite, now: float) -> Iterator[Finding]:
    """Yield why a site that is served has no connection to its hub."""
    link = read_link(site.folder.link_status, now)
    if link.is_kept(now) and not link.connected and link.last_error:
        why, _, remedy = link.last_error.partition(" → ")
        yield fail("connection", why, remedy)


def check_bundle(site: DeployedSite) -> Finding:
    """Return whether something that the hub may start is approved."""
    wanted = Invitation.from_bytes(read_file(site.folder.invitation, "invitation")).bundle
    own = bundle_hash()
    approved = {each.digest for each in Bundles(site.folder, SiteState(site.folder.state)).approved()}
    if not approved:
        return fail("app bundle", "none is approved, so nothing runs here", "fedprint site approve")
    if not approved & {own, wanted}:
        return warn("app bundle", "none of the approved ones is of this version", "fedprint site approve")
    if own != wanted:
        return warn(
            "app bundle",
            "the hub's invitation was written by another version of fedprint",
            "ask the operator which version the consortium uses",
        )
    return ok("app bundle", f"{len(approved)} approved")


def check_log(config: SiteConfig) -> Finding:
    """Return whether the hub's log contradicts what the site was shown before."""
    log = LogStanding.of(config)
    if log.contradiction:
        return fail("log", f"the hub is not answered: {log.contradiction}", "fedprint site verify says more")
    return ok(
        "log", f"the hub's, verified up to line {log.size}" if log.size else "the hub has shown none yet"
    )
