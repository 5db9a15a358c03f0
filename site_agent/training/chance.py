"""PyTorch draws from streams of chance as well (``site_agent.training.streams``)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from federation.errors import TransferError
from site_agent.training.streams import stream_seed


def torch_chance(*names: int | str) -> torch.Generator:
    """Return a torch generator on the CPU for a stream."""
    return torch.Generator().manual_seed(stream_seed(*names))


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
