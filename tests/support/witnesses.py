"""A hub's log and sites that witness it, without anything that computes or is sent."""

import dataclasses
import json
import secrets
from pathlib import Path

import tomli_w
from factories import FAR_FUTURE

from aggregator.log import heads
from aggregator.log.updates import updates
from aggregator.store import Catalogue
from federation.identity import Identity
from federation.log.messages import WitnessRequest
from federation.log.tree_head import CoSignedHead
from federation.messages import DONE, JobHeader
from site_agent.hub_log.copy import LogCopy
from site_agent.hub_log.session import Sitting
from site_agent.hub_log.witness import answer_witness
from site_agent.jobs import Site


class Hub:
    """An aggregator's log, and what it shows to whom."""

    def __init__(self, folder: Path, key: Path | None = None):
        self.identity = Identity.load_or_create("hub", key or folder / "hub.key")
        self.catalogue = Catalogue(folder / "catalogue.sqlite", create=True)
        self.since: dict[str, int] = {}
        self.last: dict[str, CoSignedHead] = {}

    def tell(self, *kinds, site="anna", job="job-1", **detail):
        with self.catalogue.writing() as writer:
            for kind in kinds or ("accepted",):
                writer.add_event(kind, job, **({"task": f"{site}/t", "id": secrets.token_hex(4)} | detail))

    def head(self):
        with self.catalogue.transaction() as connection:
            return heads.sign_head(connection, self.identity)

    def update(self, site, since=None, signed=None):
        signed = signed or self.head()
        start = self.since.get(site, 0) if since is None else since
        return self.catalogue.read(lambda c: updates(c, signed, {site: start}, self.last))[site]

    def request(self, site, update=None, job="job-1", **changes):
        header = JobHeader(job, secrets.token_hex(16), FAR_FUTURE, self.identity.public_key)
        content = (update or self.update(site)).to_bytes()
        return WitnessRequest(dataclasses.replace(header, **changes), content)

    def show(self, site: "Witness", update=None, job="job-1"):
        """Return the site's reply; a head that it co-signed is shown to others from then on."""
        update = update or self.update(site.name)
        reply = answer_witness(site.site, self.request(site.name, update, job))
        if reply.code == DONE:
            key = site.site.identity.public_key
            head = CoSignedHead(update.signed, site.name, key, reply.signature)
            head.verify()
            self.since[site.name], self.last[site.name] = update.signed.size, head
        return reply


class Witness:
    """A site that has a policy, a state folder, and nothing else."""

    def __init__(self, folder: Path, name: str, hub: Hub):
        self.name, self.hub_key = name, hub.identity.public_key
        self.file = folder / name / "site.toml"
        self.file.parent.mkdir(parents=True)
        dataset = {"format": "npz", "task": "t", "file": "none.npz", "modality": "scan"}
        self.file.write_text(tomli_w.dumps({"name": name, "dataset": [dataset]}))
        self.answers(self.hub_key)

    def answers(self, *keys):
        policy = {"schema": 1, "aggregator": {"public_keys": list(keys)}}
        (self.file.parent / "policy.toml").write_text(tomli_w.dumps(policy))

    @property
    def site(self):
        return Site.open(self.file)

    @property
    def copy(self):
        return LogCopy.of(self.site.config, self.hub_key)

    @property
    def sitting(self):
        return Sitting.open(self.file)

    def sitting_of(self, log):
        return Sitting.open(self.file, log)

    def released(self, fingerprint, job="job-1", task="t"):
        self.site.state.record("released", job=job, task=task, mode="open", fingerprint=fingerprint)

    def events(self, name):
        return [event for event in self.site.state.events() if event["event"] == name]

    def edit(self, change):
        """Change the last file of the copy as somebody with access to the disk would."""
        path = sorted(self.copy.folder.glob("0*.json"))[-1]
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
