"""A cohort in memory: both sides of a round of secure aggregation, with drop-outs wherever wanted."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from randomness import stream

from federation.identity import Identity
from federation.secagg import client, server
from federation.secagg.terms import Terms

NOBODY: Mapping[str, Collection[str]] = {}


def identity(site: str) -> Identity:
    """Return the identity of a site, always the same."""
    seed = hashlib.sha256(site.encode()).digest()
    return Identity(site, Ed25519PrivateKey.from_private_bytes(seed))


def names(n: int) -> list[str]:
    """Return the names of n sites, sorted."""
    return [f"site-{i:04d}" for i in range(n)]


def terms_of(
    sites: Collection[str], *, length: int = 3, bound: int = 1000, round_id: str = "0" * 32
) -> Terms:
    """Return the terms of a round of some sites."""
    members = {site: identity(site).public_key for site in sites}
    purpose = {"purpose": "test"}
    return Terms.for_cohort(
        round_id, "cohort", members, purpose, length=length, bound=bound, expires=2_000_000_000.0
    )


@dataclass
class Cohort:
    """Sites and aggregator of one round, and everything that was said.

    Args:
        terms: What the round is about.
        values: Site → its vector.
        missing: Step → sites that do not answer in it, nor later.
        states: Site → its state.
        history: Site → every state it was in.
        answers: Step → site → what it said.
        servers: Step → the aggregator's state while it was asking.
    """

    terms: Terms
    values: Mapping[str, np.ndarray]
    missing: Mapping[str, Collection[str]] = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    servers: dict = field(default_factory=dict)

    def advertise(self):
        """Every site advertises its keys."""

        def begin(site):
            seed = int.from_bytes(hashlib.sha256(site.encode()).digest()[:4], "big")
            return client.advertise(self.terms, site, identity(site), stream(seed))

        state = server.Advertising(self.terms)
        return self._step("advertise", state, tuple(self.terms.members), begin)

    def share(self):
        """Every site shares its secrets."""
        state = self.advertise()
        return self._step("share", state, state.sites, lambda s: self.states[s].share(state.directory))

    def mask(self):
        """Every site sends its masked vector."""
        state = self.share()

        def mask(site):
            return self.states[site].mask(state.delivery(site), self.values[site])

        return self._step("mask", state, state.sites, mask)

    def confirm(self):
        """Every site confirms the survivors."""
        state = self.mask()

        def confirm(site):
            return self.states[site].confirm(state.survivors, identity(site))

        return self._step("confirm", state, state.sites, confirm)

    def unmask(self) -> server.Opened:
        """Every site reveals its shares."""
        state = self.confirm()

        def unmask(site):
            return None, self.states[site].unmask(state.confirmations)

        return self._step("unmask", state, state.sites, unmask)

    def _step(self, step, state, sites, ask):
        self.servers[step] = state
        replies = {}
        for site in sites:
            if site not in self.missing.get(step, ()):
                self.states[site], replies[site] = ask(site)
                self.history.setdefault(site, []).append(self.states[site])
                state.check(site, replies[site])
        self.answers[step] = replies
        return state.close(replies)


def small_cohort(n: int = 4, *, length: int = 3, missing: Mapping[str, Collection[str]] = NOBODY) -> Cohort:
    """Return a cohort whose site k adds the numbers k, k + 1, …"""
    sites = names(n)
    values = {site: np.arange(i, i + length, dtype=np.int64) for i, site in enumerate(sites)}
    return Cohort(terms_of(sites, length=length), values, missing)
