"""What a round of common training sums under masks: how far every site moved the backbone from its start.

Every site weighs the same: weights would tell how many images each has. Nobody can look at a single update,
so a malicious site can move the average by up to ``clip / n`` per number, and by more if it breaks the
protocol; the guard that averages plain updates has nothing to judge here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.errors import TermsError, VectorError
from federation.secagg.fixed_point import FixedPoint
from federation.secagg.terms import Terms
from federation.transfer.averaging import layout_of
from federation.transfer.model import Weights
from federation.transfer.step import CotrainStep

PURPOSE = "co-training"
SCALE_BITS, CLIP = 24, 4.0
"""Steps of 6e-8, half the precision of float32 at 1; 31 sites fit into 32 bits."""

_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_ROUNDS = 10_000
_OF_ONE_SITE = ("site", "task", "n_train", "start")


def weights_digest(weights: Weights) -> str:
    """Return the SHA-256 of names, types, shapes and numbers, 64 hexadecimal digits."""
    tensors = {
        name: [kind, list(shape), sha256_hex(np.ascontiguousarray(weights[name]).tobytes())]
        for name, (kind, shape) in layout_of(weights).items()
    }
    return sha256_hex(canonical_json(tensors))


def training_digest(step: CotrainStep) -> str:
    """Return the SHA-256 of all that the sites of a group do alike in a round, 64 hexadecimal digits.

    Sites compare it before they sum: who lets all sites but one train at a rate of almost nothing would else
    find that one's update in the sum. Sites, tasks and numbers of training images may differ.
    """
    told = step.to_json()
    alike = {name: value for name, value in told.items() if name not in _OF_ONE_SITE}
    return sha256_hex(canonical_json(alike | {"partners": sorted(step.partners)}))


@dataclass(frozen=True)
class MaskedUpdate:
    """The purpose of such a round.

    Args:
        group: The common training.
        round: Which of its rounds, from 0.
        start: Digest of the backbone at which the round began, which fixes the layout of the vector too.
        training: ``training_digest`` of the step of every site.
        scale_bits: Binary digits after the point.
        clip: A number that moved further is taken to have moved so far.

    Raises:
        TermsError: If a value is impossible.
    """

    group: str
    round: int
    start: str
    training: str
    scale_bits: int = SCALE_BITS
    clip: float = CLIP

    def __post_init__(self) -> None:
        for name in ("group", "start", "training"):
            value = getattr(self, name)
            _expect(name, value, isinstance(value, str) and _HEX.fullmatch(value) is not None)
        _expect("round", self.round, type(self.round) is int and 0 <= self.round < _MOST_ROUNDS)
        _expect("scale_bits", self.scale_bits, type(self.scale_bits) is int)
        _expect("clip", self.clip, type(self.clip) is float and math.isfinite(self.clip))
        _ = self.fixed_point

    @property
    def fixed_point(self) -> FixedPoint:
        """How numbers become integers."""
        return FixedPoint(self.scale_bits, self.clip)

    def to_json(self) -> dict[str, Any]:
        """Return the purpose of a round."""
        return {"purpose": PURPOSE, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned, checking it.

        Raises:
            TermsError: If anything is missing, unknown, of the wrong type or impossible.
        """
        content = dict(value)
        purpose = content.pop("purpose", None)
        _expect("purpose", purpose, purpose == PURPOSE)
        try:
            return cls(**content)
        except TypeError as error:
            raise TermsError(
                "what a round of common training shall sum is malformed",
                remedy="use the same fedprint version everywhere",
            ) from error

    def require_terms(self, terms: Terms, start: Weights) -> None:
        """Raise unless length and bound of a round are those of such an update.

        Args:
            terms: Those of the round.
            start: The backbone at which it began.

        Raises:
            TermsError: If not, or if the round began at another backbone.
        """
        _expect("start", self.start[:12], weights_digest(start) == self.start)
        _expect("length", terms.length, terms.length == length_of(start))
        _expect("bound", terms.bound, terms.bound == self.fixed_point.bound)

    def to_vector(self, trained: Weights, start: Weights) -> npt.NDArray[np.int64]:
        """Return int64 [length], how far every real number moved, arrays in the order of their names.

        Args:
            trained: The backbone after the round.
            start: The backbone before it.

        Raises:
            VectorError: If they have other arrays, or a number is not finite.
        """
        if layout_of(trained) != layout_of(start):
            raise VectorError("the backbone that was trained has other arrays than the one it began at")
        parts = [
            self.fixed_point.encode(trained[name].astype(np.float64) - start[name]).ravel()
            for name in _real(start)
        ]
        return np.concatenate(parts)

    def average(self, total: npt.NDArray[np.int64], n: int, start: Weights) -> dict[str, npt.NDArray[Any]]:
        """Return the backbone that n sites trained, each with the same weight.

        Args:
            total: int64 [length], the opened sum of their vectors.
            n: How many they are.
            start: The backbone at which the round began; its integers stay as they are.

        Raises:
            VectorError: If the sum has another length, or is larger than n honest sites can make it.
        """
        if total.shape != (length_of(start),):
            raise VectorError(f"an opened sum has {total.size} numbers, expected {length_of(start)}")
        if total.size and int(np.abs(total).max()) > n * self.fixed_point.bound:
            raise VectorError(
                f"a sum of {n} updates is larger than {n} sites can make it that keep to the protocol",
                remedy="find out which site does not; the average is not used",
            )
        moved, at = self.fixed_point.decode(total) / n, 0
        average = {name: array for name, array in start.items() if array.dtype.kind != "f"}
        for name in _real(start):
            array = start[name]
            part = moved[at : at + array.size].reshape(array.shape)
            average[name] = (array.astype(np.float64) + part).astype(array.dtype)
            at += array.size
        return average


def length_of(start: Weights) -> int:
    """Return how many real numbers a backbone has."""
    return sum(start[name].size for name in _real(start))


def _real(weights: Weights) -> list[str]:
    return [name for name in sorted(weights) if weights[name].dtype.kind == "f"]


def _expect(name: str, value: object, sound: bool) -> None:
    if not sound:
        raise TermsError(
            f"a round of common training cannot have {name} = {str(value)[:80]}",
            remedy="begin it anew from the average of the round before",
        )
