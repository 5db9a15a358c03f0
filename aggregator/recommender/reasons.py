"""Why a source stands where it stands, in words: the strongest parts of its predicted standing."""

from collections.abc import Mapping

import numpy as np

from aggregator.recommender.evidence import CHOICES, Evidence, Indices
from aggregator.recommender.standing import DISTANCE, FACTS, HISTORY, IDENTICAL, RELATIVES
from aggregator.study import Floats

_N_REASONS = 3
_SIMILAR = 9
_AUDIBLE = 0.02  # parts of a standing that are smaller say nothing


def reasons(
    evidence: Evidence, source: int, target: int, parts: Mapping[str, float], known: Floats, identical: Floats
) -> tuple[str, ...]:
    """Return up to three reasons, strongest first; those that speak against the source begin with "but".

    Args:
        evidence: The measurements.
        source: The source.
        target: The target.
        parts: Meaning → its part of the predicted standing.
        known: float64 [n_tasks, n_tasks], standings that may be looked at; NaN elsewhere.
        identical: float64 [n_tasks, n_tasks], how often two sources passed on the same thing.
    """
    words = {
        HISTORY: _history(evidence, source, target, known, parts[HISTORY] > 0),
        RELATIVES: f"sources that resemble it did {_how(parts[RELATIVES])}",
        IDENTICAL: _identical(evidence, source, known, identical, parts[IDENTICAL]),
        DISTANCE: _distance(evidence, source, target, parts[DISTANCE] > 0),
        FACTS: _facts(evidence, source),
    }
    order = sorted(parts, key=lambda name: -abs(parts[name]))
    said = [
        words[name] if parts[name] > 0 else f"but {words[name]}"
        for name in order
        if words[name] and abs(parts[name]) >= _AUDIBLE
    ]
    if not np.isfinite(known[source]).any():
        said.append("not measured as a source yet")
    return tuple(said[:_N_REASONS])


def _history(evidence: Evidence, source: int, target: int, known: Floats, in_favour: bool) -> str:
    """How it did at the most similar targets: in gains where those tell the same story, else in standings."""
    tried = np.flatnonzero(np.isfinite(known[source]))
    if not len(tried):
        return ""
    nearest = tried[np.argsort(-evidence.resemblance[tried, target], kind="stable")][:_SIMILAR]
    gains, n = evidence.gain[source, nearest], len(nearest)
    helped, above = int((gains > 0).sum()), int((known[source, nearest] > 0).sum())
    if np.isfinite(gains).all() and (2 * helped > n) == in_favour:
        return f"helped {helped} of {n} similar targets" if in_favour else f"helped only {helped} of {n}"
    if (2 * above > n) == in_favour:
        return f"better than most sources at {'' if in_favour else 'only '}{above} of {n} similar targets"
    return ""


def _identical(evidence: Evidence, source: int, known: Floats, identical: Floats, part: float) -> str:
    same = np.flatnonzero((identical[source] > 0) & (np.arange(len(identical)) != source))
    tested = same[np.isfinite(known[same]).any(axis=1)]
    if not len(tested):
        return ""
    first = tested[np.argmax(identical[source, tested])]
    what = CHOICES[evidence.setting.scenario]
    return f"same {what} as {evidence.study.tasks[first]}, which did {_how(part)}"


def _how(part: float) -> str:
    return "well" if part > 0 else "poorly"


def _distance(evidence: Evidence, source: int, target: int, in_favour: bool) -> str:
    candidates = np.flatnonzero(evidence.allowed[:, target])
    ranks = {
        name: _rank(values[candidates, target], values[source, target])
        for name, values in evidence.study.distances.items()
        if np.isfinite(values[source, target])
    }
    if not ranks:
        return ""
    name = min(ranks, key=ranks.__getitem__) if in_favour else max(ranks, key=ranks.__getitem__)
    usual = ranks.get(evidence.nearest_by)
    if usual is not None and (2 * usual <= len(candidates)) == in_favour:
        name = evidence.nearest_by
    if (2 * ranks[name] <= len(candidates) + 1) != in_favour:
        return ""
    if ranks[name] == 1:
        return f"nearest of {len(candidates)} by {name}"
    return f"{'near' if in_favour else 'far'} by {name}, rank {ranks[name]} of {len(candidates)}"


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
