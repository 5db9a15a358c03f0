"""Federated averaging of which only the sum is seen: updates of at least three sites, summed under masks."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from flwr.serverapp import Grid

from aggregator.rounds.round_store import KeptRound, RoundStore
from aggregator.rounds.secure_sum import SumResult, secure_sum
from federation.errors import ModelError, RosterError, TransferError, VectorError
from federation.identity import Identity
from federation.secagg.terms import Terms
from federation.transfer.masked_update import (
    PURPOSE,
    MaskedUpdate,
    length_of,
    training_digest,
    weights_digest,
)
from federation.transfer.model import Weights
from federation.transfer.step import CotrainStep

LEFT_OUT = "left-out"
"""Why a site is in no sum of a cohort that was missing in an earlier one."""

_SPARE_S = 3600.0  # in which an aggregator that was interrupted can go on


@dataclass(frozen=True)
class MaskedAverage:
    """A backbone that several sites trained, seen by nobody but as their average.

    Args:
        weights: Name → array.
        contributors: The sites, each with the same weight.
        left_out: Site that trained the round and is not in the average → code of why.
    """

    weights: Weights = field(repr=False)
    contributors: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def tell_nobody(kept: KeptRound) -> None:
    """Let the end of a round be known to its own files alone."""
    del kept


@dataclass(frozen=True)
class Masking:
    """How updates are summed.

    Args:
        cohort: Name of the cohort that the sites' policies let sum them; its members are the group's sites.
        store: The aggregator's rounds.
        job_id: Id of the job.
        trained: The sites that trained the round; None: all of the group.
        timeout_s: Seconds for the first step of a sum, in which every node is asked.
        step_timeout_s: Seconds for each later one.
        tell: Told of every round that was opened, before its sum is made use of.
    """

    cohort: str
    store: RoundStore
    job_id: str
    trained: Collection[str] | None = None
    timeout_s: float = 120.0
    step_timeout_s: float = 120.0
    tell: Callable[[KeptRound], None] = tell_nobody


def masked_average(
    grid: Grid,
    aggregator: Identity,
    roster: Mapping[str, str],
    step: CotrainStep,
    start: Weights,
    masking: Masking,
) -> MaskedAverage:
    """Return the average of what the sites of a group trained in a round; every site weighs the same.

    Whoever does not take part is left out, as long as enough are left for a sum that hides each of them.
    Sites confirm one and the same list of survivors in every sum of a task, or differences of sums would be
    single updates: a site that is missing once has to be left out from then on.

    Args:
        grid: Flower's grid.
        aggregator: Who asks.
        roster: Site → public key of every enrolled site.
        step: One of the steps of the round that was trained.
        start: The backbone at which the round began: in the first one ``agreed_start``, else the average.
        masking: How updates are summed.

    Raises:
        CohortTooSmallError: If too few sites are left.
        RosterError: If the roster does not know a site of the group.
        RoundError: If the sum cannot be opened.
        VectorError: If the sum is none of honest updates.
    """
    update = MaskedUpdate(step.group, step.round, weights_digest(start), training_digest(step))
    among = _still_wanted(step, masking)
    found = secure_sum(
        grid,
        aggregator,
        roster,
        _terms(update, roster, step, start, masking),
        None,
        masking.store,
        job_id=masking.job_id,
        timeout_s=masking.timeout_s,
        step_timeout_s=masking.step_timeout_s,
        among=among,
    )
    masking.tell(found.kept)
    try:
        weights = update.average(found.total, len(found.contributors), start)
    except VectorError as error:
        found.kept.abandon(error.code, error.problem)
        raise
    found.kept.finish(weights_digest(weights))
    return MaskedAverage(weights, found.contributors, _left_out(step, found, masking))


def agreed_start(starts: Mapping[str, Weights]) -> Weights:
    """Return the backbone at which a group begins, which its sites send after the first round.

    A backbone that nothing was trained in says nothing about anybody's images.

    Args:
        starts: Who → the backbone that the first round began at.

    Raises:
        TransferError: If not all are the same.
        ModelError: If there is none.
    """
    if not starts:
        raise ModelError("no site told at which backbone the common training began")
    digests = {who: weights_digest(weights) for who, weights in starts.items()}
    (common, _), *_ = Counter(digests.values()).most_common(1)
    others = sorted(who for who, digest in digests.items() if digest != common)
    if others:
        raise TransferError(
            f"{', '.join(others)} began at another backbone than the other sites",
            remedy="let all sites use the same versions of the libraries and the same published weights",
        )
    return starts[min(starts)]


def _trained(step: CotrainStep, masking: Masking) -> frozenset[str]:
    return frozenset(step.partners if masking.trained is None else masking.trained)


def _still_wanted(step: CotrainStep, masking: Masking) -> frozenset[str]:
    """Return who trained the round and was in the cohort's sums so far: sites confirm nobody else again."""
    for kept in reversed(masking.store.rounds()):
        terms, transcript = kept.terms, kept.transcript()
        of_cohort = terms.cohort == masking.cohort and set(terms.members) == set(step.partners)
        if of_cohort and terms.purpose.get("purpose") == PURPOSE and transcript is not None:
            return _trained(step, masking) & set(transcript.survivors.alive)
    return _trained(step, masking)


def _left_out(step: CotrainStep, found: SumResult, masking: Masking) -> dict[str, str]:
    why = {site: code for departed in found.departures.values() for site, code in departed.items()}
    others = _trained(step, masking) - set(found.contributors)
    return {site: why.get(site, LEFT_OUT) for site in sorted(others)}


def _terms(
    update: MaskedUpdate, roster: Mapping[str, str], step: CotrainStep, start: Weights, masking: Masking
) -> Terms:
    strangers = sorted(set(step.partners) - set(roster))
    if strangers:
        raise RosterError(f"the roster does not know site {strangers[0]}", remedy="enrol it first")
    longest = masking.timeout_s + 4 * masking.step_timeout_s + _SPARE_S
    return Terms.for_cohort(
        secrets.token_hex(16),
        masking.cohort,
        {site: roster[site] for site in step.partners},
        update.to_json(),
        length=length_of(start),
        bound=update.fixed_point.bound,
        expires=float(round(time.time() + longest)),
    )
