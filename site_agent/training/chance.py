"""Chance of one's own: every draw comes from a stream named by seed and purpose, none from global generators.

So two runs in threads of one process do not disturb each other, and a run that was interrupted draws what it
would have drawn.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from federation.errors import TransferError

Words = npt.NDArray[np.uint64]


def stream_seed(*names: int | str) -> int:
    """Return the seed of a stream, in [0, 2^63), that differs for every sequence of names."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_chance(*names: int | str) -> torch.Generator:
    """Return a torch generator on the CPU for a stream."""
    return torch.Generator().manual_seed(stream_seed(*names))


def random_words(n: int, *names: int | str) -> Words:
    """Return the first ``n`` words of a stream; raw words are the same in every version of numpy."""
    return np.random.PCG64(stream_seed(*names)).random_raw(n)


class DrawsFrom(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active in a thread, torch operations of that thread draw from a generator.

    Libraries initialise their networks from torch's global generator, which all threads share; here they
    draw the very numbers that the global one would give for the same seed.

    Args:
        chance: The generator.
    """

    def __init__(self, chance: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._chance = chance

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        options = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded in func.tags:
            func, options = self._redirected(func, options)
        return func(*args, **options)

    def _redirected(self, func: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if options.get("generator") is not None:
            return func, options
        if any(argument.name == "generator" for argument in func._schema.arguments):
            return func, options | {"generator": self._chance}
        if "generator" in func.overloadpacket.overloads():
            return func.overloadpacket.generator, options | {"generator": self._chance}
        raise TransferError(
            f"building the network draws by {func}, which takes no generator",
            remedy="choose another network",
        )
