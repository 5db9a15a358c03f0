"""Ranking sources for a target by distance, with the reasons in words.

Both sides use it: the aggregator for the consortium's matrix, a listening site for its own task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation import distances
from federation.task_card import TaskCard

Values = npt.NDArray[np.float64]

Spans = tuple[tuple[int, int], ...]

_TOP = 3
_WIDTH = 2.0  # standard errors between values that are told apart


@dataclass(frozen=True)
class Recommendation:
    """One source proposed for one target.

    Args:
        target: Address of the target, ``site/task``.
        source: Address of the source.
        rank: 1 for the first choice.
        n_sources: How many sources were ranked.
        distance: Name of the distance that ranked them.
        value: Its value; lower means more transfer expected.
        reasons: Why, in words, strongest first.
        standard_error: What noise makes of the value; 0 between exact tasks, None where unknown.
        ties: Spans of ranks, first and last, that noise cannot tell from this one, which lies in one of
            them; empty if it can tell all of them.
    """

    target: str
    source: str
    rank: int
    n_sources: int
    distance: str
    value: float
    reasons: tuple[str, ...]
    standard_error: float | None = None
    ties: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Candidates:
    """Possible sources of one target.

    Args:
        target: Address of the target.
        sources: Addresses of the sources, the target itself not among them.
        values: Distance name → float64 [n_sources] from every source to the target.
        cards: Address → task card, of the target and the sources.
        standard_errors: Distance name → float64 [n_sources], what noise makes of the values: 0 between exact
            tasks, NaN where unknown.
    """

    target: str
    sources: Sequence[str]
    values: Mapping[str, Values]
    cards: Mapping[str, TaskCard]
    standard_errors: Mapping[str, Values] = field(default_factory=dict)


def rank_sources(candidates: Candidates, distance: str) -> list[Recommendation]:
    """Return every source, nearest first.

    Sources whose distance is not finite come last; equal distances are ordered as the distance says, then by
    address, so that the same matrix always gives the same list.

    Two sources are not told apart where their distances differ by less than 2·√(se₁² + se₂²), about the 95 %
    interval of a difference of independent values. The target's noise is in both standard errors although it
    moves both distances alike; the rule therefore rather calls sources tied than orders them by chance.

    Args:
        candidates: The sources and their distances to the target.
        distance: The distance to rank by, a key of ``candidates.values``.
    """
    values = np.where(np.isfinite(candidates.values[distance]), candidates.values[distance], np.inf)
    sizes = _sizes(candidates) if distances.get(distance).ties == "size" else [0] * len(values)
    order = sorted(range(len(values)), key=lambda i: (values[i], -sizes[i], candidates.sources[i]))
    ranks = {name: _ranks(column) for name, column in candidates.values.items()}
    errors = candidates.standard_errors.get(distance, np.full(len(values), np.nan))
    ties = indistinct(values[order], errors[order])
    return [
        Recommendation(
            target=candidates.target,
            source=candidates.sources[i],
            rank=position,
            n_sources=len(order),
            distance=distance,
            value=float(candidates.values[distance][i]),
            reasons=_reasons(candidates, i, distance, position, ranks, tied),
            standard_error=float(errors[i]) if np.isfinite(errors[i]) else None,
            ties=tied,
        )
        for position, (i, tied) in enumerate(zip(order, ties, strict=True), start=1)
    ]


def indistinct(values: Values, errors: Values) -> list[Spans]:
    """Return for each of some ordered values the spans of ranks that noise cannot tell from its own.

    Args:
        values: float64 [n], increasing.
        errors: float64 [n], their standard errors; NaN where unknown, which ties nothing.
    """
    noisy = np.isfinite(values) & (errors > 0)
    return [_tied(values, errors, i) if noisy.any() else () for i in range(len(values))]


def not_told_apart(values: Values, errors: Values, i: int) -> npt.NDArray[np.bool_]:
    """Return bool [n]: which of some values noise cannot tell from one of them; never that one itself.

    Args:
        values: float64 [n].
        errors: float64 [n], their standard errors; NaN where unknown, which ties nothing.
        i: The one.
    """
    if not np.isfinite(values[i]):
        return np.zeros(len(values), dtype=bool)
    close = np.abs(values - values[i]) < _WIDTH * np.hypot(errors, errors[i])
    close[i] = False
    return np.asarray(close)


def _tied(values: Values, errors: Values, i: int) -> Spans:
    close = not_told_apart(values, errors, i)
    if not close.any():
        return ()
    close[i] = True
    steps = np.flatnonzero(np.diff(close, prepend=False, append=False))
    return tuple((int(first) + 1, int(end)) for first, end in zip(steps[::2], steps[1::2], strict=True))


def _sizes(candidates: Candidates) -> list[int]:
    cards = [candidates.cards.get(source) for source in candidates.sources]
    return [0 if card is None else card.n_labelled for card in cards]


def _ranks(values: Values) -> npt.NDArray[np.int64]:
    """Rank of every source; those at equal distance share the last rank among them."""
    return np.searchsorted(np.sort(values), values, side="right").astype(np.int64)


def _reasons(
    candidates: Candidates,
    i: int,
    distance: str,
    position: int,
    ranks: Mapping[str, npt.NDArray[np.int64]],
    tied_by_noise: Spans,
) -> tuple[str, ...]:
    nearest = "nearest" if position == 1 else f"rank {position}"
    found = [f"{nearest} of {len(candidates.sources)} by {distance}"]
    tied = int((candidates.values[distance] == candidates.values[distance][i]).sum()) - 1
    if tied:
        found.append(f"tied with {tied} other{'s' * (tied > 1)}")
    if tied_by_noise:
        found.append(f"noise cannot tell it from rank {_say_ranks(tied_by_noise)}")
    elif distance in candidates.standard_errors and np.isnan(candidates.standard_errors[distance][i]):
        found.append("how far noise moves it is not known")
    others = [int(column[i]) for name, column in ranks.items() if name != distance]
    if others and len(candidates.sources) > _TOP:
        agreeing = sum(rank <= _TOP for rank in others)
        found.append(f"among the nearest {_TOP} by {agreeing} of {len(others)} other distances")
    if candidates.sources[i].split("/")[0] == candidates.target.split("/")[0]:
        found.append("same site")
    return tuple(found + _card_reasons(candidates, candidates.sources[i]))


def _say_ranks(spans: Spans) -> str:
    said = [str(first) if first == last else f"{first}–{last}" for first, last in spans[:_TOP]]
    return ", ".join(said + ["…"] * (len(spans) > _TOP))


def _card_reasons(candidates: Candidates, source: str) -> list[str]:
    ours, theirs = candidates.cards.get(candidates.target), candidates.cards.get(source)
    if ours is None or theirs is None:
        return []
    found = []
    if _same_words(ours.modality, theirs.modality):
        found.append(f"same modality ({ours.modality})")
    if _same_words(ours.body_part, theirs.body_part):
        found.append(f"same body part ({ours.body_part})")
    shared = sorted(set(map(str.casefold, ours.keywords)) & set(map(str.casefold, theirs.keywords)))
    if shared:
        found.append("shared keywords: " + ", ".join(shared[:5]))
    return found


def _same_words(ours: str, theirs: str) -> bool:
    """Whether both say the same; a dash or an empty field says nothing."""
    return any(map(str.isalnum, ours)) and ours.casefold() == theirs.casefold()
