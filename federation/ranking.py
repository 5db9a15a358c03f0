"""Ranking sources for a target by distance, with the reasons in words.

Both sides use it: the aggregator for the consortium's matrix, a listening site for its own task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation import distances
from federation.task_card import TaskCard

Values = npt.NDArray[np.float64]

_TOP = 3


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
    """

    target: str
    source: str
    rank: int
    n_sources: int
    distance: str
    value: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Candidates:
    """Possible sources of one target.

    Args:
        target: Address of the target.
        sources: Addresses of the sources, the target itself not among them.
        values: Distance name → float64 [n_sources] from every source to the target.
        cards: Address → task card, of the target and the sources.
    """

    target: str
    sources: Sequence[str]
    values: Mapping[str, Values]
    cards: Mapping[str, TaskCard]


def rank_sources(candidates: Candidates, distance: str) -> list[Recommendation]:
    """Return every source, nearest first.

    Sources whose distance is not finite come last; equal distances are ordered as the distance says, then by
    address, so that the same matrix always gives the same list.

    Args:
        candidates: The sources and their distances to the target.
        distance: The distance to rank by, a key of ``candidates.values``.
    """
    values = np.where(np.isfinite(candidates.values[distance]), candidates.values[distance], np.inf)
    sizes = _sizes(candidates) if distances.get(distance).ties == "size" else [0] * len(values)
    order = sorted(range(len(values)), key=lambda i: (values[i], -sizes[i], candidates.sources[i]))
    ranks = {name: _ranks(column) for name, column in candidates.values.items()}
    return [
        Recommendation(
            target=candidates.target,
            source=candidates.sources[i],
            rank=position,
            n_sources=len(order),
            distance=distance,
            value=float(candidates.values[distance][i]),
            reasons=_reasons(candidates, i, distance, position, ranks),
        )
        for position, i in enumerate(order, start=1)
    ]


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
) -> tuple[str, ...]:
    nearest = "nearest" if position == 1 else f"rank {position}"
    found = [f"{nearest} of {len(candidates.sources)} by {distance}"]
    tied = int((candidates.values[distance] == candidates.values[distance][i]).sum()) - 1
    if tied:
        found.append(f"tied with {tied} other{'s' * (tied > 1)}")
    others = [int(column[i]) for name, column in ranks.items() if name != distance]
    if others and len(candidates.sources) > _TOP:
        agreeing = sum(rank <= _TOP for rank in others)
        found.append(f"among the nearest {_TOP} by {agreeing} of {len(others)} other distances")
    if candidates.sources[i].split("/")[0] == candidates.target.split("/")[0]:
        found.append("same site")
    return tuple(found + _card_reasons(candidates, candidates.sources[i]))


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
