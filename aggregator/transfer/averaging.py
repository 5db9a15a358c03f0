"""Federated averaging that one bad site cannot spoil.

Plain averaging (McMahan et al. 2017, algorithm 1) believes what it is told. Here an update is left out whose
arrays are not those of the backbone, or not finite, or that was trained on no image. What is left is bounded:

* an update that is more than ``Guard.longest`` times as long as the median of the others is shortened to
  that; of two sites nobody can say which one is wrong, so that ``Guard.longest_of_two`` ends the training,
  in a first round, where whole backbones are compared, ``Guard.largest_of_two``;
* a site weighs as its number of training images, but at most twice the median, and at most half.

What stays within these bounds is averaged whatever it is: of many sites one that lies moderately does
moderate harm; of two either can spoil the training, which its partner then measures.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation.errors import ModelError, TransferError
from federation.transfer.averaging import Layout, layout_of
from federation.transfer.model import Weights

FEWEST = 2
"""Fewer good updates are no common training."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Guard:
    """How far an update is believed.

    Args:
        longest: A longer update, in medians of the others', is shortened; from three sites on.
        longest_of_two: A longer one of two, in lengths of the other, ends the training. Honest lengths differ
            by the number of steps: by 25 where one site has 25 times the images and draws each once.
        largest_of_two: Likewise for whole backbones, as in a first round nobody was sent any; honest ones
            began at the same numbers.
        heaviest: Most that a site weighs, in medians of all weights.
    """

    longest: float = 5.0
    longest_of_two: float = 100.0
    largest_of_two: float = 10.0
    heaviest: float = 2.0


GUARD = Guard()


@dataclass(frozen=True)
class Trained:
    """What one site trained in a round.

    Args:
        weights: Name → array, its backbone after the round; any order.
        n_train: Training images it used, as it says; None where it may not say: it weighs as the median of
            those that do.
    """

    weights: Weights = field(repr=False)
    n_train: int | None


@dataclass(frozen=True)
class Judged:
    """What is averaged.

    Args:
        good: Who → its backbone, shortened where it was too far from the start.
        shares: Who → its share of the average; they sum to one.
        shortened: Who → to what share of its length its update was shortened.
        dropped: Who → why its update was left out, in words.
    """

    good: Mapping[str, Weights] = field(repr=False)
    shares: Mapping[str, float]
    shortened: Mapping[str, float]
    dropped: Mapping[str, str]


@dataclass(frozen=True)
class Average:
    """A backbone that several sites trained.

    Args:
        weights: Name → array.
        judged: Who had which part in it.
    """

    weights: Weights = field(repr=False)
    judged: Judged


def average_backbones(
    trained: Mapping[str, Trained],
    start: Weights | None,
    guard: Guard = GUARD,
    dropped: Mapping[str, str] | None = None,
) -> Average:
    """Return the average of what sites trained.

    Args:
        trained: Who, such as the address of its task → what it trained.
        start: The backbone that they were sent; None in a first round, that begins at random or published
            weights, which nobody sends: then it is the median of each number, of two sites zero.
        guard: How far an update is believed.
        dropped: Who was left out before → why, to be told with the others.

    Raises:
        TransferError: If fewer than two updates are left, or one of two is too long to be believed.
    """
    judged = judge(trained, start, guard, dropped)
    first = next(iter(judged.good.values()))
    means = {name: _mean(judged, name) for name, array in first.items() if is_real(array)}
    return Average(means | integers(judged), judged)


def judge(
    trained: Mapping[str, Trained],
    start: Weights | None,
    guard: Guard = GUARD,
    dropped: Mapping[str, str] | None = None,
) -> Judged:
    """Return which updates are averaged, and with which weights; arguments and errors as above."""
    left_out, expected = dict(dropped or {}), _expected(trained, start)
    sound: dict[str, Trained] = {}
    for who, what in sorted(trained.items()):
        try:
            _require_sound(what, expected)
            sound[who] = what
        except ModelError as error:
            left_out[who] = error.problem
    _require_enough(sound, left_out)
    good, shortened = _shortened({who: what.weights for who, what in sound.items()}, start, guard)
    return Judged(good, weight_shares(sound, guard), shortened, left_out)


def weight_shares(sound: Mapping[str, Trained], guard: Guard = GUARD) -> dict[str, float]:
    """Return what share of the average every site has.

    Args:
        sound: At least two sites.
        guard: How heavy a site may be.
    """
    told = [what.n_train for what in sound.values() if what.n_train is not None]
    usual = float(np.median(told)) if told else 1.0
    counts = {who: usual if what.n_train is None else what.n_train for who, what in sound.items()}
    most = guard.heaviest * float(np.median(list(counts.values())))
    capped = {who: min(float(count), most) for who, count in counts.items()}
    heaviest = max(sorted(capped), key=capped.__getitem__)
    others = sum(weight for who, weight in capped.items() if who != heaviest)
    capped[heaviest] = min(capped[heaviest], others)
    total = sum(capped.values())
    return {who: weight / total for who, weight in capped.items()}


