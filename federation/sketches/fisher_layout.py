"""Which weights of a network a Fisher sketch describes, as one line of text that a space can hold."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError

_LAYER = re.compile(r"([^\s:]+):([1-9]\d{0,6})x([1-9]\d{0,6})")
_MAX_WEIGHTS = 2**26


@dataclass(frozen=True)
class LayerShape:
    """One layer of a network.

    Args:
        name: Its name in the network.
        n_filters: Number of output filters.
        n_inputs: Input channels per filter; 1 for depthwise convolutions and scales.
    """

    name: str
    n_filters: int
    n_inputs: int

    @property
    def n_weights(self) -> int:
        """Number of pairs of filter and input."""
        return self.n_filters * self.n_inputs


@dataclass(frozen=True)
class Layout:
    """The layers of a Fisher sketch, in the order of its numbers.

    Args:
        layers: At least one, with different names.

    Raises:
        SpaceError: If there is none, or a name occurs twice, or there are more than 2^26 numbers.
    """

    layers: tuple[LayerShape, ...]

    def __post_init__(self) -> None:
        if not self.layers or len({layer.name for layer in self.layers}) < len(self.layers):
            raise SpaceError("a Fisher layout needs layers with different names")
        if self.n_weights > _MAX_WEIGHTS:
            raise SpaceError(
                f"a Fisher layout of {self.n_weights:,} numbers is beyond {_MAX_WEIGHTS:,}",
                remedy="use granularity 'filter'",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str(layout)`` wrote.

        Raises:
            SpaceError: If it is no such text.
        """
        matches = [_LAYER.fullmatch(part) for part in text.split()]
        if not all(matches):
            wrong = text.split()[matches.index(None)]
            raise SpaceError(f"a Fisher layout holds {wrong[:40]!r}, expected name:FILTERSxINPUTS")
        return cls(tuple(LayerShape(m[1], int(m[2]), int(m[3])) for m in matches if m))

    def __str__(self) -> str:
        return " ".join(f"{layer.name}:{layer.n_filters}x{layer.n_inputs}" for layer in self.layers)

    @property
    def n_weights(self) -> int:
        """Number of numbers of a sketch."""
        return sum(layer.n_weights for layer in self.layers)

    @property
    def n_filters(self) -> int:
        """Number of output filters of all layers."""
        return sum(layer.n_filters for layer in self.layers)

    def by_filter(self) -> "Layout":
        """Return the layout that has one number per filter."""
        return Layout(tuple(LayerShape(layer.name, layer.n_filters, 1) for layer in self.layers))

    def mean_over_inputs(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return one number per filter.

        Args:
            values: float64 [n_weights].

        Returns:
            float64 [n_filters].
        """
        return np.asarray(np.add.reduceat(values, self._starts) / self._lengths)

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        inputs, filters = zip(*((layer.n_inputs, layer.n_filters) for layer in self.layers), strict=True)
        return np.repeat(np.array(inputs, np.int64), filters)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self._lengths) - self._lengths
