"""Which of several augmentation policies is best, when each may be trained for few epochs or for many.

Successive halving (Jamieson and Talwalkar 2016), by thirds: all candidates get a third of the epochs (or a
ninth, …), the best third of them three times as many. The plain policy stays in to the end, so that what wins
is never worse than it by both measures at once. At last the best few compete together, as one policy of
several chains, against the best alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from federation.transfer.augmentation import AugmentationPolicy
from site_agent.training.candidates import combined

_THINNING = 3
_FEWEST_EPOCHS = 2
_COMBINED = 3


@dataclass(frozen=True)
class Entry:
    """One training of the tournament.

    Args:
        policy: Who competes.
        epochs: For how long.
    """

    policy: AugmentationPolicy
    epochs: int


@dataclass(frozen=True)
class Merit:
    """What an entry reached on the images that decide.

    Args:
        loss: Cross-entropy.
        auroc: AUROC.
    """

    loss: float
    auroc: float


@dataclass(frozen=True)
class Rung:
    """A stage.

    Args:
        size: How many take part.
        epochs: How long each is trained.
    """

    size: int
    epochs: int


Merits = Mapping[Entry, Merit | None]
"""Entry → what it reached; None where its training failed."""


def rungs(n: int, epochs: int) -> tuple[Rung, ...]:
    """Return the stages of a tournament of ``n`` whose finalists are trained for ``epochs``."""
    stages = [Rung(n, epochs)]
    while (fewer := -(-stages[-1].size // _THINNING)) > 1 and _third(stages[0].epochs) >= _FEWEST_EPOCHS:
        stages = [*(Rung(stage.size, _third(stage.epochs)) for stage in stages), Rung(fewer, epochs)]
    return tuple(stages)


def _third(epochs: int) -> int:
    return round(epochs / _THINNING)


@dataclass(frozen=True)
class Tournament:
    """Candidates that compete for a number of epochs; what comes next follows from the merits so far alone.

    Args:
        candidates: Who competes; the first is the plain policy.
        epochs: How long finalists are trained.
    """

    candidates: Sequence[AugmentationPolicy]
    epochs: int

    @property
    def total_epochs(self) -> int:
        """Epochs of all entries together, where none fails."""
        together = self.epochs if len(self.candidates) > 1 else 0
        return sum(rung.size * rung.epochs for rung in self._rungs) + together

    def done(self, merits: Merits) -> list[Entry]:
        """Return the entries whose merits are known, in order."""
        return list(takewhile(merits.__contains__, self._course(merits)))

    def next(self, merits: Merits) -> Entry | None:
        """Return what is to be trained next; None at the end."""
        return next((entry for entry in self._course(merits) if entry not in merits), None)

    def winner(self, merits: Merits) -> AugmentationPolicy:
        """Return who has won a finished tournament; the combination must be better than the best alone."""
        entries = [entry.policy for entry in self.done(merits) if entry.epochs == self.epochs]
        return _ranked(entries, self.epochs, merits)[0]

    @property
    def _rungs(self) -> tuple[Rung, ...]:
        return rungs(len(self.candidates), self.epochs)

    def _course(self, merits: Merits) -> Iterator[Entry]:
        """Yield the entries in order; who asks for more must know the merits of all that were yielded."""
        contenders = list(self.candidates)
        for rung in self._rungs:
            contenders = self._thinned(contenders, rung.size)
            yield from (Entry(policy, rung.epochs) for policy in contenders)
            contenders = _ranked(contenders, rung.epochs, merits)
        if len(contenders) > 1:
            yield Entry(combined(contenders[:_COMBINED]), self.epochs)

    def _thinned(self, ranked: Sequence[AugmentationPolicy], size: int) -> list[AugmentationPolicy]:
        """Return the best, and the plain policy in place of the last of them where it is not one."""
        plain = self.candidates[0]
        best = list(ranked[:size])
        return best if plain in best else [*best[: size - 1], plain]


def _ranked(policies: Sequence[AugmentationPolicy], epochs: int, merits: Merits) -> list[AugmentationPolicy]:
    """Return those that could be trained, best first: by the sum of both ranks, then by cross-entropy."""
    found = {policy: merits[Entry(policy, epochs)] for policy in policies}
    trained = {policy: merit for policy, merit in found.items() if merit is not None}

    def place(policy: AugmentationPolicy) -> tuple[int, float]:
        own = trained[policy]
        smaller = sum(merit.loss < own.loss for merit in trained.values())
        larger = sum(merit.auroc > own.auroc for merit in trained.values())
        return smaller + larger, own.loss

    return sorted(trained, key=place)