def integers(judged: Judged) -> dict[str, Array]:
    """Return the average of every array of integers, which count or index: the lower median."""
    known = list(judged.good.values())
    names = [name for name, array in known[0].items() if not is_real(array)]
    return {name: np.sort(_stack(known, name), axis=0)[(len(known) - 1) // 2] for name in names}


def is_real(array: Array) -> bool:
    """Return whether an array holds real numbers, which have a mean."""
    return array.dtype.kind == "f"


def _expected(trained: Mapping[str, Trained], start: Weights | None) -> Layout:
    """Return the arrays that a backbone must have: those that were sent, else those that most sites have."""
    if start is not None:
        return layout_of(start)
    layouts = [layout_of(what.weights) for _, what in sorted(trained.items())]
    found = Counter(tuple(layout.items()) for layout in layouts)
    (best, n_best), *others = [*found.most_common(2), ((), 0)][:2]
    if layouts and others and others[0][1] == n_best:
        raise TransferError(
            f"{len(layouts)} sites trained backbones of {len(found)} shapes in the first round, expected one "
            "that most of them have",
            remedy="let all sites use the same versions of the libraries of networks",
        )
    return dict(best)


def _require_sound(what: Trained, expected: Layout) -> None:
    found = layout_of(what.weights)
    if found != expected:
        differing = sorted(
            {*found, *expected} - {name for name in found if found[name] == expected.get(name)}
        )
        raise ModelError(f"its backbone has another array {differing[0][:80]} than expected")
    for name, array in what.weights.items():
        if not np.isfinite(array).all():
            raise ModelError(f"its array {name[:80]} is not finite")
    if what.n_train is not None and what.n_train < 1:
        raise ModelError(f"it was trained on {what.n_train} images, expected at least 1")


def _require_enough(sound: Mapping[str, Trained], dropped: Mapping[str, str]) -> None:
    if len(sound) < FEWEST:
        why = "; ".join(f"{who}: {reason}" for who, reason in sorted(dropped.items()))
        raise TransferError(
            f"good updates are {len(sound)}, expected at least {FEWEST}" + (f" ({why})" if why else ""),
            remedy="run the experiment again with sites that work",
        )


def _shortened(
    backbones: Mapping[str, Weights], start: Weights | None, guard: Guard
) -> tuple[dict[str, Weights], dict[str, float]]:
    """Return the backbones, none too far from where they began, and who was moved by how much."""
    origin = _origin(backbones, start)
    most = guard.largest_of_two if start is None else guard.longest_of_two
    lengths = {who: _distance(weights, origin) for who, weights in backbones.items()}
    good, factors = dict(backbones), {}
    for who, length in lengths.items():
        typical = float(np.median([other for name, other in lengths.items() if name != who]))
        if len(backbones) == FEWEST and length > most * typical:
            raise TransferError(
                f"of two updates that of {who} is {length / typical if typical else math.inf:.3g} times as "
                f"long as the other, expected at most {most:g}",
                remedy="see at both sites whether training diverged, or lower the learning rate",
            )
        if len(backbones) > FEWEST and length > guard.longest * typical:
            factors[who] = guard.longest * typical / length
            good[who] = _moved(backbones[who], origin, factors[who])
    return good, factors


def _origin(backbones: Mapping[str, Weights], start: Weights | None) -> Weights:
    if start is not None:
        return start
    known = list(backbones.values())
    if len(known) == FEWEST:
        return {name: np.zeros_like(array) for name, array in known[0].items()}
    return {name: np.median(_stack(known, name), axis=0) for name in known[0]}


def _distance(weights: Weights, origin: Weights) -> float:
    """Return the L2 distance over all real numbers."""
    squares = [
        float(np.sum(np.square(array.astype(np.float64) - origin[name])))
        for name, array in weights.items()
        if is_real(array)
    ]
    return math.sqrt(math.fsum(squares))


def _moved(weights: Weights, origin: Weights, factor: float) -> Weights:
    return {
        name: (origin[name] + factor * (array.astype(np.float64) - origin[name])).astype(array.dtype)
        if is_real(array)
        else array
        for name, array in weights.items()
    }


def _mean(judged: Judged, name: str) -> Array:
    known = _stack(list(judged.good.values()), name)
    shares = np.array([judged.shares[who] for who in judged.good])
    mean: Array = np.tensordot(shares, known.astype(np.float64), axes=1).astype(known.dtype)
    return mean


def _stack(backbones: Sequence[Weights], name: str) -> Array:
    return np.stack([weights[name] for weights in backbones])
