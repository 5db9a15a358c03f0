"""Why a source is recommended, in words: the strongest parts of its predicted standing."""

from collections.abc import Mapping

import numpy as np

from aggregator.recommender.evidence import Evidence, Indices
from aggregator.recommender.standing import DISTANCE, FACTS, HISTORY, RELATIVES
from aggregator.study import Floats

_N_REASONS = 3
_SIMILAR = 9
_AUDIBLE = 0.02  # parts of a standing that are smaller say nothing


def reasons(
    evidence: Evidence, source: int, target: int, parts: Mapping[str, float], known: Floats, identical: Floats
) -> tuple[str, ...]:
    """Return up to three reasons, strongest first.

    Args:
        evidence: The measurements.
        source: The source.
        target: The target.
        parts: Meaning → its part of the predicted standing.
        known: float64 [n_tasks, n_tasks], standings that may be looked at; NaN elsewhere.
        identical: float64 [n_tasks, n_tasks], how often two sources passed on the same thing.
    """
    words = {
        HISTORY: _history(evidence, source, target, known),
        RELATIVES: _relatives(evidence, source, known, identical, parts[RELATIVES]),
        DISTANCE: _distance(evidence, source, target, parts[DISTANCE]),
        FACTS: _facts(evidence, source),
    }
    order = sorted(parts, key=lambda name: -abs(parts[name]))
    said = [words[name] for name in order if abs(parts[name]) >= _AUDIBLE]
    if not np.isfinite(known[source]).any():
        said.append("not measured as a source yet")
    return tuple(dict.fromkeys(filter(None, said)))[:_N_REASONS]


def _history(evidence: Evidence, source: int, target: int, known: Floats) -> str:
    tried = np.flatnonzero(np.isfinite(known[source]))
    if not len(tried):
        return ""
    nearest = tried[np.argsort(-evidence.resemblance[tried, target], kind="stable")][:_SIMILAR]
    gains = evidence.gain[source, nearest]
    if np.isfinite(gains).all():
        return f"helped {int((gains > 0).sum())} of {len(nearest)} similar targets"
    above = int((known[source, nearest] > 0).sum())
    return f"better than most sources at {above} of {len(nearest)} similar targets"


def _relatives(evidence: Evidence, source: int, known: Floats, identical: Floats, part: float) -> str:
    same = np.flatnonzero((identical[source] > 0) & (np.arange(len(identical)) != source))
    tested = same[np.isfinite(known[same]).any(axis=1)]
    did = "did well" if part > 0 else "did poorly"
    if len(tested):
        first = tested[np.argmax(identical[source, tested])]
        what = {"architecture": "architecture", "augmentation": "policy"}.get(
            evidence.setting.scenario, "model"
        )
        return f"same {what} as {evidence.study.tasks[first]}"
    return f"sources that resemble it {did}"


def _distance(evidence: Evidence, source: int, target: int, part: float) -> str:
    candidates = np.flatnonzero(evidence.allowed[:, target])
    ranks = {
        name: _rank(values[candidates, target], values[source, target])
        for name, values in evidence.study.distances.items()
        if np.isfinite(values[source, target])
    }
    if not ranks:
        return ""
    name = min(ranks, key=ranks.__getitem__) if part > 0 else max(ranks, key=ranks.__getitem__)
    usual = ranks.get(evidence.nearest_by)
    if usual is not None and (usual <= len(candidates) / 2) == (part > 0):
        name = evidence.nearest_by
    if ranks[name] == 1:
        return f"nearest of {len(candidates)} by {name}"
    return f"{'near' if part > 0 else 'far'} by {name}, rank {ranks[name]} of {len(candidates)}"


def _facts(evidence: Evidence, source: int) -> str:
    n_images = evidence.study.facts[evidence.study.tasks[source]].num_samples
    if not np.isfinite(n_images):
        return ""
    size = "more" if evidence.traits[source, 0] > 0 else "fewer"
    return f"{size} images than most sources ({int(n_images):,})"


def _rank(values: Floats, own: float) -> int:
    """Ties share their last rank: nobody is nearest where all are equally near."""
    return int((values[np.isfinite(values)] <= own).sum())


def visible(standing: Floats, family: Indices) -> Floats:
    """Return the standings without the outcomes of a family."""
    shown = standing.copy()
    shown[:, family] = np.nan
    return shown
