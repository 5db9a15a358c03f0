"""Real small sites that pool a task, and an aggregator that asks them step by step, as often as it likes."""

import time
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

from factories import FAR_FUTURE, make_job
from private_site import KEY, SPACE, PrivateSite, colour_space, write_private_site

from federation.canonical import canonical_json
from federation.messages import DONE
from federation.pooled import PooledRelease
from federation.privacy.accounting import rho_for
from federation.round_messages import (
    ADVERTISE,
    CONFIRM,
    MASK,
    SHARE,
    STEPS,
    UNMASK,
    AdvertiseRequest,
    StepRequest,
)
from federation.secagg import graph, server
from federation.secagg.terms import Terms, honest_shares
from site_agent.rounds.participation import answer_round

NAMES = ("anna", "bern", "cork", "dorn")
COHORT, TASK, DELTA, EPS = "chests", "lungs", 1e-6, 1.0
ROUND = "0123456789abcdef" * 2
TOMORROW = time.time() + 86_400.0
EXACT = {
    "exact_sum_because": "the cohort has agreed to it",
    "spaces": [space.space_id for space in (SPACE, colour_space("the same but for its name"))],
    **dict.fromkeys(
        ("population", "eps", "release_eps", "images_per_patient", "minimum_patients", "sketches", "refresh")
    ),
}
"""Terms of a policy that lets sums leave without noise."""


@dataclass(frozen=True)
class PooledSites:
    """The sites of a cohort.

    Args:
        sites: Name → site.
    """

    sites: dict[str, PrivateSite]

    @property
    def members(self):
        return {name: site.open().identity.public_key for name, site in self.sites.items()}

    def pool(self, **terms):
        """Name the cohort in the policy of every site."""
        members = self.members
        for site in self.sites.values():
            site.pool(members, **terms)

    def release(self, *, eps=EPS, exact=False, space=SPACE, **changes):
        """What a round sums."""
        n = len(self.sites)
        honest = honest_shares(graph.minimum(n), graph.most_colluders(n))
        rho = None if exact else rho_for(eps, DELTA)
        return replace(PooledRelease.from_budget(space, TASK, rho, DELTA, 2, honest, 1000), **changes)

    def terms(self, round_id=ROUND, *, release=None, space=SPACE, expires=TOMORROW, **changes):
        """What a round is about."""
        release = release or self.release()
        n = len(self.sites)
        terms = Terms.for_cohort(
            round_id,
            COHORT,
            self.members,
            release.to_json(),
            length=release.length(space),
            bound=release.bound(space, n),
            expires=expires,
        )
        return replace(terms, **changes)

    def ask(self, name, request):
        """The reply of one site."""
        return answer_round(self.sites[name].open(), request)

    def begin(self, round_id=ROUND, **terms):
        """A round that nobody was asked about."""
        space = terms.get("space", SPACE)
        return PooledRound(self, self.terms(round_id, **terms), space)

    def copy_to(self, folder):
        """The same sites, elsewhere."""
        copies = {name: site.copy_to(folder / name) for name, site in self.sites.items()}
        return PooledSites(
            {n: replace(s, terms=dict(s.terms), cohorts=deepcopy(s.cohorts)) for n, s in copies.items()}
        )


@dataclass
class PooledRound:
    """An aggregator in the middle of a round.

    Args:
        cohort: The sites.
        terms: What the round is about.
        space: The space of the sketches.
        missing: Step → sites that are not asked in it.
        states: Step → the aggregator's state while it asks.
        replies: Step → site → its reply.
    """

    cohort: PooledSites
    terms: Terms
    space: object = SPACE
    missing: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    replies: dict = field(default_factory=dict)

    def request(self, step, name, *, job="job-1", nonce="0f" * 16, aggregator=KEY, deadline=FAR_FUTURE):
        """What a site is asked in a step whose turn it is or was."""
        header = make_job(job, nonce, deadline=deadline, aggregator=aggregator)
        if step == ADVERTISE:
            return AdvertiseRequest(header, self.terms, self.space)
        state = self.states[step]
        question = {
            SHARE: lambda: state.directory,
            MASK: lambda: state.delivery(name),
            CONFIRM: lambda: state.survivors,
            UNMASK: lambda: state.confirmations,
        }[step]()
        return StepRequest(header, self.terms.round_id, self.terms.digest.hex(), step, question)

    def ask(self, step, name, **request):
        """The reply of one site to a step whose turn it is or was."""
        return self.cohort.ask(name, self.request(step, name, **request))

    def prepare(self, step):
        """Ask everything before a step."""
        for earlier in STEPS[: STEPS.index(step)]:
            if earlier not in self.replies:
                self.close(earlier)
        return self

    def close(self, step):
        """Ask everybody for a step whose turn it is, and return what the aggregator makes of it."""
        if step == ADVERTISE:
            self.states[step] = server.Advertising(self.terms)
        state = self.states[step]
        asked = self.terms.members if step == ADVERTISE else state.sites
        present = [name for name in sorted(asked) if name not in self.missing.get(step, ())]
        replies = self.replies[step] = {name: self.ask(step, name) for name in present}
        messages = {name: reply.message for name, reply in replies.items() if reply.message is not None}
        for name, message in messages.items():
            state.check(name, message)
        after = state.close(messages)
        if step != UNMASK:
            self.states[STEPS[STEPS.index(step) + 1]] = after
        return after

    def open(self):
        """Ask everything, and return the opened sum."""
        return self.prepare(UNMASK).close(UNMASK)


def said(reply):
    """All that a reply says, but for the job it answers."""
    assert reply.code == DONE
    return canonical_json(dict(reply.message.body())), dict(reply.message.blobs())


def refusal(cohort, reply, name="anna"):
    """Code that leaves and text that stays."""
    assert reply.message is None
    return reply.code, cohort.sites[name].events()[-1]["text"]


def write_pooled_sites(folder: Path, names=NAMES, **terms) -> PooledSites:
    """Write the sites of a cohort, each with other patients."""
    cohort = PooledSites({})
    for number, name in enumerate(names):
        site = write_private_site(folder / name, range(100 * number, 100 * number + 8))
        file = site.folder / "site.toml"
        file.write_text(file.read_text().replace('name = "anna"', f'name = "{name}"'))
        cohort.sites[name] = site
    cohort.pool(**terms)
    return cohort
