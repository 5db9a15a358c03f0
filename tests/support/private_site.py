"""A small site that releases with noise: real files and a real ledger, but colours in place of a network."""

import csv
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from factories import FAR_FUTURE, make_job
from PIL import Image

from federation.fingerprint import Fingerprint
from federation.messages import FingerprintRequest
from federation.sampling import SamplingPlan
from federation.sketches import CdfSketch
from federation.space import ExtractorIdentity, Space, Transform, equal_width_edges
from site_agent import jobs
from site_agent.approval import approve
from site_agent.jobs import Site, fingerprint_tasks
from site_agent.ledger import Ledger
from site_agent.ledger.chain import read_chain
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger

KEY = "ab" * 32
DAY = 86_400
MIXING = np.random.default_rng(0).normal(0, 2, (3, 6))
EDGES = equal_width_edges(np.full(6, -2.0), np.full(6, 4.0), 8)
CDF = CdfSketch.parameters(np.random.default_rng(1).uniform(0, 1, (99, 3)) @ MIXING, EDGES)


def colour_space(name="colours", preprocessing="deterministic", kinds=None):
    transform = Transform(8, preprocessing, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    extractor = ExtractorIdentity("timm", name, "00" * 32, transform, 6)
    sketches = {"cdf": CDF, "histogram": {}} if kinds is None else kinds
    return Space(name, extractor, EDGES, "equal-width", "-", sketches)


SPACE = colour_space()
BUDGET = {"eps": 8.0, "delta": 1e-6, "period_days": 365}
TERMS = {
    "modes": ["private"],
    "population": "patients",
    "eps": 6.0,
    "release_eps": 1.0,
    "images_per_patient": 2,
    "minimum_patients": 5,
    "spaces": "any",
    "sketches": ["cdf", "histogram"],
    "refresh": "never",
}


class Colours:
    """Six features, each a mixture of the colours of an image."""

    batch_size, portion, arithmetic, ignores_position = 4, 3, "exact", True

    def __call__(self, images):
        colours = np.asarray(images[:, :, 0, 0].numpy(), float)
        return np.einsum("nc,cf->nf", colours / 255, MIXING).astype(np.float32)


@dataclass(frozen=True)
class PrivateSite:
    """A folder with site file, policy, images and state."""

    folder: Path
    terms: dict = field(default_factory=dict)
    cohorts: dict = field(default_factory=dict)

    @property
    def state(self):
        return self.folder / "state"

    def copy_to(self, folder):
        """A copy with the same files, times included."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

    def admit(self, patients, images=2, prefix=""):
        """Add images of patients to the table."""
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        with (self.folder / "labels.csv").open("a", newline="") as file:
            if file.tell() == 0:
                csv.writer(file).writerow(["path", "label", "patient"])
            for patient in patients:
                for number in range(images):
                    name = f"{prefix}{patient}-{number}.png"
                    random = np.random.default_rng(abs(hash_of(name)))
                    colour = random.integers(0, 256, 3, dtype=np.uint8)
                    Image.fromarray(np.full((8, 8, 3), colour)).save(self.folder / "images" / name)
                    csv.writer(file).writerow([name, ("ill", "well")[number % 2], f"patient-{patient}"])

    def set_policy(self, budget=None, **terms):
        """Write the policy with other terms than before; every request for what may be replaced is due."""
        self.terms.update(terms)
        if self.terms.get("refresh") in ("new-patients", "whole"):
            self.terms.setdefault("refresh_days", 0)
        else:
            self.terms.pop("refresh_days", None)
        tables = {
            "schema": 1,
            "aggregator": {"public_keys": [KEY]},
            "population": {"patients": BUDGET | (budget or {})},
            "cohort": self.cohorts,
            "task": {"lungs": {key: value for key, value in self.terms.items() if value is not None}},
        }
        (self.folder / "policy.toml").write_text(tomli_w.dumps(tables))

    def pool(self, members=None, **terms):
        """Let the task be pooled with two other sites, or with others; nothing else may leave."""
        own = {"anna": self.open().identity.public_key}
        others = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("bern", "cork")}
        self.cohorts["chests"] = {"members": own | others if members is None else members}
        file = self.folder / "site.toml"
        file.write_text(file.read_text().replace('trust = "private"', 'trust = "pooled"'))
        self.set_policy(**({"modes": ["pooled"], "cohort": "chests", "refresh": None} | terms))

    def open(self):
        return Site.open(self.folder / "site.toml")

    def approve(self):
        site = self.open()
        approve(site.state, site.config.dataset[0].private_card())

    def ask(self, job="job-1", *, space=SPACE, aggregator=KEY, deadline=FAR_FUTURE):
        """The result of one request."""
        header = make_job(job, deadline=deadline, aggregator=aggregator)
        reply = fingerprint_tasks(self.open(), FingerprintRequest(header, space, SamplingPlan(None)))
        return reply.results[0] if reply.results else reply

    def release(self, job="job-1", **request):
        """The bytes of a release that must succeed."""
        result = self.ask(job, **request)
        assert result.code == "done", self.complaint()
        return result.fingerprint

    def release_days_ago(self, days, job="job-0"):
        """A release by a clock that was so many days behind today's."""
        began = time.time() - days * DAY
        ledger = Ledger.open(self.state, self.open().identity, lambda: began)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jobs, "_ledger", lambda *_: ledger)
            return self.release(job)

    def refusal(self, job="job-1", **request):
        """Code that leaves, and text that stays, of a request that must be refused."""
        before = len(self.events())
        result = self.ask(job, **request)
        assert not getattr(result, "fingerprint", b"")
        (event,) = [e for e in self.events()[before:] if e["event"] in ("failed", "refused")]
        return result.code, event["text"]

    def complaint(self):
        return [event.get("text") for event in self.events()][-1:]

    def events(self):
        return self.open().state.events()

    def charges(self):
        """What the ledger says was charged, read anew."""
        files, key = LedgerFiles(self.state), self.open().identity.public_key
        return [entry.charge for entry in read_chain(files, key).entries if entry.charge]

    def findings(self):
        return verify_ledger(LedgerFiles(self.state), self.open().identity.public_key).findings

    def forget_the_open_ledger(self):
        """Begin as a new process does."""
        jobs._ledger.cache_clear()


