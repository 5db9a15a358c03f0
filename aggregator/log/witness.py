"""The round of witnesses after a job: sites verify and co-sign the log. It never fails the job."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.serverapp import Grid

from aggregator.log import heads
from aggregator.log.updates import updates
from aggregator.members import MemberFiles
from aggregator.rounds.round import Asking, RoundResult, ask_sites
from aggregator.store import Catalogue
from federation.errors import FedprintError
from federation.identity import Identity
from federation.log.kinds import WITNESS_REFUSED
from federation.log.messages import BEHIND, QUERY_WITNESS, WitnessReply, WitnessRequest
from federation.log.tree_head import CoSignedHead, SignedHead, log_id
from federation.messages import DONE

log = logging.getLogger("fedprint.hub")

WITNESS_S = 60.0
"""Seconds that sites have to verify; they answered a moment ago."""

_Replies = RoundResult[WitnessReply]


@dataclass(frozen=True)
class Witnessing:
    """Who asks whom to witness what.

    Args:
        grid: Flower's grid.
        aggregator: Whose log it is.
        job_id: Id of the job that ended.
        roster: Site → public key.
        catalogue: Where the log is.
        members: Folder of memberships; None where there is none.
        timeout_s: Seconds that sites have.
    """

    grid: Grid
    aggregator: Identity
    job_id: str
    roster: Mapping[str, str]
    catalogue: Catalogue
    members: Path | None = None
    timeout_s: float = WITNESS_S

    def ask(self, nodes: Mapping[str, int]) -> None:
        """Ask sites to co-sign the log as it is now; whatever goes wrong is told in the hub's own log.

        Args:
            nodes: Site → the node that answered for it in the job.
        """
        known = {site: node for site, node in nodes.items() if site in self.roster}
        try:
            if known:
                self._ask(known)
        except FedprintError as error:
            log.warning("the log was not witnessed: %s", error)
        except Exception:
            log.exception("the log was not witnessed")

    def _ask(self, nodes: Mapping[str, int]) -> None:
        last = heads.last_of_each(self.catalogue.read(heads.cosigned_heads), self._log_id)
        since = {site: last[site].signed.size if site in last else 0 for site in nodes}
        signed, found = self._show(since, nodes, last)
        behind = {site: reply.size for site, reply in found.replies.items() if reply.code == BEHIND}
        self._keep(signed, found, without=behind)
        if behind:  # a reply was lost, another job ended meanwhile, or a site lost its copy
            signed, found = self._show(behind, {site: nodes[site] for site in behind}, last)
            self._keep(signed, found)

    def _show(
        self, since: Mapping[str, int], nodes: Mapping[str, int], last: Mapping[str, CoSignedHead]
    ) -> tuple[SignedHead, _Replies]:
        with self.catalogue.transaction() as connection:
            signed = heads.sign_head(connection, self.aggregator)
            # Who keeps a larger head than there is finds out from the head alone.
            fitting = {site: size if size <= signed.size else 0 for site, size in since.items()}
            told = updates(connection, signed, fitting, last)
        asking = Asking(self.grid, self.aggregator, self.job_id, QUERY_WITNESS, self.roster)
        found = ask_sites(
            asking,
            lambda job, site: WitnessRequest(job, told[site].to_bytes(), self._membership(site)),
            lambda record, job: WitnessReply.from_record(record, self.roster, job),
            deadline=time.time() + self.timeout_s,
            nodes=nodes,
        )
        return signed, found

    def _keep(self, signed: SignedHead, found: _Replies, without: Mapping[str, int] | None = None) -> None:
        """Keep the heads that were co-signed, and tell who refused."""
        refused = {}
        for site, reply in found.replies.items():
            if reply.code == DONE:
                self._keep_head(CoSignedHead(signed, site, self.roster[site], reply.signature))
            elif site not in (without or ()):
                refused[site] = reply
        for site, code in found.missing.items():
            log.warning("site %s did not witness the log: %s", site, code)
        for site, reply in refused.items():
            self._tell_refused(signed, site, reply)

    def _keep_head(self, head: CoSignedHead) -> None:
        try:
            head.verify()
        except FedprintError as error:
            log.warning("%s", error)
            return
        with self.catalogue.transaction() as connection:
            heads.keep_witness(connection, head)

    def _tell_refused(self, signed: SignedHead, site: str, reply: WitnessReply) -> None:
        log.error(
            "site %s refuses to witness the log of size %d: %s; it keeps one of size %d. If this hub was "
            "restored from an older backup, stop it and restore a newer one (docs/log.md)",
            site, signed.size, reply.code, reply.size,
        )  # fmt: skip
        with self.catalogue.writing() as writer:
            writer.add_event(WITNESS_REFUSED, self.job_id, site=site, code=reply.code, size=signed.size)

    def _membership(self, site: str) -> bytes:
        """Return the site's membership as it is on the disk, empty where there is none."""
        if self.members is None:
            return b""
        path = MemberFiles(self.members).membership(site)
        return path.read_bytes() if path.exists() else b""

    @property
    def _log_id(self) -> str:
        return log_id(self.aggregator.public_key)
