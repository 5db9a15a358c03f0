"""One line of advice on a card."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One recommended source.

    Args:
        rank: 1 for the first choice.
        key: Address of the source.
        index: Position of the source in the matrix; None if it is not in the catalogue.
        value: Its distance or expected gain, in words.
        reasons: Why, strongest first.
        tied: Whether noise cannot tell it from another source.
    """

    rank: int
    key: str
    index: int | None
    value: str
    reasons: tuple[str, ...]
    tied: bool = False
