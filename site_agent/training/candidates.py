"""Which augmentation policies a search tries: drawn from what often helps, the same at every site."""

from collections.abc import Mapping, Sequence

from federation.transfer.augmentation import AugmentationPolicy, Operation, OperationName
from site_agent.training.augmentation import PLAIN
from site_agent.training.streams import random_words

FAVOUR: Mapping[OperationName, int] = {
    "horizontal_flip": 4,
    "vertical_flip": 3,
    "rotate": 4,
    "scale": 4,
    "translate_x": 2,
    "translate_y": 2,
    "shear_x": 1,
    "shear_y": 1,
    "brightness": 3,
    "contrast": 3,
    "saturation": 2,
    "sharpness": 1,
    "blur": 1,
    "noise": 2,
    "erase": 2,
    "posterize": 1,
    "solarize": 1,
    "autocontrast": 1,
    "equalize": 1,
    "invert": 1,
}
"""How often an operation is drawn, in proportion."""

PROBABILITIES = (0.5, 0.75, 1.0)
STRENGTHS = (0.2, 0.4, 0.6, 0.8)

# Done to every image these make other images rather than more images.
_FOR_HALF = frozenset({"horizontal_flip", "vertical_flip", "invert"})
_OF_THREE_HAVE_TWO = 2


def candidates(n: int, seed: int) -> tuple[AugmentationPolicy, ...]:
    """Return the plain policy and ``n - 1`` others, each one chain of one or two operations.

    The first operations of the others differ as long as there are any left, so that few candidates already
    cover much. The first of more candidates are the same as those of fewer.
    """
    drawn, left = [PLAIN], list(FAVOUR)
    for number in range(1, n):
        words = [int(word) for word in random_words(7, seed, "augmentation candidate", number)]
        left = left or list(FAVOUR)
        first = _favoured(left, words[0])
        left.remove(first)
        chain = [_operation(first, *words[1:3])]
        if words[3] % 3 < _OF_THREE_HAVE_TWO:
            second = _favoured([name for name in FAVOUR if name != first], words[4])
            chain.append(_operation(second, *words[5:7]))
        drawn.append(AugmentationPolicy(chains=(tuple(chain),)))
    return tuple(drawn)


def combined(policies: Sequence[AugmentationPolicy]) -> AugmentationPolicy:
    """Return the policy that puts each image through a chain of one of several policies."""
    return AugmentationPolicy(chains=tuple(chain for policy in policies for chain in policy.chains))


def _favoured(names: list[OperationName], word: int) -> OperationName:
    tickets = [name for name in names for _ in range(FAVOUR[name])]
    return tickets[word % len(tickets)]


def _operation(name: OperationName, often: int, strong: int) -> Operation:
    probability = 0.5 if name in _FOR_HALF else PROBABILITIES[often % len(PROBABILITIES)]
    return Operation(name=name, probability=probability, strength=STRENGTHS[strong % len(STRENGTHS)])
