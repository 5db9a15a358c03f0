"""How a site witnesses the log: verify against everything that is kept, keep, co-sign."""

import logging
import time

from federation.errors import DeadlineError, FedprintError, LogContradictionError, LogError
from federation.log.messages import BEHIND, OMISSION, WitnessReply, WitnessRequest
from federation.log.tree_head import CoSignedHead, SignedHead
from federation.log.update import RESTORED, LogUpdate
from federation.messages import DONE
from site_agent.deployed_site import DeployedSite
from site_agent.hub_log.copy import LogCopy
from site_agent.hub_log.releases import Release, releases_of
from site_agent.jobs import Site
from site_agent.membership import accept
from site_agent.policy import Policy

log = logging.getLogger("fedprint.site")

WITNESSED, CONTRADICTION, NOT_TOLD, REFUSED = (
    "log-witnessed", "log-contradiction", "log-omission", "log-refused",
)  # fmt: skip
"""What the site's own log calls a head that it co-signed, and why it did not."""


def answer_witness(site: Site, request: WitnessRequest) -> WitnessReply:
    """Verify what the aggregator says of its log and co-sign its head; whatever goes wrong becomes a code."""
    job, copy = request.job, LogCopy.of(site.config, request.job.aggregator)
    signature, code = b"", DONE
    try:
        signature, code = _witnessed(site, request, copy)
    except FedprintError as error:
        code = error.code
        event = CONTRADICTION if isinstance(error, LogContradictionError) else REFUSED
        log.error("%s: %s", event, error)
        site.state.record(event, job=job.job_id, code=code, text=str(error))
    return WitnessReply(site.config.name, job.job_id, job.nonce, code, copy.size, signature)


def _witnessed(site: Site, request: WitnessRequest, copy: LogCopy) -> tuple[bytes, str]:
    """Return the signature and ``"done"``, or nothing and the code of what the aggregator has to mend."""
    _require_asker(site, request)
    update = LogUpdate.from_bytes(request.update)
    if update.signed.key != request.job.aggregator:
        raise LogError("the log is another aggregator's")
    with copy.alone():
        copy.require_undisputed()
        last = copy.last()
        if last is not None:
            last.require_unchanged(site.identity)
        try:
            leads_on = verify_next(update, last.signed if last else None)
        except LogContradictionError as error:
            copy.dispute(error.problem, request.job.job_id, update)
            raise
        if not leads_on:
            return b"", BEHIND
        untold = _untold(site, request, update, copy)
        if untold:
            _tell_untold(site, request, untold)
            return b"", OMISSION
        signature = _keep(site, request, update, copy)
    _keep_membership(site, request)
    return signature, DONE


def verify_next(update: LogUpdate, known: SignedHead | None) -> bool:
    """Return whether an update leads on from the last head that is kept; False: it begins elsewhere.

    Args:
        update: What the aggregator says.
        known: The last head that is kept; None: none is.

    Raises:
        LogContradictionError: If what it signed contradicts what it signed before.
        SignatureError: If it did not sign the head.
    """
    signed = update.signed
    signed.verify()
    if known is not None and signed.size <= known.size:
        return _is_known(update, known)
    if update.since != (known.size if known else 0):
        return False
    update.verify(known)
    return True


def _is_known(update: LogUpdate, known: SignedHead) -> bool:
    """Judge a head that is no larger than the last one: the same, an older one that comes late, or a lie."""
    signed = update.signed
    if signed.size == known.size:
        if signed.root != known.root:
            raise LogContradictionError(
                f"the aggregator signed two different logs of size {signed.size}", remedy=RESTORED
            )
        for other in update.others:
            update.verify_other(other)
        return True
    if signed.head.timestamp > known.head.timestamp:
        raise LogContradictionError(
            f"the log has {signed.size} entries; it had {known.size} before: entries were removed",
            remedy=RESTORED,
        )
    return False


def _require_asker(site: Site, request: WitnessRequest) -> None:
    Policy.read(site.config.policy_path).check_aggregator(request.job.aggregator)
    if time.time() > request.job.deadline:
        raise DeadlineError(f"job {request.job.job_id}: the log came after its deadline")


def _untold(site: Site, request: WitnessRequest, update: LogUpdate, copy: LogCopy) -> list[Release]:
    """Return what left in the job and is neither accepted nor named as missing."""
    left = [each for each in releases_of(site.state.events()) if each.job_id == request.job.job_id]
    told = [logged.entry for logged in update.entries]
    untold = [each for each in left if not each.is_in(told, site.config.name)]
    if untold:  # the job may have been told before
        told = [logged.entry for kept in copy.updates() for logged in kept.update.entries]
        untold = [each for each in untold if not each.is_in(told, site.config.name)]
    return untold


def _tell_untold(site: Site, request: WitnessRequest, untold: list[Release]) -> None:
    text = "; ".join(map(str, untold)) + " left this site, and the log does not say what became of it"
    log.error("%s: %s", NOT_TOLD, text)
    site.state.record(NOT_TOLD, job=request.job.job_id, code=OMISSION, text=text)


def _keep(site: Site, request: WitnessRequest, update: LogUpdate, copy: LogCopy) -> bytes:
    """Return the site's signature of the head, once it is kept."""
    if update.signed.size == copy.size:
        return CoSignedHead.by(site.identity, update.signed).signature
    kept = copy.keep(update, request.job.job_id, site.identity)
    told = {"size": kept.signed.size, "root": kept.signed.root.hex(), "entries": len(update.entries)}
    site.state.record(WITNESSED, job=request.job.job_id, **told)
    return kept.signature


def _keep_membership(site: Site, request: WitnessRequest) -> None:
    """Keep the site's membership; what is wrong with it is told in the site's log and hinders nothing."""
    if not request.membership or site.config.hub is None:
        return
    try:
        accept(DeployedSite.open(site.config.policy_path.parent), request.membership, time.time())
    except (FedprintError, OSError) as error:
        site.state.record(REFUSED, job=request.job.job_id, code="membership", text=str(error))