def hash_of(name):
    return int.from_bytes(name.encode(), "big") % 2**31


def charged_id(encoded):
    """The release that a fingerprint was charged as."""
    fingerprint = Fingerprint.from_bytes(encoded)
    statement = replace(fingerprint.privacy, ledger_seq=None, ledger_hash="")
    return replace(fingerprint, privacy=statement).fingerprint_id


def write_private_site(folder, patients=range(8), **terms):
    """Write a site whose card is approved."""
    site = PrivateSite(folder, dict(TERMS))
    site.admit(patients)
    text = (
        'name = "anna"\ntrust = "private"\n[[dataset]]\nformat = "csv"\ntask = "lungs"\n'
        f'table = "labels.csv"\nimages = "images"\ntitle = {json.dumps("Lungs")}\n'
    )
    (folder / "site.toml").write_text(text)
    site.set_policy(**terms)
    site.approve()
    return site


def assert_settled(site, already_charged, asked):
    """Whatever happened before, what leaves was charged, once, and all records agree."""
    site.forget_the_open_ledger()
    charged_by_the_dead = site.charges()[already_charged:]
    answers = [site.release(job) for job in asked]
    charges = site.charges()[already_charged:]
    assert len(set(answers)) == 1
    assert len(charges) == 1
    assert charged_by_the_dead in ([], charges)
    assert charged_id(answers[0]) == charges[0].release_id
    assert charges[0].rho > 0
    released = [e for e in site.events() if e["event"] == "released" and e["job"] == charges[0].job_id]
    assert {e["fingerprint"] for e in released} == {Fingerprint.from_bytes(answers[0]).fingerprint_id}
    assert not list(site.state.glob("pending/*/*.safetensors"))
    assert all(site.open().state.release(job, "lungs") == answers[0] for job in (*asked, charges[0].job_id))
    assert site.findings() == ()


def run_in_child(work):
    """Run something in a process of its own and return how that ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            # Nothing of the test run may go on in the child.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
