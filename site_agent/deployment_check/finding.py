"""One line of ``fedprint site check``."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from federation.expiry import Expiry, Urgency


class State(StrEnum):
    """What a finding asks of people."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Args:
        name: What was looked at, in a word or two.
        state: Whether it is in order.
        text: What was found.
        remedy: What to do; empty where nothing is to be done.
    """

    name: str
    state: State
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding as a line for people."""
        return f"{self.state.value:<4}  {self.name}: {self.text}" + (
            f" → {self.remedy}" if self.remedy else ""
        )

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it."""
        return asdict(self)


def ok(name: str, text: str) -> Finding:
    """Return that something is in order."""
    return Finding(name, State.OK, text)


def warn(name: str, text: str, remedy: str) -> Finding:
    """Return that something should be looked at soon."""
    return Finding(name, State.WARN, text, remedy)


def fail(name: str, text: str, remedy: str) -> Finding:
    """Return that something keeps the site from serving."""
    return Finding(name, State.FAIL, text, remedy)


def of_expiry(name: str, expiry: Expiry, remedy: str) -> Finding:
    """Return what is to be said of an end."""
    if expiry.urgency is Urgency.OK:
        return ok(name, str(expiry))
    return (fail if expiry.urgency is Urgency.OVER else warn)(name, str(expiry), remedy)
